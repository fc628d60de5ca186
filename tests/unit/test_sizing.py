from __future__ import annotations

from typing import Any

import pytest

from crd_cases import changed
from spillway.api.v1alpha1 import LLMDeployment, parse_deployment
from spillway.errors import DoesNotFit, InvalidObject, UnknownProfile
from spillway.sizing.catalogue import catalogue, find_model
from spillway.sizing.formats import PLAIN
from spillway.sizing.memory import (
    Load,
    divides,
    fits,
    kv_bytes_per_token,
    memory_terms,
)
from spillway.sizing.models import Origin
from spillway.sizing.plan import GIB, Plan, plan_deployment
from spillway.sizing.profiles import default_profiles, load_profiles

LEAST = {
    "apiVersion": "spillway.dev/v1alpha1",
    "kind": "LLMDeployment",
    "metadata": {"name": "chat"},
    "spec": {"model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct"}, "accelerator": {"profile": "l4-24gb"}},
}


def deployment(uri: str, profile: str, **spec: Any) -> LLMDeployment:
    change = {"spec.model.uri": uri, "spec.accelerator.profile": profile}
    return parse_deployment(changed(LEAST, change | {f"spec.{name}": value for name, value in spec.items()}))


def plan(uri: str, profile: str, **spec: Any) -> Plan:
    return plan_deployment(deployment(uri, profile, **spec), default_profiles())


def weights_gib(of: Plan) -> float:
    (weights,) = [term.bytes_per_accelerator for term in of.terms if term.name == "weights"]
    return weights * of.accelerators / GIB


# How many accelerators


@pytest.mark.parametrize(
    ("uri", "profile", "spec", "accelerators"),
    [
        ("hf://Qwen/Qwen2.5-7B-Instruct-AWQ", "l4-24gb", {}, 1),
        ("hf://meta-llama/Llama-3.1-8B-Instruct", "l4-24gb", {}, 1),
        # 128k tokens of cache are 16 GiB more than its weights leave on one
        ("hf://meta-llama/Llama-3.1-8B-Instruct", "l4-24gb", {"contextLength": 131072}, 2),
        ("hf://Qwen/Qwen2.5-14B-Instruct", "l4-24gb", {}, 2),
        ("hf://Qwen/Qwen2.5-32B-Instruct", "a100-80gb", {}, 1),
        ("hf://meta-llama/Llama-3.3-70B-Instruct", "h100-80gb", {}, 2),
        ("hf://meta-llama/Llama-3.3-70B-Instruct", "h100-80gb", {"contextLength": 131072}, 4),
        ("hf://hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4", "l4-24gb", {}, 4),
        ("hf://mistralai/Mixtral-8x7B-Instruct-v0.1", "a100-80gb", {}, 2),
        ("hf://Qwen/Qwen3-32B", "h100-80gb", {"quantization": {"method": "FP8", "kvCacheDType": "FP8"}}, 1),
    ],
)
def test_the_fewest_that_fit_are_taken(uri: str, profile: str, spec: dict[str, Any], accelerators: int):
    made = plan(uri, profile, **spec)
    assert (made.accelerators, made.tensor_parallel) == (accelerators, accelerators)
    assert made.memory_required_bytes is not None
    assert made.memory_required_bytes <= made.memory_available_bytes
    assert made.kv_cache_tokens is not None
    assert made.kv_cache_tokens >= made.context_length


def test_one_fewer_would_not_have_fitted():
    facts = find_model("meta-llama/Llama-3.3-70B-Instruct")
    assert facts is not None
    load = Load(facts, PLAIN, 2, 8192)
    h100 = default_profiles()["h100-80gb"]
    assert [fits(load, h100, count) for count in (1, 2)] == [False, True]


@pytest.mark.parametrize(
    ("heads", "kv_heads", "shares"),
    [(28, 4, [1, 2, 4]), (40, 10, [1, 2, 5, 10]), (64, 8, [1, 2, 4, 8, 16]), (32, 32, [1, 2, 4, 8, 16])],
)
def test_accelerators_share_heads_evenly(heads: int, kv_heads: int, shares: list[int]):
    facts = catalogue()["phi-4"].model_copy(update={"attention_heads": heads, "kv_heads": kv_heads})
    assert [count for count in range(1, 17) if divides(facts, count)] == shares


