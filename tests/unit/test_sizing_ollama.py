from __future__ import annotations

from typing import Any

import pytest

from crd_cases import OLLAMA_SPEC, changed
from spillway.api.v1alpha1 import GGUFVariant, LLMDeployment, parse_deployment
from spillway.errors import DoesNotFit, InvalidObject
from spillway.sizing.formats import GGUF_BITS
from spillway.sizing.models import ModelFacts, Origin
from spillway.sizing.ollama import ollama_model, ollama_variant
from spillway.sizing.plan import plan_deployment
from spillway.sizing.profiles import default_profiles

OBJECT = {
    "apiVersion": "spillway.dev/v1alpha1",
    "kind": "LLMDeployment",
    "metadata": {"name": "chat"},
    "spec": OLLAMA_SPEC,
}
GIB = 1024**3


def deployment(change: dict[str, Any]) -> LLMDeployment:
    return parse_deployment(changed(OBJECT, change))


@pytest.mark.parametrize(
    ("uri", "known", "variant"),
    [
        ("ollama://llama3.2:1b", True, "Q8_0"),
        ("ollama://llama3.2:1b-instruct-q4_K_M", True, "Q4_K_M"),
        ("ollama://library/llama3.2", None, "Q4_K_M"),
        ("ollama://qwen2.5:7b-instruct-q8_0", True, "Q8_0"),
        ("ollama://library/qwen2.5:7b-instruct-q5_K_M", True, "Q5_K_M"),
        ("hf://bartowski/Qwen2.5-7B-Instruct-GGUF", True, "Q4_K_M"),
        ("pvc://store/a/house-7b.Q6_K.gguf", False, "Q6_K"),
        ("ollama://mistral", None, "Q4_K_M"),
    ],
)
def test_the_name_tells_model_and_variant(uri: str, known: bool | None, variant: str):
    made = deployment({"spec.model.uri": uri})
    facts = ollama_model(made)
    assert (None if facts is None else not facts.estimated) is known
    assert ollama_variant(made) == variant


@pytest.mark.parametrize(
    ("change", "assumed"),
    [
        ({}, False),
        ({"spec.model.uri": "ollama://deepseek-r1:7b"}, True),
        ({"spec.model.uri": "ollama://deepseek-r1:7b-qwen-distill-q8_0"}, False),
        ({"spec.model.uri": "ollama://registry.example.com/team/llama3.2:1b"}, True),
        ({"spec.model.uri": "hf://bartowski/Qwen2.5-7B-Instruct-GGUF"}, False),
        ({"spec.model.uri": "pvc://store/house-7b.gguf"}, True),
    ],
    ids=["a known tag", "an unknown one", "a tag that says it", "another registry", "asked for by name", "a file"],
)
def test_a_variant_that_nobody_tells_is_said_to_be_assumed(change: dict[str, Any], assumed: bool):
    made = plan_deployment(deployment(change), default_profiles())
    assert (", assumed, " in made.terms[0].basis) is assumed


def test_memory_is_weights_and_the_cache_of_every_slot():
    short, long = (
        plan_deployment(deployment({"spec.contextLength": tokens}), default_profiles()) for tokens in (4096, 8192)
    )
    # 16 layers, 8 KV heads of 64, two slots, 34 bytes for 32 values
    cache = 2 * 4096 * 16 * 8 * 2 * 64 * 34 // 32
    assert long.memory_required_bytes - short.memory_required_bytes == cache  # type: ignore[operator]
    assert (short.accelerators, short.max_sequences, short.kv_cache_tokens) == (0, 2, 8192)
    assert 1.6 * GIB < short.memory_required_bytes < 1.9 * GIB  # type: ignore[operator]


def test_a_model_too_large_for_one_accelerator_takes_the_fewest_that_hold_it():
    change = {"spec.model.uri": "ollama://llama3.1:70b", "spec.accelerator.profile": "l4-24gb"}
    made = plan_deployment(deployment(change), default_profiles())
    assert (made.accelerators, made.tensor_parallel) == (3, 1)
    assert made.warning is None


