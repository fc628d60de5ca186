"""What the demo's hub holds: a repository of the sample model's name and shape, whose weights mean nothing."""

from __future__ import annotations

from typing import Final

from spillway.simulator.hub import Repository, made_up_model

WEIGHT_BYTES: Final = 24 << 20
# https://huggingface.co/Qwen/Qwen2.5-7B-Instruct-AWQ/blob/main/config.json, what an engine's memory depends on
CONFIG: Final = {
    "model_type": "qwen2",
    "torch_dtype": "float16",
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
    "max_position_embeddings": 32768,
    "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128},
}


def repositories(uri: str) -> dict[str, Repository]:
    """The hub's repositories: the one of `uri`, hf://organisation/name, alone."""
    return {uri.removeprefix("hf://"): Repository(made_up_model(WEIGHT_BYTES, CONFIG))}