def test_a_stated_size_stands_in_for_a_model_that_nobody_knows():
    made = plan("hf://someone/foo", "l4-24gb", **{"model.parameters": "13B"})
    assert (made.accelerators, made.estimated) == (2, True)
    assert weights_gib(made) == pytest.approx(26e9 / GIB, rel=0.001)


def test_facts_of_the_downloaded_files_go_before_the_catalogue():
    of_its_files = catalogue()["llama-3.1-8b"].model_copy(
        update={"origin": Origin.CONFIG, "stored_as": "AWQ", "stored_bits": 4, "weight_bytes": 6 * GIB}
    )
    made = plan_deployment(deployment("hf://Qwen/Qwen2.5-7B-Instruct", "l4-24gb"), default_profiles(), of_its_files)
    assert (made.quantization, made.facts, weights_gib(made)) == ("AWQ", of_its_files, 6)


def test_files_that_are_quantised_on_load_do_not_keep_their_size():
    of_its_files = catalogue()["llama-3.1-8b"].model_copy(
        update={"origin": Origin.CONFIG, "stored_as": "None", "weight_bytes": 16 * GIB}
    )
    wanted = deployment("hf://someone/foo", "l4-24gb", quantization={"method": "FP8"})
    assert weights_gib(plan_deployment(wanted, default_profiles(), of_its_files)) == pytest.approx(8.46, abs=0.01)