def test_what_does_not_fit_is_told_with_its_parts():
    change = {"spec.model.uri": "ollama://llama3.1:70b"}
    assert "weights 40." in str(plan_deployment(deployment(change), default_profiles()).warning)
    with pytest.raises(DoesNotFit):
        plan_deployment(deployment(change | {"spec.memoryCheck": "Enforce"}), default_profiles())


@pytest.mark.parametrize(
    ("slots", "tokens", "measured_mib"),
    [(1, 4096, 671), (4, 4096, 1055), (1, 32768, 1565)],
)
def test_what_was_measured_is_not_underestimated(slots: int, tokens: int, measured_mib: int):
    """The measurement's cache was in 16 bits; the model had 16 layers, 8 KV heads of 64 and a file of 488 MiB."""
    facts = ModelFacts(
        parameters=256_000_000,
        layers=16,
        attention_heads=16,
        kv_heads=8,
        head_size=64,
        hidden_size=1024,
        feed_forward_size=4096,
        vocabulary=512,
        tied_embeddings=True,
        context_length=32768,
        weight_bytes=488 * 1024**2,
        origin=Origin.CONFIG,
    )
    made = plan_deployment(deployment({"spec.contextLength": tokens}), default_profiles(), facts, requests=slots)
    terms = {term.name: term.bytes_per_accelerator for term in made.terms}
    *others, cache = terms.values()
    each = cache / made.max_sequences * 2 * 32 / 34
    needed_mib = (sum(others) + slots * each) / 1024**2
    assert measured_mib <= needed_mib <= measured_mib * 1.15


def test_room_is_made_for_as_many_requests_as_are_asked_for():
    many = plan_deployment(deployment({}), default_profiles(), requests=6)
    assert (many.max_sequences, many.full_length_requests) == (6, 6)


def test_what_does_not_fit_is_told_with_changes_that_are_enough():
    change = {"spec.accelerator": {"profile": "l4-24gb", "count": 2}, "spec.model.uri": "ollama://llama3.1:70b-q4_K_M"}
    told = str(plan_deployment(deployment(change), default_profiles()).warning)
    assert "the model needs 46.9 GiB on 2 x l4-24gb, which offers 40.5 GiB: weights 40.2" in told
    assert told.endswith("use the variant Q3_K_S (36.6 GiB), or set spec.accelerator.count to 3 (47.4 GiB on all)")


def test_a_context_is_told_that_fits():
    change = {"spec.contextLength": 131072, "spec.accelerator": {"profile": "l4-24gb", "count": 1}}
    uri = {"spec.model.uri": "ollama://llama3.1:8b"}
    told = str(plan_deployment(deployment(change | uri), default_profiles()).warning)
    room = int(told.partition("spec.contextLength to at most ")[2].partition(",")[0])
    fitting = plan_deployment(deployment(change | uri | {"spec.contextLength": room}), default_profiles())
    assert fitting.warning is None
    assert plan_deployment(deployment(change | uri | {"spec.contextLength": room + 32}), default_profiles()).warning


def test_every_variant_of_the_api_has_its_bits():
    assert [variant.value for variant in GGUFVariant] == list(GGUF_BITS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spec.accelerator.count": 1}, "profile cpu has no accelerator"),
        ({"spec.accelerator": {"profile": "l4-24gb", "count": 9}}, "state at most 8"),
        ({"spec.model.uri": "ollama://mistral", "spec.accelerator.profile": "l4-24gb"}, "state spec.model.parameters"),
        ({"spec.model.uri": "hf://Qwen/Qwen2.5-7B", "spec.engine.type": "VLLM"}, "no accelerator, which VLLM needs"),
    ],
)
def test_what_cannot_be_planned_says_what_to_state(change: dict[str, Any], said: str):
    with pytest.raises(InvalidObject, match=said):
        plan_deployment(deployment(change), default_profiles())


def test_an_unknown_model_runs_on_a_processor_without_a_check():
    made = plan_deployment(deployment({"spec.model.uri": "ollama://mistral"}), default_profiles())
    assert (made.memory_required_bytes, made.context_length) == (None, 8192)
