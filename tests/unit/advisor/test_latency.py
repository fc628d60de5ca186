"""How long requests take and wait."""

from __future__ import annotations

import random
from heapq import heapreplace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spillway.advisor.latency import cloud_promise, local_promise, place, places
from spillway.advisor.queueing import Waiting


@pytest.mark.parametrize(
    ("name", "first", "last"), [("cloud-api", 250, 4250), ("local-gpu", 50, 2550), ("local-cpu", 200, 20_200)]
)
def test_the_three_published_places(name: str, first: float, last: float):
    assert place(name).to_first_token() == first
    assert place(name).to_last_token(200) == last
    assert len(places()) == 3


@pytest.mark.parametrize(
    ("places_", "offered", "share"),
    # M/M/1: the share that waits is the load; the others from tables of Erlang's C
    [(1, 0.5, 0.5), (1, 0.9, 0.9), (2, 1.0, 1 / 3), (10, 8.0, 0.409), (100, 80.0, 0.0196)],
)
def test_the_share_that_waits_is_erlangs(places_: int, offered: float, share: float):
    assert Waiting(offered, 1.0, places_).share_that_waits == pytest.approx(share, rel=0.01)


@pytest.mark.parametrize("offered", [9_500.0, 9_900.0, 9_980.0])
def test_beyond_ten_thousand_places_a_limit_takes_over_that_is_close(monkeypatch: pytest.MonkeyPatch, offered: float):
    waiting = Waiting(offered, 1.0, 10_000)
    exact = waiting.share_that_waits
    monkeypatch.setattr("spillway.advisor.queueing._EXACT_PLACES", 9_999)
    assert waiting.share_that_waits != exact
    assert waiting.share_that_waits == pytest.approx(exact, abs=0.002)


def test_absurdly_many_places_are_counted_at_once():
    assert Waiting(1e12, 1.0, 2 * 10**12).share_that_waits == 0


def test_waits_are_those_of_a_simulated_queue():
    rng, waiting = random.Random(1), Waiting(arrivals_per_second=2.8, service_seconds=2.5, places=10)
    free, now, waits = [0.0] * waiting.places, 0.0, []
    for _ in range(100_000):
        now += rng.expovariate(waiting.arrivals_per_second)
        begins = max(now, free[0])
        waits.append(begins - now)
        heapreplace(free, begins + rng.expovariate(1 / waiting.service_seconds))
    assert sum(wait > 0 for wait in waits) / len(waits) == pytest.approx(waiting.share_that_waits, rel=0.05)
    assert sorted(waits)[int(0.95 * len(waits))] == pytest.approx(waiting.percentile_seconds(95), rel=0.1)


@given(st.floats(0.01, 50), st.floats(0.01, 100), st.integers(1, 300), st.floats(1, 99.9))
def test_the_percentile_and_the_share_within_it_agree(arrivals: float, seconds: float, places_: int, percent: float):
    waiting = Waiting(arrivals, seconds, places_)
    at = waiting.percentile_seconds(percent)
    if not waiting.stable:
        assert (at, waiting.share_within(1e9)) == (inf, 0)
    elif at == 0:
        assert waiting.share_within(0) >= percent / 100 - 1e-9
    else:
        assert waiting.share_within(at) == pytest.approx(percent / 100)


def test_under_200_ms_has_an_answer_with_a_percentile():
    cloud = cloud_promise(first_token_milliseconds=50, limit_milliseconds=200, percentile=95)
    # the round trip is even over 50-150 and the queue over 0-500 ms: 100 x 100 / 2 of 100 x 500
    assert cloud.share_in_time == pytest.approx(0.1)
    assert not cloud.kept
    idle = local_promise(50, Waiting(0.1, 1.0, 16), 200, 95)
    assert idle.kept
    assert idle.percentile_milliseconds == pytest.approx(60)
    busy = local_promise(50, Waiting(15.5, 1.0, 16), 200, 95)
    assert not busy.kept
    assert 0 < busy.share_in_time < 0.95 < 1
    assert busy.percentile_milliseconds > 200


def test_a_cloud_whose_first_token_alone_takes_200_ms_never_answers_within_them():
    assert cloud_promise(200, 200, 95).share_in_time == 0
    assert cloud_promise(200, 850, 99).share_in_time == pytest.approx(1)


def test_more_load_than_places_is_never_in_time():
    promise = local_promise(50, Waiting(20, 1.0, 16), 200, 95)
    assert (promise.share_in_time, promise.percentile_milliseconds) == (0, inf)
