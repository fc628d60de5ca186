"""One lease, step by step: what a gateway may spend, what it reports, what it gives back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rig import FaultyStore, MemoryStore, eventually
from spillway.api.v1alpha1 import BudgetWindow, FallbackState, ObservedGateway
from spillway.errors import AlreadyReserved, BudgetExhausted, LedgerUnreachable, NotReserved
from spillway.gateway.account import Account, Lease, advance, exchange, window_bounds
from spillway.gateway.ledger import Ledger
from spillway.gateway.purse import Purse

START = datetime(2026, 11, 21, 13, tzinfo=UTC)


class Clock:
    """Wall and monotonic time that pass only when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> FaultyStore:
    store = FaultyStore()
    store.create("chat", 100_000)
    return store


def ledger_of(store: MemoryStore, clock: Clock, identity: str = "pod-a:1") -> Ledger:
    return Ledger("chat", store, Purse(identity), clock.now, clock.monotonic)


async def reserved(ledger: Ledger, key: str, micros: int) -> None:
    """Reserve, with the exchange that `run` would make."""
    asking = asyncio.create_task(ledger.reserve(key, micros))
    await asyncio.sleep(0)
    if not asking.done():
        await ledger.exchange()
    await asking


async def test_what_is_settled_moves_from_the_lease_to_spent(store: FaultyStore, clock: Clock) -> None:
    ledger = ledger_of(store, clock)
    await reserved(ledger, "a", 1000)
    held = store.account().leased_micros
    assert held >= 1000

    await ledger.settle("a", 400)
    await ledger.exchange()

    account = store.account()
    assert account.spent_micros == 400
    assert ledger.spent_total_micros == 400
    assert ledger.free_micros == account.leased_micros


async def test_a_reservation_is_resolved_once(store: FaultyStore, clock: Clock) -> None:
    ledger = ledger_of(store, clock)
    await reserved(ledger, "a", 1000)
    with pytest.raises(AlreadyReserved):
        await ledger.reserve("a", 1000)
    await ledger.settle("a", 400)
    with pytest.raises(NotReserved):
        await ledger.settle("a", 400)
    with pytest.raises(NotReserved):
        await ledger.release("a")
    await reserved(ledger, "b", 1000)
    await ledger.release("b")
    with pytest.raises(NotReserved):
        await ledger.settle("b", 1)


async def test_within_the_lease_nothing_is_asked_of_the_api_server(store: FaultyStore, clock: Clock) -> None:
    ledger = ledger_of(store, clock)
    await reserved(ledger, "a", 1000)
    writes = store.writes

    await asyncio.wait_for(ledger.reserve("b", 1000), 1)

    assert store.writes == writes


async def test_near_the_limit_leases_shrink_and_others_get_their_part(store: FaultyStore, clock: Clock) -> None:
    ledger = ledger_of(store, clock)
    await reserved(ledger, "a", 40_000)

    assert store.account().leased_micros <= 100_000 * 0.6  # not four times the largest reservation


async def test_what_does_not_fit_is_refused_and_the_rest_of_the_queue_served(store: FaultyStore, clock: Clock) -> None:
    ledger = ledger_of(store, clock)
    asking = [asyncio.create_task(ledger.reserve(key, micros)) for key, micros in (("a", 60_000), ("b", 60_000))]
    await asyncio.sleep(0)
    await ledger.exchange()

    first, second = await asyncio.gather(*asking, return_exceptions=True)

    assert first is None
    assert isinstance(second, BudgetExhausted)


async def test_an_idle_lease_is_given_back(store: FaultyStore, clock: Clock) -> None:
    ledger = ledger_of(store, clock)
    await reserved(ledger, "a", 1000)
    await ledger.settle("a", 1000)
    clock.seconds = 31

    await ledger.exchange()

    assert (store.account().leased_micros, store.account().spent_micros) == (0, 1000)


async def test_what_is_being_given_back_cannot_be_spent_meanwhile(store: FaultyStore, clock: Clock) -> None:
    ledger = ledger_of(store, clock)
    await reserved(ledger, "a", 1000)
    await ledger.settle("a", 1000)
    await ledger.exchange()
    clock.seconds = 31
    store.gate = asyncio.Event()
    giving = asyncio.create_task(ledger.exchange())
    await asyncio.sleep(0)

    asking = asyncio.create_task(ledger.reserve("b", 1000))
    await asyncio.sleep(0)
    assert ledger.free_micros == 0
    assert not asking.done()
    store.gate.set()
    await giving
    assert ledger.free_micros >= 0
    await ledger.exchange()
    await asking
    assert store.account().leased_micros >= 1000


