"""A target that fails is left alone for a while, then tried by one request."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_values import TARGET
from spillway.routing.health import FAILURES_TO_SHUT, LOST, MOST_SECONDS, SHUT_MOST_SECONDS, Trouble
from spillway.routing.targets import Targets

T = TARGET.name


def targets(jitter: float = 0.0) -> Targets:
    made = Targets(lambda: jitter)
    made.replace([TARGET])
    return made


def fail(at: Targets, request_id: str, trouble: Trouble = LOST) -> None:
    at.occupy(request_id, T)
    at.refused(request_id, trouble)
    at.vacate(request_id, T, at._now, trouble=True)


def shut_seconds(at: Targets) -> float:
    (until,) = at.wakes()
    return until - at._now


def test_three_failures_in_a_row_shut_a_target_and_a_success_between_them_does_not() -> None:
    at = targets()
    for place in range(FAILURES_TO_SHUT - 1):
        fail(at, f"a{place}")
    assert at.takes(TARGET)
    at.occupy("good", T)
    at.answered("good", T)
    at.vacate("good", T, at._now, trouble=False)
    for place in range(FAILURES_TO_SHUT - 1):
        fail(at, f"b{place}")
    assert at.takes(TARGET)
    fail(at, "c")
    assert not at.takes(TARGET)
    assert at.are_shut([T])


def test_a_stream_that_breaks_after_its_first_token_counts_as_a_failure() -> None:
    at = targets()
    for place in range(FAILURES_TO_SHUT):
        at.occupy(f"r{place}", T)
        at.answered(f"r{place}", T)
        at.vacate(f"r{place}", T, at._now, trouble=True)
    assert not at.takes(TARGET)


@pytest.mark.parametrize(
    ("trouble", "seconds"),
    [
        (Trouble(429), 1.0),
        (Trouble(529), 1.0),
        (Trouble(503, 7.5), 7.5),
        (Trouble(429, 42.0), 42.0),
        (Trouble(429, 0.0), 1.0),
        (Trouble(500, 5.0), 5.0),
        (Trouble(429, 86_400.0), MOST_SECONDS),
        (Trouble(401), 60.0),
        (Trouble(403), 60.0),
        (Trouble(404), 60.0),
    ],
)
def test_what_a_refusal_says_of_the_next_request_shuts_at_once(trouble: Trouble, seconds: float) -> None:
    at = targets()
    at.advance(100.0)
    fail(at, "r", trouble)
    assert shut_seconds(at) == pytest.approx(seconds)
    assert at.health(T).last == trouble
    at.advance(100.0 + seconds - 0.01)
    assert not at.takes(TARGET)
    at.advance(100.0 + seconds)
    assert at.takes(TARGET)


def test_one_request_tries_it_and_no_other_until_it_is_known() -> None:
    at = targets()
    fail(at, "a", Trouble(429))
    at.advance(1.0)
    at.occupy("probe", T)
    assert not at.takes(TARGET)
    at.answered("probe", T)
    assert at.takes(TARGET)
    at.vacate("probe", T, at._now, trouble=False)
    assert at.health(T).trips == 0


def test_a_probe_that_ends_without_a_verdict_lets_another_try() -> None:
    at = targets()
    fail(at, "a", Trouble(429))
    at.advance(1.0)
    at.occupy("probe", T)
    at.vacate("probe", T, at._now, trouble=False)  # its caller left, or there was no money
    assert at.takes(TARGET)
    at.occupy("another", T)
    assert not at.takes(TARGET)


def test_each_failed_probe_doubles_the_time_up_to_a_minute() -> None:
    at = targets()
    seconds = []
    for place in range(9):
        fail(at, f"r{place}", Trouble(429))
        seconds.append(shut_seconds(at))
        at.advance(at._now + seconds[-1])
    assert seconds == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_what_was_under_way_when_it_was_shut_changes_nothing_but_a_later_time() -> None:
    at = targets()
    for name in ("a", "b", "c"):
        at.occupy(name, T)
    for name, trouble in (("a", Trouble(429)), ("b", LOST), ("c", Trouble(429, 30.0))):
        at.refused(name, trouble)
        at.vacate(name, T, at._now, trouble=True)
    assert shut_seconds(at) == 30.0
    assert at.health(T).trips == 1


@given(jitter=st.floats(0, 1), stated=st.none() | st.floats(0, 10_000), trips=st.integers(0, 12))
def test_jitter_spreads_the_return_and_never_brings_it_before_the_stated_time(
    jitter: float, stated: float | None, trips: int
) -> None:
    at = targets(jitter)
    seconds = 0.0
    for place in range(trips + 1):
        fail(at, f"r{place}", Trouble(429, stated))
        seconds = shut_seconds(at)
        at.advance(at._now + seconds)
    assert seconds <= max(SHUT_MOST_SECONDS, 1.1 * min(stated or 0.0, MOST_SECONDS)) + 1e-6
    assert seconds >= max(0.5, min(stated or 0.0, MOST_SECONDS)) - 1e-6


def test_a_target_never_has_more_open_than_it_may() -> None:
    two = replace(TARGET, max_concurrent_requests=2)
    at = targets()
    at.occupy("a", T)
    assert at.takes(two)
    at.occupy("b", T)
    assert not at.takes(two)
    assert not at.are_shut([T])
    at.vacate("a", T, at._now, trouble=False)
    assert at.takes(two)


def test_a_target_that_was_changed_is_tried_at_once_and_another_stays_shut() -> None:
    other = replace(TARGET, name="other")
    at = Targets(lambda: 0.0)
    at.replace([TARGET, other])
    for name in (T, "other"):
        at.occupy(name, name)
        at.refused(name, Trouble(401))
        at.vacate(name, name, at._now, trouble=True)
    at.replace([replace(TARGET, model="another"), other])
    assert at.takes(TARGET)
    assert not at.takes(other)


def test_a_renewed_credential_is_tried_at_once() -> None:
    at = targets()
    at.has_credential(T, "first")
    fail(at, "a", Trouble(401))
    at.has_credential(T, "first")
    assert not at.takes(TARGET)
    at.has_credential(T, "second")
    assert at.takes(TARGET)


def test_the_end_of_a_request_at_a_target_that_is_gone_is_forgotten() -> None:
    at = targets()
    at.occupy("r", T)
    at.replace([])
    at.vacate("r", T, at._now, trouble=True)
    assert list(at.wakes()) == []
