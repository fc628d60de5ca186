from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spillway.simulator import trace
from spillway.simulator.engine import hardware
from spillway.simulator.engine.batching import Batch, Coefficients, Emission, Step, Work

SMALL = Coefficients(
    step_seconds=0.01,
    prompt_token_seconds=0.001,
    sequence_seconds=0.002,
    resident_token_seconds=0.0001,
    max_batched_tokens=8,
    max_sequences=4,
    kv_tokens=60,
)

works = st.lists(
    st.tuples(st.integers(1, 40), st.integers(1, 20)).map(lambda lengths: Work(0, *lengths)), min_size=1, max_size=12
).map(lambda many: [dataclasses.replace(work, key=key) for key, work in enumerate(many)])


def run_to_end(batch: Batch) -> tuple[list[Step], list[Emission]]:
    steps: list[Step] = []
    emissions: list[Emission] = []
    while (step := batch.begin_step()) is not None:
        assert len(steps) < 10_000
        steps.append(step)
        emissions.extend(batch.finish_step())
    return steps, emissions


def batch_of(*many: Work, coefficients: Coefficients = SMALL) -> Batch:
    batch = Batch(coefficients)
    for work in many:
        batch.submit(work)
    return batch


@given(works)
def test_every_token_of_every_admitted_sequence_is_read_or_made_just_once(many: list[Work]) -> None:
    batch = batch_of(*many)

    steps, emissions = run_to_end(batch)

    read: Counter[int] = Counter()
    for step in steps:
        for key, chunk in step.reading:
            read[key] += chunk
    assert read == {work.key: work.prompt_tokens for work in many}
    assert Counter(emission.key for emission in emissions) == {work.key: work.output_tokens for work in many}
    assert sorted(emission.key for emission in emissions if emission.is_last) == [work.key for work in many]
    assert (batch.running, batch.waiting, batch.reserved_tokens, batch.resident_tokens) == (0, 0, 0, 0)


@given(works)
def test_first_tokens_come_in_the_order_of_arrival(many: list[Work]) -> None:
    _, emissions = run_to_end(batch_of(*many))

    firsts = [emission.key for emission in emissions if emission.is_first]
    assert firsts == [work.key for work in many]


@given(works)
def test_no_step_passes_a_limit(many: list[Work]) -> None:
    batch = batch_of(*many)

    while (step := batch.begin_step()) is not None:
        assert len(step.decoding) + sum(chunk for _, chunk in step.reading) <= SMALL.max_batched_tokens
        assert batch.running <= SMALL.max_sequences
        assert batch.resident_tokens <= batch.reserved_tokens <= SMALL.kv_tokens
        batch.finish_step()


@given(works, st.data())
def test_a_cancelled_sequence_leaves_nothing_behind(many: list[Work], data: st.DataObject) -> None:
    batch = batch_of(*many)
    gone = data.draw(st.integers(0, len(many) - 1))
    for _ in range(data.draw(st.integers(0, 10))):
        batch.begin_step()
        batch.finish_step()
    batch.begin_step()
    was_here = batch.cancel(gone)
    emissions = list(batch.finish_step())
    emissions += run_to_end(batch)[1]

    assert was_here is False or gone not in {emission.key for emission in emissions}
    assert batch.cancel(gone) is False
    assert (batch.running, batch.waiting, batch.reserved_tokens) == (0, 0, 0)


def test_a_step_takes_what_the_formula_says() -> None:
    batch = batch_of(Work(1, 3, 5), Work(2, 10, 5))
    first = batch.begin_step()
    batch.finish_step()
    second = batch.begin_step()

    assert first is not None
    assert first.reading == ((1, 3), (2, 5))
    assert first.seconds == pytest.approx(0.01 + 8 * 0.001 + 2 * 0.002)
    assert second is not None
    assert (second.decoding, second.reading) == ((1,), ((2, 5),))
    assert second.seconds == pytest.approx(0.01 + 5 * 0.001 + 2 * 0.002 + (3 + 1 + 5) * 0.0001)


def test_decodes_come_before_prompts() -> None:
    batch = batch_of(*(Work(key, 1, 5) for key in range(3)), Work(9, 30, 1))
    batch.begin_step()
    batch.finish_step()

    step = batch.begin_step()

    assert step is not None
    assert (step.decoding, step.reading) == ((0, 1, 2), ((9, 5),))


def test_nobody_overtakes_the_head_of_the_queue() -> None:
    batch = batch_of(Work(1, 40, 10), Work(2, 40, 10), Work(3, 1, 1))

    batch.begin_step()

    assert (batch.running, batch.waiting) == (1, 2)


@pytest.mark.parametrize("work", [Work(1, 50, 11), Work(1, 0, 1), Work(1, 1, 0)], ids=str)
def test_what_can_never_run_is_refused(work: Work) -> None:
    with pytest.raises(ValueError, match="token"):
        Batch(SMALL).submit(work)


def test_a_step_of_nothing_is_none() -> None:
    assert Batch(SMALL).begin_step() is None
    assert Batch(SMALL).finish_step() == ()


def l4() -> Coefficients:
    accelerator = hardware.ACCELERATORS["NVIDIA-L4"]
    model = hardware.model_of("Qwen/Qwen2.5-7B-Instruct-AWQ", None)
    return hardware.coefficients_of(accelerator, model, 1, hardware.kv_cache_bytes(accelerator, model, 1, 0.92))


def test_the_trace_overloads_two_l4_about_twofold() -> None:
    arrivals = trace.read()
    batch = batch_of(
        *(Work(key, a.prompt_tokens, a.output_tokens) for key, a in enumerate(arrivals)), coefficients=l4()
    )

    steps, _ = run_to_end(batch)

    busy_seconds = sum(step.seconds for step in steps)
    assert 1.8 < busy_seconds / 2 / 120 < 2.6
    assert 3_000 < sum(a.prompt_tokens for a in arrivals) / busy_seconds < 3_700


@pytest.mark.parametrize(
    ("name", "quantization", "parameters", "gigabytes"),
    [
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", None, 7e9, 5.2),
        ("Qwen/Qwen2.5-7B-Instruct", None, 7e9, 14.0),
        ("meta-llama/Llama-3.3-70B-Instruct", "fp8", 70e9, 74.2),
        ("Qwen/Qwen2.5-0.5B-Instruct-GPTQ-Int4", "gptq", 0.5e9, 0.37),
        ("/models/mine", "awq", 7e9, 5.2),
        ("/volumes/0c7341b3-70b/qwen-7b-4e70b31a2c", None, 7e9, 14.0),
    ],
)
def test_a_model_is_guessed_from_its_name(
    name: str, quantization: str | None, parameters: float, gigabytes: float
) -> None:
    model = hardware.model_of(name, quantization)

    assert model.parameters == parameters
    assert model.weight_bytes / 1e9 == pytest.approx(gigabytes, abs=0.05)


def test_two_accelerators_halve_what_scales() -> None:
    accelerator = hardware.ACCELERATORS["NVIDIA-L4"]
    model = hardware.model_of("7B", "awq")
    one = hardware.coefficients_of(accelerator, model, 1, 1e9)
    two = hardware.coefficients_of(accelerator, model, 2, 1e9)

    assert two.prompt_token_seconds == one.prompt_token_seconds / 2
    assert two.resident_token_seconds == one.resident_token_seconds / 2
    assert one.step_seconds / 2 < two.step_seconds < one.step_seconds