@pytest.mark.parametrize("fault", ["lost before", "lost after", "late"])
async def test_after_a_lost_reply_the_object_tells_what_became_of_the_write(
    fault: str, store: FaultyStore, clock: Clock
) -> None:
    ledger = ledger_of(store, clock)
    await reserved(ledger, "a", 1000)
    await ledger.settle("a", 400)
    store.faults = [fault]
    with pytest.raises(LedgerUnreachable):
        await ledger.exchange()
    with pytest.raises(LedgerUnreachable):
        await ledger.reserve("b", 1)  # nothing leaves while it is not known

    clock.seconds = 2
    await ledger.exchange()
    if store.late:
        await store.deliver()
    await ledger.exchange()

    assert store.account().spent_micros == 400
    assert ledger.free_micros == store.account().leased_micros


async def test_a_write_that_was_sent_again_and_met_itself_counts_once(store: FaultyStore, clock: Clock) -> None:
    ledger = ledger_of(store, clock)
    await reserved(ledger, "a", 1000)
    await reserved(ledger, "b", 1000)
    await ledger.settle("a", 400)
    store.faults = ["sent again"]
    await ledger.exchange()
    await ledger.settle("b", 500)
    await ledger.exchange()

    assert store.account().spent_micros == 900
    assert ledger.free_micros == store.account().leased_micros > 0


async def test_what_was_spent_before_the_limit_was_lowered_is_owed_when_it_rises_again(
    store: FaultyStore, clock: Clock
) -> None:
    ledger = ledger_of(store, clock)
    await reserved(ledger, "a", 40_000)
    await ledger.settle("a", 40_000)
    await ledger.exchange()
    await reserved(ledger, "b", 30_000)
    for limit in (50_000, 100_000):
        version, account = store.accounts["chat"]
        store.accounts["chat"] = (version + 1, replace(account, limit_micros=limit))
        if limit == 50_000:
            await ledger.settle("b", 30_000)
            await ledger.exchange()
            assert store.account().spent_micros == 70_000

    with pytest.raises(BudgetExhausted):
        await reserved(ledger, "c", 40_000)


async def test_a_ledger_that_retires_leaves_an_object_made_anew_to_its_successor(
    store: FaultyStore, clock: Clock
) -> None:
    old, new = ledger_of(store, clock), ledger_of(store, clock)
    await reserved(old, "streams on", 1000)
    store.accounts["chat"] = (100, Account(100_000, BudgetWindow.MONTH))
    clock.seconds = 1
    new.observe(ObservedGateway(name="pod-a", state=FallbackState.LOCAL))
    await reserved(new, "a", 1000)
    lease = store.account().leases["pod-a:1"]

    old.retire()
    for _ in range(2):
        await old.exchange()
        if old.open_reservations:
            await old.settle("streams on", 700)

    assert store.account().leases == {"pod-a:1": lease}
    assert store.account().spent_micros == 0
    await new.settle("a", 300)
    await new.exchange()
    assert store.account().spent_micros == 300


async def test_what_is_settled_during_a_write_is_reported_with_the_next(store: FaultyStore, clock: Clock) -> None:
    ledger = ledger_of(store, clock)
    await reserved(ledger, "a", 1000)
    await reserved(ledger, "b", 1000)
    await ledger.settle("a", 300)
    store.gate = asyncio.Event()
    writing = asyncio.create_task(ledger.exchange())
    await asyncio.sleep(0)
    await ledger.settle("b", 500)
    store.gate.set()
    await writing

    assert store.account().spent_micros == 300
    await ledger.exchange()
    assert store.account().spent_micros == 800


async def test_what_others_leased_is_not_there_to_lease(store: FaultyStore, clock: Clock) -> None:
    await reserved(ledger_of(store, clock, "pod-b:1"), "x", 60_000)
    ledger = ledger_of(store, clock)

    with pytest.raises(BudgetExhausted):
        await reserved(ledger, "a", 60_000)
    await reserved(ledger, "b", 10_000)


