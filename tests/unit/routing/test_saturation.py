"""What is predicted of a replica: its prefill, its step, the room in its cache; and what is learnt from answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_values import route
from spillway.api.v1alpha1 import EngineType
from spillway.routing.facts import Usage
from spillway.routing.hold import LEAD_SECONDS, Pool
from spillway.routing.learnt import CALLERS_AT_MOST, OutputLengths, StepModel
from spillway.routing.outcomes import Reason
from spillway.routing.replica import Load
from spillway.routing.saturation import Capacity
from spillway.routing.scraped import EngineLoad
from spillway.routing.shares import Work
from spillway.routing.verdicts import Local, Refusal, Verdict
from spillway.routing.waiting import Held

OLLAMA = {"engine": EngineType.OLLAMA, "max_sequences": 2}


def held(name: str, arrived: float = 0.0, tokens: int = 400, **changes: object) -> Held:
    made = Held(name, arrived, tokens, 50, streams=True, targets=(), stays_because=Reason.SENSITIVE)
    return replace(made, **changes)  # type: ignore[arg-type]


def pool(*replicas: str, **changes: object) -> Pool:
    made = Pool(route(**changes))
    made.fleet.set_replicas(frozenset(replicas or ("a",)), 0)
    return made


def ask(made: Pool, now: float, *requests: Held) -> dict[str, Verdict]:
    for request in requests:
        made.ask(request)
    return drain(made, now, *requests)


def drain(made: Pool, now: float, *requests: Held) -> dict[str, Verdict]:
    asked = {request.request_id: request for request in requests}
    verdicts: dict[str, Verdict] = {}
    while (answer := made.next(now)) is not None:
        verdicts[answer[0]] = answer[1]
        if isinstance(answer[1], Local):
            made.occupy(asked[answer[0]], answer[1].replica, now)
    return verdicts


@given(
    st.lists(st.integers(1, 30_000), max_size=20),
    st.floats(0.3, 4.0),
    st.integers(1, 8),
)
def test_with_an_idle_replica_the_verdict_is_immediate_whatever_was_learnt(
    busy: list[int], kappa: float, prompt_hundreds: int
) -> None:
    made = pool("a", "b", max_sequences=256, kv_capacity_tokens=50_000)
    made.predictor.kappa = kappa
    made.fleet.tell("peer", Work({"a": Load(50_000, 10, 40_000)}), 0.0)
    for place, tokens in enumerate(busy):
        made.occupy(held(f"busy{place}", tokens=tokens), "a", 0.0)
    verdict = ask(made, 0.1, held("r", arrived=0.1, tokens=100 * prompt_hundreds))["r"]
    assert isinstance(verdict, Local)
    assert verdict.replica == "b"


def test_the_step_grows_with_the_batch_and_nothing_waits_for_a_step_of_none() -> None:
    model = StepModel()
    for requests in (1, 8, 32, 64) * 30:
        model.observe(requests, 0.02 + 0.001 * requests)
    assert model.seconds(0) == 0.0
    assert model.seconds(10) == pytest.approx(0.03, rel=0.05)
    assert model.seconds(50) == pytest.approx(0.07, rel=0.05)


def test_the_time_per_token_is_learnt_from_streams_and_predicted_for_one_more() -> None:
    made = pool()
    now = 0.0
    for number in range(60):
        request = held(f"r{number}", arrived=now)
        ask(made, now, request)
        now += 0.1
        made.prefilled(request.request_id, "a", now)
        now += 0.05 * 99
        made.fleet.answered(request.request_id, "a", 1600, Usage(400, 100), now)
        made.vacate(request.request_id, "a", now, trouble=False)
    (load,) = made.fleet.loads(now)
    assert made.predictor.tpot_seconds(load[3]) == pytest.approx(0.05, rel=0.1)


def test_answers_lengths_are_learnt_by_caller_and_callers_are_bounded() -> None:
    made = OutputLengths()
    for _ in range(100):
        made.observe("terse", 10)
        made.observe("", 500)
    assert made.expected("terse") == pytest.approx(10, abs=2)
    assert made.expected("unknown") == made.expected("") > 200
    assert made.upper("") > made.expected("")
    for number in range(CALLERS_AT_MOST):
        made.observe(f"caller-{number}", 20)
    assert made.expected("terse") == made.expected("")  # the one that was seen longest ago is forgotten


@pytest.mark.parametrize(
    ("resident", "waits"), [(0, False), (8_000, False), (8_600, True), (20_000, True)], ids=["empty", "80", "86", "200"]
)
def test_a_request_waits_for_the_cache_only_where_it_would_pass_nine_tenths_of_it(resident: int, waits: bool) -> None:
    made = pool(kv_capacity_tokens=10_000)
    if resident:
        ask(made, 0.0, held("there", tokens=resident - 50))
        made.prefilled("there", "a", 0.5)
    (load,) = made.fleet.loads(0.5)
    seconds = made.predictor.room_seconds(load[3], 450, Capacity(10_000), 0.5)
    assert (seconds > 0) == waits
    # the answer of 50 tokens that is in the way is expected to end in fifty steps
    assert seconds == pytest.approx(50 * made.predictor.step.seconds(1) if waits else 0.0, rel=0.01)


def test_what_an_engine_says_of_its_cache_wins_over_the_plan() -> None:
    made = pool(kv_capacity_tokens=10_000)
    ask(made, 0.0, held("there", tokens=9_000))
    made.prefilled("there", "a", 2.0)
    assert ask(made, 2.0, held("r", arrived=2.0)) == {}
    made.fleet.correct("a", EngineLoad(1, 0, 0.1, 100_000), 2.1)
    assert isinstance(drain(made, 2.1, held("r"))["r"], Local)


def test_ollama_gets_as_many_as_it_has_slots_and_the_rest_waits_here() -> None:
    made = pool(**OLLAMA)
    requests = [held(f"r{number}", tokens=50) for number in range(4)]
    assert len(ask(made, 0.0, *requests)) == 2
    made.prefilled("r0", "a", 0.1)
    made.vacate("r0", "a", 1.0, trouble=False)
    assert [*drain(made, 1.0, *requests)] == ["r2"]


def test_an_abandoned_prompt_keeps_its_slot_at_ollama_until_its_predicted_end_and_frees_vllm_at_once() -> None:
    for changes, in_flight in ((OLLAMA, 1), ({}, 0)):
        made = pool(**changes)
        ask(made, 0.0, held("gone", tokens=4000))
        predicted = made.predictor.own_seconds(4000)
        made.vacate("gone", "a", 0.1, trouble=False, abandoned=True)
        assert made.in_flight == in_flight
        made.next(predicted - 0.01)
        assert made.in_flight == in_flight
        made.next(predicted + 0.01)
        assert made.in_flight == 0
        assert made.fleet.own()["a"] == Load(0, 0, 0)


def test_one_that_plainly_will_not_have_its_turn_in_time_is_refused_at_once() -> None:
    made = pool(max_wait_seconds=10.0, max_held=10_000)
    for _ in range(20):
        made.predictor.prefill.observe(1000, 1.0)
    requests = [held(f"r{number}", tokens=1000) for number in range(20)]
    verdicts = ask(made, 0.0, *requests)
    refused = [name for name, verdict in verdicts.items() if isinstance(verdict, Refusal)]
    assert 7 <= len(refused) <= 10  # some ten seconds of them are let in
    assert made.held + len(verdicts) == 20
    late = verdicts[refused[0]]
    assert isinstance(late, Refusal)
    assert (late.reason, late.retry_after_seconds > 5) == (Reason.SENSITIVE, True)


def test_nobody_is_refused_for_a_wait_that_rests_on_no_observation() -> None:
    made = pool(max_wait_seconds=1.0, max_held=10_000)
    assert len(ask(made, 0.0, *(held(f"r{number}", tokens=4000) for number in range(20)))) == 1


def test_a_peers_work_counts_until_it_is_read_or_the_peer_says_otherwise() -> None:
    made = pool("a", "b")
    made.fleet.tell("peer", Work({"a": Load(8000, 3, 9000)}), 0.0)
    assert made.fleet.elsewhere()["a"] == Load(8000, 3, 9000)
    backlog = {load[3].name: load[0] for load in made.fleet.loads(0.0)}
    assert backlog == {"a": pytest.approx(8000 * made.predictor.seconds_per_token), "b": 0.0}
    assert {load[3].name: load[1] for load in made.fleet.loads(0.0)} == {"a": 3, "b": 0}
    later = {load[3].name: load[0] for load in made.fleet.loads(0.5)}
    assert later["a"] == pytest.approx(backlog["a"] - 0.5)
    assert not made.fleet.forget_old(0.9)
    assert made.fleet.forget_old(1.1)
    assert made.fleet.elsewhere()["a"] == Load(0, 0, 0)


@given(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 10**9), st.floats(0.0, 5.0))
def test_a_peer_never_makes_a_replica_look_freer(pending: int, requests: int, resident: int, later: float) -> None:
    alone, told = pool(kv_capacity_tokens=10_000), pool(kv_capacity_tokens=10_000)
    for made in (alone, told):
        ask(made, 0.0, held("r", tokens=3000))
    told.fleet.tell("peer", Work({"a": Load(pending, requests, resident)}), 0.0)
    request, capacity = held("next"), Capacity(10_000)
    (before,), (after,) = alone.fleet.loads(later), told.fleet.loads(later)
    assert after[:2] >= before[:2]
    assert told.fleet.predict(request, after[3], capacity, later) >= alone.fleet.predict(
        request, before[3], capacity, later
    )


def test_gateways_divide_the_lead_and_prefer_different_replicas() -> None:
    names = tuple(f"replica-{number}" for number in range(20))
    first, second = (Pool(route(), name) for name in ("gateway-a", "gateway-b"))
    for made in (first, second):
        made.fleet.set_replicas(frozenset(names), 0)
        made.fleet.tell("peer", Work({}), 0.0)
    chosen = [min(made.fleet.loads(0.0))[3].name for made in (first, second)]
    assert chosen[0] != chosen[1]

    tokens = round(LEAD_SECONDS * 0.75 / first.predictor.seconds_per_token)
    for peers, goes_on in ((0, True), (1, False)):
        made = pool("a")
        if peers:
            made.fleet.tell("peer", Work({}), 0.0)
        made.occupy(held("there", tokens=tokens), "a", 0.0)
        assert bool(ask(made, 0.0, held("r", tokens=10))) == goes_on
