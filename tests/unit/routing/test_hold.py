"""The pool: who stays, who waits, who spills, who is refused, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_values import SPILL_REASONS, TARGET, route
from spillway.routing.facts import Route
from spillway.routing.health import Trouble
from spillway.routing.hold import Pool
from spillway.routing.outcomes import Reason
from spillway.routing.verdicts import Cloud, Local, Refusal, Verdict
from spillway.routing.waiting import Held


def held(name: str, *, arrived: float = 0.0, tokens: int = 400, leaves: bool = True, **changes: object) -> Held:
    values: dict[str, object] = {"output_tokens": 50, "streams": True, "stays_because": Reason.SENSITIVE}
    values["targets"] = ("openai",) if leaves else ()
    return Held(name, arrived, tokens, **(values | changes))  # type: ignore[arg-type]


def pool(*replicas: str, loading: int = 0, **changes: object) -> Pool:
    made = Pool(route(**changes))
    made.fleet.set_replicas(frozenset(replicas), loading)
    return made


def drain(made: Pool, now: float, asked: dict[str, Held]) -> dict[str, Verdict]:
    """Every verdict that can be given at `now`, each carried out before the next."""
    verdicts: dict[str, Verdict] = {}
    while (answer := made.next(now)) is not None:
        request_id, verdict = answer
        verdicts[request_id] = verdict
        if isinstance(verdict, Local):
            made.occupy(asked[request_id], verdict.replica, now)
    return verdicts


def ask(made: Pool, now: float, *requests: Held) -> dict[str, Verdict]:
    for request in requests:
        made.ask(request)
    return drain(made, now, {request.request_id: request for request in requests})


def test_an_idle_replica_means_that_nobody_waits() -> None:
    made = pool("a")
    assert isinstance(ask(made, 0.0, held("r"))["r"], Local)
    assert made.held == 0


def test_requests_spread_over_idle_replicas() -> None:
    made = pool("a", "b")
    verdicts = ask(made, 0.0, held("r1", tokens=800), held("r2", tokens=800))
    assert {v.replica for v in verdicts.values() if isinstance(v, Local)} == {"a", "b"}


def test_a_busy_replica_holds_until_its_lead_and_then_takes_the_earliest_expiry() -> None:
    made = pool("a")
    ask(made, 0.0, held("big", tokens=4000))
    late, early = held("late", arrived=0.2), held("early", arrived=0.1)
    assert ask(made, 0.2, late, early) == {}
    assert made.held == 2
    made.prefilled("big", "a", 1.0)
    verdicts = drain(made, 1.0, {"late": late, "early": early})
    assert next(iter(verdicts)) == "early"


def test_what_may_leave_spills_when_its_slack_is_used() -> None:
    made = pool("a")
    ask(made, 0.0, held("big", tokens=30_000, leaves=False))
    request = held("r")
    assert ask(made, 0.0, request) == {}
    wake = made.next_wake(0.0)
    assert wake is not None
    assert 1.0 < wake < 1.5
    assert drain(made, wake, {"r": request}) == {"r": Cloud("openai", Reason.SATURATED)}


def test_what_may_not_leave_waits_instead() -> None:
    made = pool("a")
    ask(made, 0.0, held("big", tokens=30_000, leaves=False))
    request = held("r", leaves=False)
    assert ask(made, 0.0, request) == {}
    assert drain(made, 5.0, {"r": request}) == {}
    made.prefilled("big", "a", 8.0)
    assert drain(made, 8.0, {"r": request})["r"] == Local("a", Reason.SENSITIVE, pytest.approx(0.15, abs=0.2))


def test_a_prompt_that_no_idle_replica_prefills_in_time_spills_at_once() -> None:
    assert ask(pool("a"), 0.0, held("r", tokens=20_000))["r"] == Cloud("openai", Reason.SATURATED)


def test_a_request_whose_hold_expires_stays_if_it_still_makes_it() -> None:
    made = pool("a")
    ask(made, 0.0, held("big", tokens=2000))
    for _ in range(200):
        made.predictor.cloud_first_token(1.9)  # a slow cloud leaves hardly any hold
    request = held("r", tokens=100)
    ask(made, 0.0, request)
    assert isinstance(drain(made, 0.11, {"r": request})["r"], Local)


def test_a_target_that_has_its_fill_is_passed_over_until_one_ends() -> None:
    made = pool(targets=(replace(TARGET, max_concurrent_requests=1), replace(TARGET, name="second")), loading=0)
    both = ("openai", "second")
    assert ask(made, 0.0, held("r1", targets=both)) == {"r1": Cloud("openai", Reason.NO_ENDPOINTS)}
    made.targets.occupy("another", "openai")
    assert ask(made, 0.0, held("r2", targets=both)) == {"r2": Cloud("second", Reason.NO_ENDPOINTS)}
    third = held("r3", targets=("openai",))
    assert ask(made, 0.0, third) == {}
    made.targets.vacate("another", "openai", 0.0, trouble=False)
    assert drain(made, 0.1, {"r3": third}) == {"r3": Cloud("openai", Reason.NO_ENDPOINTS)}


def test_a_target_that_fails_is_passed_over_until_it_may_be_tried_by_one() -> None:
    made = pool(targets=(TARGET, replace(TARGET, name="second")), loading=0)
    both = ("openai", "second")
    made.targets.occupy("a", "openai")
    made.targets.refused("a", Trouble(429, 8.0))
    made.targets.vacate("a", "openai", 0.0, trouble=True)
    assert ask(made, 1.0, held("r1", targets=both)) == {"r1": Cloud("second", Reason.NO_ENDPOINTS)}
    waits = held("r2", arrived=1.0, targets=("openai",))
    assert ask(made, 1.0, waits) == {}
    wake = made.next_wake(1.0)
    assert wake is not None
    assert 8.0 <= wake <= 8.8
    assert drain(made, wake, {"r2": waits}) == {"r2": Cloud("openai", Reason.NO_ENDPOINTS)}
    made.targets.occupy("r2", "openai")
    assert ask(made, wake, held("r3", arrived=wake, targets=both)) == {"r3": Cloud("second", Reason.NO_ENDPOINTS)}


def test_when_every_target_fails_what_may_leave_waits_and_is_told_so() -> None:
    made = pool("a", targets=(TARGET,), max_wait_seconds=3.0)
    ask(made, 0.0, held("big", tokens=30_000, leaves=False))
    made.targets.occupy("a", "openai")
    made.targets.refused("a", Trouble(401))
    made.targets.vacate("a", "openai", 0.0, trouble=True)
    request = held("r", targets=("openai",))
    assert ask(made, 0.0, request) == {}
    verdict = drain(made, 3.0, {"r": request})["r"]
    assert isinstance(verdict, Refusal)
    assert verdict.reason is Reason.BACKEND_ERROR


def test_after_the_longest_wait_it_is_refused_with_when_to_come_back() -> None:
    made = pool("a", max_wait_seconds=3.0)
    ask(made, 0.0, held("big", tokens=30_000, leaves=False))
    request = held("r", leaves=False, stays_because=Reason.BUDGET_EXHAUSTED)
    ask(made, 0.0, request)
    verdict = drain(made, 3.0, {"r": request})["r"]
    assert isinstance(verdict, Refusal)
    assert verdict.reason is Reason.BUDGET_EXHAUSTED
    assert 1 <= verdict.retry_after_seconds <= 60


def test_a_full_queue_refuses_the_newest() -> None:
    made = pool("a", max_held=2)
    ask(made, 0.0, held("big", tokens=30_000, leaves=False))
    verdicts = ask(made, 1.0, *(held(f"r{i}", arrived=i / 10, leaves=False) for i in range(4)))
    assert {name for name, verdict in verdicts.items() if isinstance(verdict, Refusal)} == {"r2", "r3"}


@pytest.mark.parametrize(
    ("loading", "reasons", "expected"),
    [
        (0, SPILL_REASONS, Cloud("openai", Reason.NO_ENDPOINTS)),
        (1, SPILL_REASONS, Cloud("openai", Reason.LOADING)),
        (0, frozenset({Reason.SATURATED}), None),
        (1, frozenset({Reason.SATURATED}), None),
    ],
)
def test_without_replicas_it_spills_if_the_object_gives_that_reason(
    loading: int, reasons: frozenset[Reason], expected: Verdict | None
) -> None:
    made = pool(loading=loading, spill_reasons=reasons, max_wait_seconds=30.0)
    assert ask(made, 0.0, held("r")).get("r") == expected


def test_a_reason_that_is_not_listed_means_waiting_like_the_rest() -> None:
    made = pool("a", spill_reasons=frozenset({Reason.NO_ENDPOINTS}))
    ask(made, 0.0, held("big", tokens=30_000))
    request = held("r")
    assert ask(made, 0.0, request) == {}
    assert drain(made, 20.0, {"r": request}) == {}
    assert isinstance(drain(made, 30.0, {"r": request})["r"], Refusal)


@pytest.mark.parametrize(("loading", "reason"), [(0, Reason.NO_ENDPOINTS), (2, Reason.LOADING)])
def test_without_replicas_what_may_not_leave_waits_and_is_told_why(loading: int, reason: Reason) -> None:
    made = pool(loading=loading)
    request = held("r", leaves=False)
    assert ask(made, 0.0, request) == {}
    verdict = drain(made, 30.0, {"r": request})["r"]
    assert isinstance(verdict, Refusal)
    assert verdict.reason is reason


def test_a_replica_that_becomes_ready_serves_those_who_waited_for_it() -> None:
    made = pool(loading=1)
    request = held("r", leaves=False)
    ask(made, 0.0, request)
    made.fleet.set_replicas(frozenset({"a"}), 0)
    assert isinstance(drain(made, 4.0, {"r": request})["r"], Local)


def test_a_failed_replica_is_left_alone_and_tried_again_when_there_is_no_other() -> None:
    made = pool("a")
    first = held("r", leaves=False)
    ask(made, 0.0, first)
    made.vacate("r", "a", 0.1, trouble=True, abandoned=False)
    again = held("r", leaves=False, excluded_replicas=frozenset({"a"}), after_failure=True)
    assert ask(made, 0.1, again) == {}
    wake = made.next_wake(0.1)
    assert wake is not None
    assert isinstance(drain(made, wake, {"r": again})["r"], Local)


def test_a_failed_request_goes_to_the_other_replica() -> None:
    made = pool("a", "b")
    again = held("r", excluded_replicas=frozenset({"a"}), after_failure=True)
    verdict = ask(made, 0.0, again)["r"]
    assert isinstance(verdict, Local)
    assert verdict.replica == "b"


def test_a_replica_that_left_keeps_its_count_until_its_requests_end() -> None:
    made = pool("a", "b")
    ask(made, 0.0, held("r1", tokens=900), held("r2", tokens=900))
    made.fleet.set_replicas(frozenset({"b"}), 0)
    assert made.fleet.in_flight == 2
    made.vacate("r1", "a", 1.0, trouble=False, abandoned=False)
    assert made.fleet.own().keys() == {"b"}


def test_a_unary_request_counts_as_prefilled_when_that_was_predicted() -> None:
    made = pool("a")
    first = held("unary", tokens=4000, streams=False)
    ask(made, 0.0, first)
    second = held("r", tokens=100, leaves=False)
    assert ask(made, 0.0, second) == {}
    wake = made.next_wake(0.0)
    assert wake is not None
    assert isinstance(drain(made, max(wake, 1.2), {"r": second})["r"], Local)


def test_a_full_kv_cache_is_not_filled_further() -> None:
    made = pool("a", kv_capacity_tokens=1000)
    ask(made, 0.0, held("r1", tokens=800, leaves=False))
    made.prefilled("r1", "a", 0.2)
    second = held("r2", arrived=0.2, tokens=200, leaves=False)
    assert ask(made, 0.2, second) == {}
    made.vacate("r1", "a", 0.5, trouble=False, abandoned=False)
    assert isinstance(drain(made, 0.5, {"r2": second})["r2"], Local)


def test_a_withdrawn_request_gets_no_verdict() -> None:
    made = pool()
    made.ask(held("r", leaves=False))
    made.withdraw("r")
    assert made.next(100.0) is None
    assert made.next_wake(100.0) is None


@pytest.mark.parametrize("speed", [1500.0, 4000.0, 12_000.0])
def test_the_prediction_follows_engines_that_are_faster_or_slower_than_assumed(speed: float) -> None:
    made: Pool = pool("a")
    now = 0.0
    for number in range(60):
        tokens = 500 + 137 * number % 3000
        request = held(f"r{number}", arrived=now, tokens=tokens, leaves=False)
        ask(made, now, request)
        now += 0.03 + tokens / speed
        made.prefilled(request.request_id, "a", now)
        made.vacate(request.request_id, "a", now, trouble=False, abandoned=False)
    assert made.predictor.own_seconds(2000) == pytest.approx(0.03 + 2000 / speed, rel=0.15)


def test_an_engine_that_was_slow_for_a_while_is_found_to_be_fast_again() -> None:
    made, now = pool("a"), 0.0

    def answered(name: str, seconds: float, **changes: object) -> Verdict:
        nonlocal now
        now += 1.0
        verdict = ask(made, now, held(name, arrived=now, **changes))[name]
        if isinstance(verdict, Local):
            made.prefilled(name, "a", now + seconds)
            made.vacate(name, "a", now + seconds, trouble=False)
            now += seconds
        return verdict

    for number in range(30):
        answered(f"slow{number}", 3.0, leaves=False)
    # nothing that may leave goes there any more, but for one in ten seconds, which tells
    stayed = [isinstance(answered(f"fast{number}", 0.1), Local) for number in range(120)]
    assert not stayed[0]
    assert 1 <= sum(stayed[:30]) <= 3
    assert all(stayed[-20:])
    # and never a long one: that an idle replica is too slow for it needs no trial
    now += 60.0
    assert isinstance(answered("long", 0.1, tokens=50_000), Cloud)


def test_one_that_is_late_by_far_does_not_turn_all_others_away() -> None:
    made = pool("a")
    ask(made, 0.0, held("late"))
    made.prefilled("late", "a", 40.0)
    made.vacate("late", "a", 40.0, trouble=False)
    assert made.predictor.kappa == pytest.approx(1.15)


def test_a_hold_leaves_the_cloud_the_time_that_it_takes_at_its_slower() -> None:
    made = pool("a")
    for number in range(100):
        made.predictor.cloud_first_token(0.4 if number % 2 else 0.8)
    assert made.predictor.cloud_ttft_seconds == pytest.approx(1.2, abs=0.1)


def test_every_route_has_its_own_pool() -> None:
    made: Route = route(slo_ttft_seconds=0.5)
    assert Pool(made).route.slo_ttft_seconds == 0.5


@given(
    st.lists(
        st.tuples(
            st.sampled_from([(), ("openai",), ("other",), ("other", "openai")]),
            st.integers(1, 20_000),
            st.booleans(),
            st.floats(0, 0.5),
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(0, 3),
    st.lists(st.floats(0.01, 3), max_size=4),
)
def test_a_verdict_never_opens_what_is_not_open_to_its_own_request(
    asked: list[tuple[tuple[str, ...], int, bool, float]], replicas: int, waits: list[float]
) -> None:
    made = pool(*(f"r{number}" for number in range(replicas)), targets=(TARGET, replace(TARGET, name="other")))
    requests: dict[str, Held] = {}
    now = 0.0
    for number, (targets, tokens, streams, pause) in enumerate(asked):
        now += pause
        request = held(f"q{number}", arrived=now, tokens=tokens, streams=streams, targets=targets)
        requests[request.request_id] = request
        made.ask(request)
    for wait in (0.0, *waits):
        now += wait
        _verdicts_are_open(drain(made, now, requests), requests)


def _verdicts_are_open(verdicts: dict[str, Verdict], requests: dict[str, Held]) -> None:
    for request_id, verdict in verdicts.items():
        if isinstance(verdict, Cloud):
            assert verdict.target in requests[request_id].targets