@pytest.mark.parametrize("noticed", ["before it settled", "after it settled"])
async def test_a_lease_that_others_took_for_spent_is_not_charged_again(
    noticed: str, store: FaultyStore, clock: Clock
) -> None:
    ledger, other = ledger_of(store, clock), ledger_of(store, clock, "pod-b:1")
    await reserved(ledger, "a", 1000)
    lease = store.account().leased_micros
    clock.seconds = 7200
    await reserved(other, "x", 10)
    assert store.account().spent_micros == lease

    if noticed == "before it settled":
        await ledger.exchange()
    await ledger.settle("a", 1000)
    await ledger.exchange()
    await ledger.exchange()

    assert store.account().spent_micros == lease
    await reserved(ledger, "b", 500)
    await ledger.settle("b", 500)
    await ledger.exchange()
    assert store.account().spent_micros == lease + 500


async def test_an_old_lease_buys_nothing_until_it_is_renewed(store: FaultyStore, clock: Clock) -> None:
    ledger = ledger_of(store, clock)
    await reserved(ledger, "a", 1000)
    clock.seconds = 601
    asking = asyncio.create_task(ledger.reserve("b", 1))
    await asyncio.sleep(0)

    assert not asking.done()
    await ledger.exchange()
    await asking


async def test_a_restarted_container_takes_its_predecessors_lease_for_spent(store: FaultyStore, clock: Clock) -> None:
    await reserved(ledger_of(store, clock, "pod-a:first"), "a", 1000)
    lease = store.account().leased_micros

    await reserved(ledger_of(store, clock, "pod-a:second"), "b", 10)

    assert store.account().spent_micros == lease
    assert set(store.account().leases) == {"pod-a:second"}


async def test_the_loop_writes_at_most_once_a_second_and_only_when_there_is_something_to_say(
    store: FaultyStore,
) -> None:
    loop = asyncio.get_running_loop()
    ledger = Ledger("chat", store, Purse("pod-a:1"), lambda: datetime.now(UTC), loop.time)
    began = loop.time()
    running = asyncio.create_task(ledger.run())
    for number in range(30):
        await ledger.reserve(str(number), 10)
        await ledger.settle(str(number), 10)
        await asyncio.sleep(0.05)
    await eventually(lambda: store.account().spent_micros == 300, "all is reported")
    assert store.writes <= 2 + (loop.time() - began)
    quiet = store.writes
    await asyncio.sleep(1.2)
    running.cancel()

    assert store.writes == quiet


@pytest.mark.parametrize("steps", range(5))
async def test_the_loop_ends_when_it_is_cancelled_in_the_moment_that_it_wakes(
    store: FaultyStore, clock: Clock, steps: int
) -> None:
    ledger = ledger_of(store, clock)
    running = asyncio.create_task(ledger.run())
    await asyncio.sleep(0.01)
    ledger.observe(ObservedGateway(name="pod-a", state=FallbackState.LOCAL))
    for _ in range(steps):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running], timeout=1)
    assert running.cancelled()


async def test_what_a_gateway_saw_replaces_its_own_part_and_drops_what_the_dead_saw(
    store: FaultyStore, clock: Clock
) -> None:
    def seen(name: str, share: int) -> ObservedGateway:
        return ObservedGateway(name=name, state=FallbackState.LOCAL, share_percent=share)

    one, two = ledger_of(store, clock, "pod-a:1"), ledger_of(store, clock, "pod-b:1")
    store.accounts["chat"] = (1, replace(store.account(), gateways=(seen("gone", 9),)))
    for ledger, observed in ((one, seen("pod-a", 1)), (two, seen("pod-b", 2)), (one, seen("pod-a", 3))):
        ledger.observe(observed)
        await ledger.exchange()

    shares = {gateway.name: gateway.share_percent for gateway in store.account().gateways}
    assert shares == {"pod-a": 3, "pod-b": 2}
    await one.close()
    assert [gateway.name for gateway in store.account().gateways] == ["pod-b"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "now", "start", "end"),
    [
        (BudgetWindow.DAY, "2026-11-21T13:00", "2026-11-21", "2026-11-22"),
        (BudgetWindow.DAY, "2026-12-31T23:59:59", "2026-12-31", "2027-01-01"),
        (BudgetWindow.MONTH, "2026-11-21T13:00", "2026-11-01", "2026-12-01"),
        (BudgetWindow.MONTH, "2026-12-01T00:00", "2026-12-01", "2027-01-01"),
        (BudgetWindow.MONTH, "2028-02-29T12:00", "2028-02-01", "2028-03-01"),
        (BudgetWindow.MONTH, "2026-01-31T00:00", "2026-01-01", "2026-02-01"),
    ],
)
def test_windows_are_calendar_days_and_months(window: BudgetWindow, now: str, start: str, end: str) -> None:
    assert window_bounds(window, at(now)) == (at(start), at(end))


