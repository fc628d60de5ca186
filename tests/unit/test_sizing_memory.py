"""Weights by their format, windows and latent vectors in the cache, and what is taken for a model nobody knows."""

from __future__ import annotations

from typing import Any

import pytest

from spillway.sizing.catalogue import catalogue, find_model
from spillway.sizing.devices import weights_alone
from spillway.sizing.formats import GGUF_BITS, PLAIN, weight_bytes, weight_format
from spillway.sizing.memory import (
    GIB,
    Load,
    Term,
    batched_tokens,
    fits,
    kv_bytes_per_token,
    kv_cache_tokens,
    longest_context,
    memory_terms,
    needed_bytes,
)
from spillway.sizing.models import ModelFacts, Origin, count_parameters
from spillway.sizing.profiles import AcceleratorProfile, default_profiles

L4, H100 = default_profiles()["l4-24gb"], default_profiles()["h100-80gb"]
LLAMA_8B = catalogue()["llama-3.1-8b"]


def cache(load: Load, profile: AcceleratorProfile, count: int = 1) -> Term:
    return memory_terms(load, profile, count)[-1]


@pytest.mark.parametrize(
    ("name", "method", "bits", "gigabytes"),
    [
        # sizes of files on huggingface.co: hugging-quants/Meta-Llama-3.1-*-AWQ-INT4, Qwen/*-GPTQ-Int8,
        # neuralmagic/Meta-Llama-3.1-8B-Instruct-FP8, unsloth/*-bnb-4bit, openai/gpt-oss-*
        ("llama-3.1-8b", "AWQ", 4, 5.73),
        ("llama-3.1-70b", "AWQ", 4, 39.77),
        ("qwen2.5-7b", "GPTQ", 8, 8.87),
        ("llama-3.1-8b", "FP8", 8, 9.08),
        ("llama-3.1-8b", "BitsAndBytes", 4, 5.70),
        ("gpt-oss-20b", "Auto", 4, 13.76),
        ("gpt-oss-120b", "Auto", 4, 65.25),
        ("llama-3.1-8b", "None", 16, 16.06),
    ],
)
def test_weights_are_as_big_as_published_files(name: str, method: str, bits: int, gigabytes: float):
    assert weight_bytes(catalogue()[name], weight_format(method, bits)) / 1e9 == pytest.approx(gigabytes, rel=0.06)


@pytest.mark.parametrize(
    ("variant", "gib"),
    # llama.cpp's own table for Llama 3.1 8B
    [("Q2_K", 2.95), ("Q4_K_S", 4.36), ("Q4_K_M", 4.58), ("Q5_K_M", 5.33), ("Q6_K", 6.14), ("Q8_0", 7.95)],
)
def test_a_gguf_is_as_big_as_the_file_that_llama_cpp_makes(variant: str, gib: float):
    assert weight_bytes(LLAMA_8B, weight_format("GGUF", variant=variant)) / GIB == pytest.approx(gib, rel=0.01)


def test_variants_grow_with_their_bits():
    assert list(GGUF_BITS.values()) == sorted(GGUF_BITS.values())


def test_the_size_of_the_files_holds_when_they_are_loaded_as_they_are():
    facts = LLAMA_8B.model_copy(update={"weight_bytes": 7 * GIB})
    as_they_are, on_load = Load(facts, PLAIN, 2, 8192), Load(facts, weight_format("FP8"), 2, 8192, from_files=False)
    assert memory_terms(as_they_are, L4, 2)[0].bytes_per_accelerator == 3.5 * GIB
    assert memory_terms(on_load, L4, 1)[0].bytes_per_accelerator == weight_bytes(facts, weight_format("FP8"))


