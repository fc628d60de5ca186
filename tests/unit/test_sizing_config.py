"""What a config.json tells, held to the catalogue. The configs have the keys and numbers of published ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spillway.errors import InvalidObject
from spillway.sizing.catalogue import catalogue
from spillway.sizing.config import essence, facts_from_config

QWEN = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "sliding_window": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vocab_size": 152064,
}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "max_position_embeddings": 131072,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
    "rope_scaling": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}
MIXTRAL = {
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
QWEN3_MOE = {
    "model_type": "qwen3_moe",
    "decoder_sparse_step": 1,
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "max_position_embeddings": 40960,
    "mlp_only_layers": [],
    "moe_intermediate_size": 768,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
GPT_OSS = {
    "model_type": "gpt_oss",
    "experts_per_token": 4,
    "head_dim": 64,
    "hidden_size": 2880,
    "initial_context_length": 4096,
    "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "max_position_embeddings": 131072,
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "num_local_experts": 32,
    "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]},
    "rope_scaling": {"factor": 32.0, "original_max_position_embeddings": 4096, "rope_type": "yarn"},
    "sliding_window": 128,
    "tie_word_embeddings": False,
    "vocab_size": 201088,
}
GEMMA_3 = {  # what is missing is transformers' default
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "text_config": {
        "head_dim": 128,
        "hidden_size": 5376,
        "intermediate_size": 21504,
        "model_type": "gemma3_text",
        "num_attention_heads": 32,
        "num_hidden_layers": 62,
        "num_key_value_heads": 16,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    },
    "torch_dtype": "bfloat16",
    "vision_config": {"hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16},
}
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "first_k_dense_replace": 3,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "quantization_config": {"fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]},
    "rope_scaling": {"factor": 40, "original_max_position_embeddings": 4096, "type": "yarn"},
    "tie_word_embeddings": False,
    "v_head_dim": 128,
    "vocab_size": 129280,
}
GPT_2 = {
    "model_type": "gpt2",
    "n_ctx": 1024,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 1024,
    "vocab_size": 50257,
}
FALCON = {
    "model_type": "falcon",
    "hidden_size": 4544,
    "max_position_embeddings": 2048,
    "multi_query": True,
    "new_decoder_architecture": False,
    "num_attention_heads": 71,
    "num_hidden_layers": 32,
    "vocab_size": 65024,
}


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (QWEN, "qwen2.5-7b"),
        (LLAMA, "llama-3.3-70b-instruct"),
        (MIXTRAL, "mixtral-8x7b-v0.1"),
        (QWEN3_MOE, "qwen3-30b-a3b"),
        (GPT_OSS, "gpt-oss-20b"),
        (DEEPSEEK, "deepseek-r1"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_a_config_tells_what_the_catalogue_knows(config: dict[str, Any], name: str):
    told, known = facts_from_config(config), catalogue()[name]
    assert told.parameters == pytest.approx(known.parameters, rel=0.0005)
    of_the_shape = set(type(told).model_fields) - {"parameters", "origin", "stored_as", "stored_bits", "head_size"}
    assert {field: getattr(told, field) for field in of_the_shape} == {
        field: getattr(known, field) for field in of_the_shape
    }
    assert told.latent_size or told.head_size == known.head_size


def test_what_a_nested_config_leaves_out_is_as_transformers_has_it():
    told, known = facts_from_config(GEMMA_3), catalogue()["gemma-3-27b-it"]
    assert (told.vocabulary, told.tied_embeddings, told.context_length) == (262208, True, 131072)
    assert (told.sliding_layers, told.window_tokens) == (known.sliding_layers, known.window_tokens) == (52, 1024)
    assert told.parameters == pytest.approx(known.parameters - known.other_parameters, rel=0.0005)


def test_the_files_tell_what_the_shape_does_not():
    told = facts_from_config(GEMMA_3, weight_bytes=54_864_813_280)
    assert told.parameters == catalogue()["gemma-3-27b-it"].parameters
    assert told.other_parameters == pytest.approx(423_060_336, rel=0.01)
    assert told.weight_bytes == 54_864_813_280


def test_quantised_files_say_nothing_of_parameters():
    config = QWEN | {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}
    told = facts_from_config(config, weight_bytes=5_570_000_000)
    assert (told.parameters, told.other_parameters) == (facts_from_config(QWEN).parameters, 0)


def test_files_in_32_bits_are_loaded_in_16():
    assert facts_from_config(QWEN | {"torch_dtype": "float32"}, weight_bytes=30_462_466_048).weight_bytes == (
        15_231_233_024
    )


@pytest.mark.parametrize(
    ("config", "parameters", "kv_heads"), [(GPT_2, 124_439_808, 12), (FALCON, 6_921_720_704, 1)], ids=["gpt2", "falcon"]
)
def test_older_words_and_blocks_without_a_gate(config: dict[str, Any], parameters: int, kv_heads: int):
    told = facts_from_config(config)
    # positions of GPT-2 are parameters too, and are not counted
    assert told.parameters == pytest.approx(parameters, rel=0.01)
    assert told.kv_heads == kv_heads


@pytest.mark.parametrize(
    ("quantization", "method", "bits"),
    [
        ({"quant_method": "awq", "bits": 4}, "AWQ", 4),
        ({"quant_method": "gptq", "bits": 8}, "GPTQ", 8),
        ({"quant_method": "fp8"}, "FP8", None),
        ({"quant_method": "fbgemm_fp8"}, "FP8", None),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "BitsAndBytes", None),
        ({"quant_method": "mxfp4"}, "Auto", None),
        ({"quant_method": "modelopt"}, "Auto", None),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}},
            },
            "FP8",
            8,
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 128}}},
            },
            "GPTQ",
            4,
        ),
        ({}, "None", None),
    ],
    ids=str,
)
def test_how_the_weights_are_stored(quantization: dict[str, Any], method: str, bits: int | None):
    told = facts_from_config(LLAMA | {"quantization_config": quantization})
    assert (told.stored_as, told.stored_bits) == (method, bits)


COMPRESSED = LLAMA | {
    "quantization_config": {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"input_activations": None, "weights": {"num_bits": 8, "type": "float"}}},
        "ignore": [f"model.layers.{layer}.mlp.gate" for layer in range(80)],
    }
}


@pytest.mark.parametrize(
    "config",
    [QWEN, LLAMA, MIXTRAL, QWEN3_MOE, GPT_OSS, GEMMA_3, DEEPSEEK, GPT_2, FALCON, COMPRESSED],
    ids=lambda config: config["model_type"],
)
def test_the_essence_of_a_config_is_short_and_says_as_much(config: dict[str, Any]):
    short = essence(config)
    assert facts_from_config(short, 10**10) == facts_from_config(config, 10**10)
    assert len(json.dumps(short)) < 1000
    assert essence(short) == short


def test_what_a_sparse_config_lists_is_counted():
    sparse = QWEN3_MOE | {"mlp_only_layers": [0, 1, 2]}
    assert facts_from_config(sparse).dense_layers == facts_from_config(essence(sparse)).dense_layers == 3


@pytest.mark.parametrize(
    ("scaling", "tokens"),
    [
        (None, 32768),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 131072),
        ({"rope_type": "yarn", "factor": 4.0}, 131072),
        ({"rope_type": "linear", "factor": 2.0}, 65536),
        ({"rope_type": "llama3", "factor": 8.0}, 32768),
        ({"rope_type": "longrope", "short_factor": [1.0]}, 32768),
    ],
    ids=str,
)
def test_the_context_is_as_the_engine_derives_it(scaling: object, tokens: int):
    assert facts_from_config(QWEN | {"rope_scaling": scaling}).context_length == tokens


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": None}, "does not state hidden_size or n_embd or d_model"),
        ({"num_hidden_layers": "many"}, "states 'many' for num_hidden_layers"),
        ({"vocab_size": True}, "states True for vocab_size"),
        ({"num_attention_heads": -1}, "states -1 for num_attention_heads"),
        ({"num_key_value_heads": 0}, "states 0 for num_key_value_heads"),
    ],
    ids=str,
)
def test_a_config_that_does_not_tell_the_shape_names_the_key(change: dict[str, Any], said: str):
    with pytest.raises(InvalidObject, match=said) as caught:
        facts_from_config(QWEN | change)
    assert (caught.value.field, caught.value.reason) == ("spec.model.uri", "UnknownModel")
    assert "spec.model.parameters" in caught.value.cure