@pytest.mark.parametrize(
    ("uri", "profile", "bits"),
    [
        ("hf://Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8", "l4-24gb", 8.1875),
        ("hf://Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "l4-24gb", 4.15625),
        ("hf://cognitivecomputations/DeepSeek-R1-AWQ", "h100-80gb", 4.15625),  # the original is stored in 8
    ],
)
def test_the_bits_are_those_of_the_copy(uri: str, profile: str, bits: float):
    assert plan(uri, profile).weights.bits == bits


def test_a_plan_for_several_requests_has_room_for_them():
    wanted = deployment("hf://meta-llama/Llama-3.1-8B-Instruct", "l4-24gb", contextLength=16384)
    one, eight = (plan_deployment(wanted, default_profiles(), requests=requests) for requests in (1, 8))
    assert (one.accelerators, eight.accelerators) == (1, 2)
    assert eight.full_length_requests is not None
    assert eight.full_length_requests >= 8


def test_a_model_that_its_publisher_quantised_is_taken_as_it_is():
    made = plan("hf://openai/gpt-oss-20b", "l4-24gb")
    assert (made.accelerators, made.quantization, made.quantized_on_load) == (1, "Auto", False)
    error = refused(InvalidObject, "hf://openai/gpt-oss-20b", "l4-24gb", quantization={"method": "FP8"})
    assert error.cure == "leave it Auto"


def test_a_stated_count_is_kept():
    assert plan("hf://Qwen/Qwen2.5-7B-Instruct-AWQ", "l4-24gb", **{"accelerator.count": 4}).tensor_parallel == 4


# Memory


@pytest.mark.parametrize(
    ("uri", "gib"),
    [
        # sizes of the repositories' own safetensors files, in GiB
        ("hf://Qwen/Qwen2.5-7B-Instruct", 14.19),
        ("hf://Qwen/Qwen2.5-7B-Instruct-AWQ", 5.19),
        ("hf://meta-llama/Llama-3.1-8B-Instruct", 14.96),
        ("hf://hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", 5.34),
    ],
)
def test_weights_are_as_big_as_the_files(uri: str, gib: float):
    assert weights_gib(plan(uri, "l4-24gb")) == pytest.approx(gib, rel=0.03)


@pytest.mark.parametrize(
    ("layers", "kv_heads", "head_size", "kv_bytes", "count", "bytes_per_token"),
    [
        (4, 2, 64, 2, 1, 2048),  # measured: 1 GiB held 524,288 tokens
        (32, 8, 128, 2, 1, 131072),
        (32, 8, 128, 1, 1, 65536),
        (80, 8, 128, 2, 8, 40960),
        (80, 8, 128, 2, 16, 40960),  # one KV head each, from there on copied
    ],
)
def test_cache_of_a_token(layers: int, kv_heads: int, head_size: int, kv_bytes: int, count: int, bytes_per_token: int):
    shape: dict[str, Any] = {"layers": layers, "kv_heads": kv_heads, "head_size": head_size}
    load = Load(catalogue()["phi-4"].model_copy(update=shape), PLAIN, kv_bytes, 8192)
    assert kv_bytes_per_token(load, count) == bytes_per_token


def test_fp8_halves_the_cache_and_so_doubles_its_tokens():
    wide = plan("hf://Qwen/Qwen2.5-7B-Instruct-AWQ", "l4-24gb")
    narrow = plan("hf://Qwen/Qwen2.5-7B-Instruct-AWQ", "l4-24gb", quantization={"kvCacheDType": "FP8"})
    assert wide.kv_cache_tokens is not None
    assert narrow.kv_cache_tokens == pytest.approx(2 * wide.kv_cache_tokens, rel=0.001)


def test_the_terms_add_up_to_what_is_required():
    made = plan("hf://meta-llama/Llama-3.3-70B-Instruct", "h100-80gb")
    assert [term.name for term in made.terms] == ["weights", "activations", "runtime", "cache of one request"]
    assert made.memory_required_bytes == 2 * sum(term.bytes_per_accelerator for term in made.terms)
    assert made.memory_available_bytes == 2 * int(79.1 * GIB * 0.92)


def test_more_accelerators_share_the_weights():
    facts = catalogue()["llama-3.3-70b-instruct"]
    load = Load(facts, PLAIN, 2, 8192)
    h100 = default_profiles()["h100-80gb"]
    two, four = (memory_terms(load, h100, count)[0].bytes_per_accelerator for count in (2, 4))
    assert two == pytest.approx(2 * four, rel=1e-6)


# Context


@pytest.mark.parametrize(
    ("uri", "spec", "context"),
    [
        ("hf://Qwen/Qwen2.5-7B-Instruct-AWQ", {}, 8192),
        ("hf://Qwen/Qwen2.5-7B-Instruct-AWQ", {"contextLength": 32768}, 32768),
        ("hf://meta-llama/Llama-2-7b-chat-hf", {}, 4096),
        ("hf://someone/Foo-7B", {}, 8192),
    ],
)
def test_the_context_is_as_stated_or_what_the_model_can(uri: str, spec: dict[str, Any], context: int):
    assert plan(uri, "l4-24gb", **spec).context_length == context


# What is refused, and what to do about it


def refused(error: type[InvalidObject], uri: str, profile: str, **spec: Any) -> InvalidObject:
    with pytest.raises(error) as caught:
        plan(uri, profile, **({"memoryCheck": "Enforce"} | spec))
    return caught.value


def test_an_unknown_profile_is_told_with_the_choices():
    error = refused(UnknownProfile, "hf://Qwen/Qwen2.5-7B-Instruct", "h200")
    assert (error.field, error.reason) == ("spec.accelerator.profile", "UnknownProfile")
    assert "a100-80gb, cpu, h100-80gb, l4-24gb" in error.cure


def test_what_does_not_fit_is_told_with_numbers_and_cures():
    error = refused(DoesNotFit, "hf://meta-llama/Llama-3.3-70B-Instruct", "l4-24gb", **{"accelerator.count": 4})
    assert error.reason == "DoesNotFit"
    assert "on each of 4 x l4-24gb, which offers 20.2 GiB: weights 32.9" in error.problem
    assert error.cure == (
        "set spec.quantization.method to FP8 (20.0 GiB), or set spec.accelerator.count to 8 (19.1 GiB on each)"
    )


@pytest.mark.parametrize(("check", "warned"), [("Warn", True), ("Disabled", False)])
@pytest.mark.parametrize(("count", "taken"), [(0, 8), (1, 1)])
def test_what_does_not_fit_is_planned_unless_that_is_to_be_refused(check: str, warned: bool, count: int, taken: int):
    spec = {"memoryCheck": check, "accelerator.count": count}
    made = plan("hf://meta-llama/Llama-3.1-405B-Instruct", "l4-24gb", **spec)
    assert (made.accelerators, made.kv_cache_tokens, made.warning is not None) == (taken, 0, warned)
    assert made.memory_required_bytes is not None
    assert made.memory_required_bytes > made.memory_available_bytes
    assert made.fits is False


@pytest.mark.parametrize(
    ("uri", "profile", "spec", "cures"),
    [
        (
            "hf://meta-llama/Llama-3.1-8B-Instruct",
            "l4-24gb",
            {"contextLength": 32768, "accelerator.count": 1},
            [
                "set spec.contextLength to at most 27552",
                "set spec.quantization.kvCacheDType to FP8",
                "set spec.quantization.method to FP8",
                "set spec.accelerator.count to 2",
            ],
        ),
        (
            "hf://meta-llama/Llama-3.3-70B-Instruct",
            "a100-80gb",
            {"accelerator.count": 1},
            ["set spec.quantization.method to FP8", "set spec.accelerator.count to 2"],
        ),
        (
            "hf://mistralai/Mistral-Small-24B-Instruct-2501",
            "l4-24gb",
            {"accelerator.count": 1},
            ["use a copy of the model in AWQ or GPTQ, 4 bits", "set spec.accelerator.count to 4"],
        ),
        ("hf://meta-llama/Llama-3.1-405B-Instruct-FP8", "l4-24gb", {}, ["use 8 x profile a100-80gb"]),
        ("hf://deepseek-ai/DeepSeek-R1", "h100-80gb", {}, ["use a smaller model or a profile with more memory"]),
    ],
)
def test_the_changes_that_are_told_are_the_smallest_of_each_kind(
    uri: str, profile: str, spec: dict[str, Any], cures: list[str]
):
    told = refused(DoesNotFit, uri, profile, **spec).cure
    assert [cure.split(" (")[0] for cure in told.split(", or ")] == cures


def test_a_context_that_does_not_fit_is_told_with_one_that_does():
    error = refused(
        DoesNotFit, "hf://meta-llama/Llama-3.1-8B-Instruct", "l4-24gb", contextLength=65536, **{"accelerator.count": 1}
    )
    room = int(error.cure.removeprefix("set spec.contextLength to at most ").split(",")[0])
    assert plan("hf://meta-llama/Llama-3.1-8B-Instruct", "l4-24gb", contextLength=room, **{"accelerator.count": 1})
    refused(
        DoesNotFit,
        "hf://meta-llama/Llama-3.1-8B-Instruct",
        "l4-24gb",
        contextLength=room + 32,
        **{"accelerator.count": 1},
    )


def test_a_context_beyond_the_models_own_is_refused():
    error = refused(InvalidObject, "hf://Qwen/Qwen2.5-7B-Instruct-AWQ", "l4-24gb", contextLength=32769)
    assert (error.field, error.reason) == ("spec.contextLength", "ContextTooLong")
    assert error.cure == "set it to at most 32768"


def test_a_count_that_cannot_share_the_heads_is_refused_with_those_that_can():
    error = refused(InvalidObject, "hf://Qwen/Qwen2.5-7B-Instruct-AWQ", "l4-24gb", **{"accelerator.count": 3})
    assert error.field == "spec.accelerator.count"
    assert "state one of 1, 2, 4" in error.cure


def test_a_count_beyond_a_node_is_refused():
    error = refused(InvalidObject, "hf://Qwen/Qwen2.5-7B-Instruct-AWQ", "l4-24gb", **{"accelerator.count": 16})
    assert error.cure == "state at most 8"


def test_a_method_against_the_name_is_refused():
    error = refused(InvalidObject, "hf://Qwen/Qwen2.5-7B-Instruct-AWQ", "l4-24gb", quantization={"method": "FP8"})
    assert error.field == "spec.quantization.method"
    assert "store the weights as AWQ" in error.problem
    assert error.cure == "leave it Auto or set it to AWQ"


@pytest.mark.parametrize(
    ("uri", "cure"),
    [
        ("hf://bartowski/Qwen2.5-7B-Instruct-GGUF", "state engine.type Ollama"),
        ("hf://unsloth/llama-3-8b-Instruct-bnb-4bit", "use a copy of the model in AWQ"),
    ],
)
def test_files_that_vllm_does_not_load_are_refused_before_it_fails(uri: str, cure: str):
    error = refused(InvalidObject, uri, "l4-24gb")
    assert (error.field, error.reason) == ("spec.model.uri", "UnsupportedFormat")
    assert error.cure.startswith(cure)


def test_a_model_of_unknown_size_needs_a_stated_count():
    error = refused(InvalidObject, "hf://someone/foo", "l4-24gb")
    assert (error.field, error.reason) == ("spec.model.uri", "UnknownModel")
    made = plan("hf://someone/foo", "l4-24gb", **{"accelerator.count": 2})
    assert (made.accelerators, made.memory_required_bytes, made.kv_cache_tokens) == (2, None, None)


def test_an_empty_profiles_file_holds_none_and_the_error_says_so():
    with pytest.raises(UnknownProfile, match="none is set up"):
        plan_deployment(deployment("hf://Qwen/Qwen2.5-7B-Instruct", "l4-24gb"), load_profiles(""))