def account(**changes: object) -> Account:
    values: dict[str, object] = {
        "limit_micros": 1000,
        "window": BudgetWindow.MONTH,
        "window_start": at("2026-11-01"),
        "window_end": at("2026-12-01"),
        "spent_micros": 600,
        "leases": {"pod-b:1": Lease(100, at("2026-11-30T23:59"))},
    }
    return Account(**(values | changes))  # type: ignore[arg-type]


def test_a_new_window_begins_with_nothing_spent_and_the_leases_that_live() -> None:
    rolled = advance(account(), "pod-a:1", at("2026-12-01T00:00"))

    assert (rolled.window_start, rolled.window_end) == (at("2026-12-01"), at("2027-01-01"))
    assert (rolled.spent_micros, rolled.leased_micros, rolled.available_micros) == (0, 100, 900)


def test_a_window_start_never_goes_back_when_days_become_months() -> None:
    daily = account(window=BudgetWindow.MONTH, window_start=at("2026-11-20"), window_end=at("2026-11-21"), leases={})

    rolled = advance(daily, "pod-a:1", at("2026-11-21T13:00"))

    assert (rolled.window_start, rolled.window_end) == (at("2026-11-21"), at("2026-12-01"))


def test_a_lease_that_nobody_renewed_for_an_hour_is_spent() -> None:
    later = advance(account(leases={"pod-b:1": Lease(100, at("2026-11-21T12:00"))}), "pod-a:1", at("2026-11-21T13:01"))

    assert (later.spent_micros, later.leases) == (700, {})


def test_spent_is_cut_at_the_limit_when_an_upstream_billed_more_than_it_could() -> None:
    after = exchange(account(), "pod-a:1", 5000, 0, START)

    assert after.spent_micros == 900
    assert after.available_micros == 0


def test_after_the_limit_was_lowered_the_sum_does_not_rise() -> None:
    lowered = account(limit_micros=500)

    after = exchange(lowered, "pod-a:1", 0, 0, START)

    assert after.spent_micros == 600
    assert after.available_micros == -200


@pytest.mark.parametrize(
    ("zone", "window", "now", "start", "hours"),
    [
        ("Europe/Berlin", BudgetWindow.DAY, "2026-03-29T10:00", "2026-03-28T23:00", 23),
        ("Europe/Berlin", BudgetWindow.DAY, "2026-10-25T00:30", "2026-10-24T22:00", 25),
        ("Europe/Berlin", BudgetWindow.DAY, "2026-10-25T01:30", "2026-10-24T22:00", 25),  # the hour that comes twice
        ("Europe/Berlin", BudgetWindow.DAY, "2026-10-25T23:00", "2026-10-25T23:00", 24),
        ("Africa/Cairo", BudgetWindow.DAY, "2026-04-24T10:00", "2026-04-23T22:00", 23),  # midnight itself is left out
        ("Asia/Kolkata", BudgetWindow.DAY, "2026-11-21T18:31", "2026-11-21T18:30", 24),
        ("America/New_York", BudgetWindow.MONTH, "2026-03-01T04:59", "2026-02-01T05:00", 28 * 24),
        ("America/New_York", BudgetWindow.MONTH, "2026-03-01T05:00", "2026-03-01T05:00", 31 * 24 - 1),
    ],
)
def test_windows_begin_at_midnight_of_their_time_zone(
    zone: str, window: BudgetWindow, now: str, start: str, hours: int
) -> None:
    begin, end = window_bounds(window, at(now).astimezone(ZoneInfo(zone)))
    assert (begin, end - begin) == (at(start), timedelta(hours=hours))
    fresh = advance(Account(1000, window, ZoneInfo(zone)), "pod-a:1", at(now))
    assert (fresh.window_start, fresh.window_end) == (begin, end)


@settings(deadline=None)  # the first of a zone reads its file
@given(
    st.sampled_from(["Europe/Berlin", "America/Santiago", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.sampled_from(BudgetWindow),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 (made aware below)
)
def test_windows_follow_each_other_without_a_gap(zone: str, window: BudgetWindow, naive: datetime) -> None:
    now = naive.replace(tzinfo=UTC)
    begin, end = window_bounds(window, now.astimezone(ZoneInfo(zone)))
    assert begin <= now < end
    assert window_bounds(window, end.astimezone(ZoneInfo(zone)))[0] == end
    last = end - timedelta(microseconds=1)
    assert window_bounds(window, last.astimezone(ZoneInfo(zone))) == (begin, end)
