"""What runs what, how fast, cheapest first."""

from __future__ import annotations

import pytest

from spillway.advisor.accelerators import accelerators, find_accelerator
from spillway.advisor.hardware import Precision, Wanted, choices, plan_on
from spillway.advisor.roofline import active_parameters, requests_per_second, speed
from spillway.api.v1alpha1 import EngineType
from spillway.errors import InvalidObject
from spillway.simulator.engine.hardware import ACCELERATORS
from spillway.sizing.catalogue import catalogue
from spillway.sizing.profiles import default_profiles

QWEN_7B = Wanted(uri="hf://Qwen/Qwen2.5-7B-Instruct", context_tokens=8192, prompt_tokens=500, answer_tokens=1000)
LLAMA_70B = Wanted(
    uri="hf://meta-llama/Llama-3.1-70B-Instruct", context_tokens=8192, prompt_tokens=500, answer_tokens=1000
)


def test_all_that_was_asked_for_is_known():
    names = {each.name for each in accelerators()}
    assert len(names) == len(accelerators())
    assert {"t4", "l4-24gb", "a100-80gb", "h100-80gb", "h200-141gb", "b200-180gb", "mi300x-192gb"} <= names
    assert {"rtx-3060", "rtx-3090", "rtx-4090", "rtx-5090", "apple-m1-16gb", "apple-m3-ultra-512gb"} <= names


def test_what_the_operator_knows_too_is_the_same():
    for name in ("l4-24gb", "a100-80gb", "h100-80gb"):
        assert find_accelerator(name).memory_gib == default_profiles()[name].memory_gib


@pytest.mark.parametrize(
    ("name", "product"),
    [("l4-24gb", "NVIDIA-L4"), ("a100-80gb", "NVIDIA-A100-SXM4-80GB"), ("h100-80gb", "NVIDIA-H100-80GB-HBM3")],
)
def test_what_the_simulated_engine_knows_too_is_the_same(name: str, product: str):
    ours, simulated = find_accelerator(name), ACCELERATORS[product]
    assert ours.bandwidth_gigabytes_per_second * 1e9 == simulated.bandwidth_bytes_per_second
    assert ours.teraflops * 1e12 == simulated.operations_per_second


def test_memory_that_can_be_reached_is_less_than_the_box_says():
    assert all(each.memory_gib <= each.memory_gigabytes for each in accelerators())
    assert all(each.memory_gib <= 0.75 * each.memory_gigabytes for each in accelerators() if each.engine == "Ollama")


def test_the_cheapest_comes_first_and_everything_listed_fits():
    found = choices(QWEN_7B, accelerators())
    assert [way.purchase_usd for way in found] == sorted(way.purchase_usd for way in found)
    assert all(way.plan.fits for way in found)
    assert found[0].accelerator.name == "rtx-3060"


def test_fewer_bits_take_fewer_accelerators():
    counts = [
        plan.accelerators
        for precision in (Precision.FOUR_BITS, Precision.SIXTEEN_BITS)
        if (plan := plan_on(find_accelerator("a100-80gb"), LLAMA_70B, precision))
    ]
    assert counts == [1, 2]


def test_a_longer_context_takes_more():
    long = Wanted(uri=QWEN_7B.uri, context_tokens=32768, prompt_tokens=500, answer_tokens=1000, requests=8)
    short, wide = (plan_on(find_accelerator("l4-24gb"), each, Precision.SIXTEEN_BITS) for each in (QWEN_7B, long))
    assert short is not None
    assert wide is not None
    assert wide.accelerators > short.accelerators == 1


def test_what_fits_no_machine_is_not_listed():
    assert plan_on(find_accelerator("rtx-3060"), LLAMA_70B, Precision.FOUR_BITS) is None
    assert "rtx-3060" not in {way.accelerator.name for way in choices(LLAMA_70B, accelerators())}


def test_apples_run_ollama_and_a_t4_has_no_fp8():
    found = choices(QWEN_7B, accelerators())
    assert {way.plan.quantization for way in found if way.accelerator.engine is EngineType.OLLAMA} == {"GGUF"}
    assert {way.precision for way in found if way.accelerator.name == "t4"} == {"FourBits", "SixteenBits"}


def test_a_quantised_copy_is_what_it_is():
    copy = Wanted(uri="hf://Qwen/Qwen2.5-7B-Instruct-AWQ", context_tokens=8192, prompt_tokens=500, answer_tokens=1000)
    assert {way.precision for way in choices(copy, accelerators())} == {Precision.FOUR_BITS}


def test_a_model_of_unknown_size_is_refused_until_it_is_stated():
    unknown = Wanted(uri="hf://someone/foo", context_tokens=4096, prompt_tokens=500, answer_tokens=100)
    with pytest.raises(InvalidObject, match=r"^model.uri: .* state model.parameters, such as 7.6B$"):
        choices(unknown, accelerators())
    stated = Wanted(uri=unknown.uri, context_tokens=4096, prompt_tokens=500, answer_tokens=100, parameters="7B")
    assert choices(stated, accelerators())


def test_a_context_that_the_model_was_not_trained_with_is_refused_by_the_needs_own_field():
    long = Wanted(uri=QWEN_7B.uri, context_tokens=65_536, prompt_tokens=500, answer_tokens=100)
    with pytest.raises(InvalidObject, match=r"^model.contextTokens: 65536 tokens .* at most 32768$"):
        choices(long, accelerators())


def test_the_roofline_by_hand():
    accelerator = find_accelerator("a100-80gb")
    plan = plan_on(accelerator, QWEN_7B, Precision.SIXTEEN_BITS)
    assert plan is not None
    reached = speed(accelerator, plan, prompt_tokens=1000, answer_tokens=1000)
    assert reached is not None
    weights, parameters = 7_615_616_512 * 2, 7_615_616_512
    launch, read = 0.002, weights / 2039e9
    each = 2 * parameters / (312e12 / 2) + 2000 * 57_344 / (0.75 * 2039e9)
    assert reached.one_sequence_tokens_per_second == pytest.approx(1 / (launch + read + each))
    assert reached.sequences == min(256, plan.kv_cache_tokens // 2000)
    assert reached.most_tokens_per_second == pytest.approx(
        reached.sequences / (launch + read + reached.sequences * each)
    )
    first = launch + read + 1000 * 2 * parameters / (312e12 / 2)
    assert reached.first_token_milliseconds == pytest.approx(1000 * first)
    assert requests_per_second(reached, 1000) == pytest.approx(1 / (first + 1000 / reached.most_tokens_per_second))


def test_a_mixture_reads_the_experts_that_a_token_passes():
    mixtral = catalogue()["mixtral-8x7b-instruct-v0.1"]
    # 12.9 of 46.7 billion, as https://mistral.ai/news/mixtral-of-experts has it
    assert mixtral.parameters == pytest.approx(46.7e9, rel=0.01)
    assert active_parameters(mixtral) == pytest.approx(12.9e9, rel=0.01)
    dense = catalogue()["llama-3.1-8b"]
    assert active_parameters(dense) == dense.parameters


def test_an_unknown_accelerator_is_refused_with_the_choices():
    with pytest.raises(InvalidObject, match=r"there is no accelerator 'x'; state one of t4, a10, l4-24gb"):
        find_accelerator("x")