def test_a_mixture_holds_all_experts_and_steps_through_few():
    mixtral, dense = catalogue()["mixtral-8x7b-v0.1"], catalogue()["mistral-7b-v0.3"]
    few, one = (memory_terms(Load(facts, PLAIN, 2, 8192), H100, 1) for facts in (mixtral, dense))
    assert few[0].bytes_per_accelerator > 6 * one[0].bytes_per_accelerator
    assert mixtral.widest_feed_forward == 2 * dense.widest_feed_forward
    assert catalogue()["deepseek-r1"].widest_feed_forward == 18432  # the dense layers' are as wide as nine experts


def test_parameters_of_a_mixture_are_counted_to_the_last():
    facts = LLAMA_8B.model_copy(
        update={
            "layers": 3,
            "hidden_size": 10,
            "attention_heads": 2,
            "kv_heads": 1,
            "head_size": 5,
            "vocabulary": 7,
            "feed_forward_size": 40,
            "experts": 4,
            "experts_per_token": 2,
            "expert_size": 6,
            "shared_expert_size": 8,
            "dense_layers": 1,
            "other_parameters": 1,
        }
    )
    attention, dense, router = 10 * 5 * 2 * 3, 3 * 10 * 40, 10 * 4
    mixture = 3 * 10 * (4 * 6 + 8) + router
    assert count_parameters(facts) == 2 * 7 * 10 + 3 * attention + dense + 2 * mixture + 1
    assert facts.widest_feed_forward == 40
    assert facts.model_copy(update={"feed_forward_size": 0}).widest_feed_forward == 2 * 6 + 8


def test_weights_too_big_for_the_biggest_device_take_several():
    alone = weights_alone(catalogue()["deepseek-r1"], weight_format("FP8"))
    assert (alone.devices, alone.device_gigabytes) == (4, 180)


# Cache


def test_a_latent_vector_stands_in_place_of_keys_and_values_on_each_accelerator():
    load = Load(catalogue()["deepseek-v3"], weight_format("FP8"), 2, 8192)
    assert [kv_bytes_per_token(load, count) for count in (1, 8)] == [61 * 576 * 2] * 2


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_cache_takes_what_is_left_less_one_block(count: int):
    load = Load(LLAMA_8B, weight_format("AWQ"), 2, 8192)
    others = sum(term.bytes_per_accelerator for term in memory_terms(load, L4, count)[:-1])
    blocks, bytes_of_one = kv_cache_tokens(load, L4, count) // 16 + 1, 16 * kv_bytes_per_token(load, count)
    left = int(L4.memory_gib * GIB * 0.92) - others
    assert blocks * bytes_of_one <= left < (blocks + 1) * bytes_of_one


def test_a_window_bounds_what_a_request_holds():
    gemma = catalogue()["gemma-3-27b-it"]
    all_layers = gemma.model_copy(update={"sliding_layers": 0})
    short, long = (cache(Load(gemma, PLAIN, 2, tokens), L4).bytes_per_accelerator for tokens in (1024, 131072))
    assert short == cache(Load(all_layers, PLAIN, 2, 1024), L4).bytes_per_accelerator
    # 10 of 62 layers see everything; the others a window of 1,024 and a step of 2,048
    layer = 16 * 2 * 128 * 2
    assert long == (10 * 131072 + 52 * (1023 + 2048 + 1 + 16) + 62 * 16) * layer


@pytest.mark.parametrize(("window", "held"), [(1024, 3072 + 16), (1025, 3072 + 16), (1026, 3088 + 16)])
def test_a_window_is_held_with_a_step_and_in_whole_blocks(window: int, held: int):
    facts = LLAMA_8B.model_copy(update={"sliding_layers": 32, "window_tokens": window})
    assert cache(Load(facts, PLAIN, 2, 65536), L4).bytes_per_accelerator == (held + 16) * 131072


@pytest.mark.parametrize(
    ("name", "gib", "tokens"),
    [("l4-24gb", 22, 2048), ("a100-80gb", 79.1, 2048), ("h100-80gb", 79.1, 8192), ("b200", 178, 16384)],
)
def test_a_step_is_as_wide_as_vllm_makes_it(name: str, gib: float, tokens: int):
    assert batched_tokens(AcceleratorProfile(name=name, memory_gib=gib)) == tokens


