"""What an engine's metrics say, and what of it was not known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_values import route
from spillway.errors import MalformedShares
from spillway.routing.fleet import STALE_SECONDS
from spillway.routing.hold import Pool
from spillway.routing.replica import NO_LOAD, Load
from spillway.routing.scraped import EngineLoad, parse
from spillway.routing.shares import MOST, MOST_ENTRIES, Shares, Work, decode, encode
from spillway.simulator.engine.batching import Batch, Coefficients
from spillway.simulator.engine.batching import Work as Sequence
from spillway.simulator.engine.metrics import Metrics


def exposition(waiting: int) -> bytes:
    limits = Coefficients(0.02, 1e-4, 1e-4, 0.0, 512, 4, 8000)
    batch = Batch(limits)
    for key in range(4 + waiting):
        batch.submit(Sequence(key, 100, 900))
    batch.begin_step()
    return Metrics("chat", limits, 4000, 0.9).render(batch)


def test_the_load_is_read_under_vllms_names() -> None:
    assert parse(exposition(waiting=12)) == EngineLoad(4, 12, 0.5, 8000)


def test_engines_behind_one_port_are_added_up() -> None:
    two = exposition(3).replace(b'engine="0"', b'engine="1"') + exposition(1)
    assert parse(two) == EngineLoad(8, 4, 0.5, 16_000)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        b"vllm:num_requests_running 1.0\n",
        exposition(1).replace(b"} 1.0\n", b"} 1e12\n"),
        exposition(1).replace(b"} 0.5\n", b"} 7.5\n"),
        exposition(1).replace(b"} 1.0\n", b"} -1.0\n"),
        exposition(1).replace(b"} 1.0\n", b"} 1-e+\n"),
    ],
    ids=["nothing", "a page", "a part", "too many", "over-full", "negative", "no number"],
)
def test_what_cannot_be_is_not_believed(text: bytes) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("seen", "known", "unread", "rest"),
    [
        (EngineLoad(3, 2, 0.1, 10_000), Load(900, 5, 1500), 3, NO_LOAD),
        (EngineLoad(0, 0, 0.0, 10_000), Load(900, 5, 1500), 3, NO_LOAD),
        (EngineLoad(20, 6, 0.9, 10_000), Load(0, 0, 0), 0, Load(6 * 500, 26, 9000)),
        (EngineLoad(4, 6, 0.9, 10_000), Load(700, 8, 8000), 5, Load(500, 2, 1000)),
        (EngineLoad(9, 0, 0.9, None), Load(0, 4, 0), 4, Load(0, 5, 0)),
    ],
    ids=["all is known", "less than is known", "after a restart", "beside others", "no capacity told"],
)
def test_only_what_was_not_known_is_added(seen: EngineLoad, known: Load, unread: int, rest: Load) -> None:
    assert seen.beyond(known, unread, 500.0) == rest


def test_metrics_that_are_stale_count_no_more() -> None:
    pool = Pool(route())
    pool.fleet.set_replicas(frozenset({"a"}), 0)
    pool.fleet.correct("a", EngineLoad(20, 6, 0.9, 10_000), 0.0)
    assert pool.fleet.elsewhere()["a"].requests == 26
    assert not pool.fleet.forget_old(STALE_SECONDS)
    assert pool.fleet.forget_old(STALE_SECONDS + 0.1)
    assert pool.fleet.elsewhere()["a"] == NO_LOAD


def test_with_peers_what_is_unknown_is_believed_when_it_is_seen_twice() -> None:
    pool = Pool(route())
    pool.fleet.set_replicas(frozenset({"a"}), 0)
    pool.fleet.tell("peer", Work({}), 0.0)
    for seconds, seen, believed in ((0, 5, 0), (1, 9, 5), (2, 0, 0), (3, 4, 0)):
        pool.fleet.correct("a", EngineLoad(seen, 0, 0.1, 10_000), float(seconds))
        assert pool.fleet.elsewhere()["a"].requests == believed


COUNTS = st.integers(0, MOST)
LOADS = st.builds(Load, COUNTS, st.integers(1, MOST), COUNTS)
NAMES = st.text(min_size=1, max_size=20)


@given(st.dictionaries(NAMES, st.builds(Work, st.dictionaries(NAMES, LOADS, max_size=5)), max_size=5))
def test_shares_are_told_as_they_are(models: dict[str, Work]) -> None:
    assert decode(encode(Shares("me", models))) == Shares("me", models)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, JSON, JSON)
def test_whatever_a_peer_tells_it_is_taken_whole_or_refused(instance: object, models: object, numbers: object) -> None:
    for document in (
        instance,
        {"version": 1, "instance": instance, "models": models},
        {"version": 1, "instance": "x", "models": {"chat": models}},
        {"version": 1, "instance": "x", "models": {"chat": {"a": numbers}}},
    ):
        try:
            told = decode(document)
        except MalformedShares:
            continue
        for work in told.models.values():
            for load in work.replicas.values():
                assert all(0 <= number <= MOST for number in (load.pending_tokens, load.requests, load.resident_tokens))


def test_a_peer_cannot_tell_more_than_can_be() -> None:
    with pytest.raises(MalformedShares, match="more than"):
        decode({"version": 1, "instance": "x", "models": {str(n): {} for n in range(MOST_ENTRIES + 1)}})