def test_tokens_of_a_windowed_cache_are_those_of_requests_of_full_length():
    gemma = catalogue()["gemma-3-27b-it"]
    load = Load(gemma, weight_format("AWQ"), 2, 32768)
    tokens = kv_cache_tokens(load, H100, 1)
    rest = H100.memory_gib * GIB * 0.92 - needed_bytes(load, H100, 1) + cache(load, H100).bytes_per_accelerator
    assert tokens / 32768 == pytest.approx(rest / cache(load, H100).bytes_per_accelerator, rel=0.01)


@pytest.mark.parametrize("requests", [1, 2, 8])
def test_each_request_asked_for_has_its_own_cache(requests: int):
    term = cache(Load(LLAMA_8B, PLAIN, 2, 8192, requests=requests), H100)
    assert term.bytes_per_accelerator == (requests * 8192 + 16) * 131072
    assert term.name == ("cache of one request" if requests == 1 else f"cache of {requests} requests")


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gemma-2-27b", "mixtral-8x7b-v0.1", "deepseek-v3"])
@pytest.mark.parametrize(("profile", "count"), [(L4, 1), (L4, 4), (H100, 1), (H100, 8)])
def test_the_longest_context_fits_and_no_longer_one_does(name: str, profile: AcceleratorProfile, count: int):
    facts = catalogue()[name]

    def load(tokens: int) -> Load:
        return Load(facts, weight_format("AWQ"), 2, tokens)

    room = longest_context(load(facts.context_length), profile, count)
    assert room <= facts.context_length
    if room:
        assert fits(load(room), profile, count)
    if room < facts.context_length // 16 * 16:
        assert not fits(load(max(room, 112) + 16), profile, count)


def test_every_term_says_what_it_is_made_of():
    assert [term.basis for term in memory_terms(Load(LLAMA_8B, weight_format("AWQ"), 2, 8192), L4, 2)] == [
        "8.03B parameters, 4.156 bits each, embedding in 16",
        "2048 batched tokens, 256 sequences' logits over 128256",
        "CUDA context, CUDA graphs, NCCL",
        "8192 tokens x 64 KiB",
    ]


def test_the_cache_of_windows_is_told_apart():
    load = Load(catalogue()["gpt-oss-120b"], weight_format("Auto"), 2, 32768)
    assert cache(load, H100).basis == "32768 tokens x 36 KiB, and 18 layers' windows of 128"


# Models that nobody knows


@pytest.mark.parametrize(
    ("repository", "stated", "parameters", "origin"),
    [
        ("someone/foo", 9_000_000_000, 9_000_000_000, Origin.STATED),
        ("someone/foo-7b", 9_000_000_000, 9_000_000_000, Origin.STATED),
        ("someone/foo-7b", None, 7_000_000_000, Origin.NAME),
        ("someone/llama-3.1-8b-instruct", 9_000_000_000, 8_030_261_248, Origin.CATALOGUE),
    ],
)
def test_the_catalogue_knows_best_then_what_is_stated_then_the_name(
    repository: str, stated: int | None, parameters: int, origin: Origin
):
    facts = find_model(repository, stated)
    assert facts is not None
    assert (facts.parameters, facts.origin) == (parameters, origin)


@pytest.mark.parametrize("size", [3e8, 1e9, 7e9, 3e10, 7e10, 1.2e11, 7e11])
def test_the_shape_of_a_model_that_nobody_knows_is_a_dense_ones(size: float):
    facts: Any = find_model("someone/foo", int(size))
    assert isinstance(facts, ModelFacts)
    assert (facts.experts, facts.weight_bytes, facts.stored_as, facts.estimated) == (0, None, None, True)
