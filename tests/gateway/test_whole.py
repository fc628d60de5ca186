"""Machine, pool and ledger together, under requests, faults, crashes and changes: the invariants as one property.

What a cloud bills is counted beside them, by a plain sum. `Whole` asserts of each command what must hold then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.rig import FaultyStore
from gateway.whole import Live, Whole
from routing_values import TARGET, chat, route
from spillway.api.v1alpha1 import DataClass
from spillway.errors import BudgetExhausted, LedgerUnreachable
from spillway.gateway.account import holder
from spillway.gateway.admission import Facts, admit
from spillway.gateway.ledger import Ledger
from spillway.gateway.purse import Purse
from spillway.routing import messages as m
from spillway.routing.facts import Classified, Endpoint, Target, Usage
from spillway.routing.intake import parse
from spillway.routing.outcomes import Reason
from spillway.routing.state import Phase

TARGETS = (TARGET, replace(TARGET, name="other"))
CLASSES = st.sampled_from([DataClass.PUBLIC, DataClass.INTERNAL, DataClass.INTERNAL, DataClass.SENSITIVE])
ALL = frozenset({DataClass.PUBLIC, DataClass.INTERNAL})
CONFIGURED = st.sampled_from(
    [
        *[(ALL, TARGETS, False)] * 4,
        *((ALL, TARGETS[:1], False), (ALL, TARGETS[1:], False), (ALL, (), False), (ALL, TARGETS, True)),
        *((frozenset({DataClass.PUBLIC}), TARGETS, False), (frozenset[DataClass](), TARGETS, False)),
    ]
)
WHICH = st.integers(0, 1000)
FAULTS = st.lists(st.sampled_from(["none", "none", "lost before", "lost after", "late", "conflict"]), max_size=2)
OUTAGES = st.sampled_from([False, False, False, True])
WALL = datetime(2026, 1, 10, tzinfo=UTC)


class Together(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = FaultyStore()
        self.seconds = 0.0
        self.count = 0
        self.billed = 0
        self.route = route(targets=TARGETS, max_held=5, max_wait_seconds=10.0)
        self.gateways: list[Whole] = []
        self.done: list[Live] = []

    @initialize(limit=st.sampled_from([2_000, 10_000, 40_000]))
    def begin(self, limit: int) -> None:
        self.limit = limit
        self.store.create("chat", limit)
        self.gateways = [self.start_gateway(), self.start_gateway()]

    def start_gateway(self) -> Whole:
        self.count += 1
        purse = Purse(holder(f"pod-{self.count}", "process"))
        ledger = Ledger("chat", self.store, purse, lambda: WALL, lambda: self.seconds)
        # with no replica yet, so that what may leave does
        return Whole(self.route, f"pod-{self.count}", ledger, lambda: self.seconds)

    def one(self, which: int, fits: Callable[[Live], bool]) -> tuple[Whole, Live] | None:
        found = [(gateway, live) for gateway in self.gateways for live in gateway.live.values() if fits(live)]
        return found[which % len(found)] if found else None

    @rule(arrivals=st.lists(st.tuples(WHICH, CLASSES, st.booleans(), st.integers(1, 90)), min_size=1, max_size=4))
    def arrive(self, arrivals: list[tuple[int, DataClass, bool, int]]) -> None:
        for which, data_class, stream, tokens in arrivals:
            self.count += 1
            gateway, name = self.gateways[which % 2], f"r{self.count}"
            body = chat("hello there", stream=stream, max_tokens=tokens)
            intake, classified = parse(Endpoint.CHAT, body), Classified(data_class, "label")
            request = admit(name, intake, classified, gateway.route, lambda _: True)
            gateway.arrive(Facts(request, gateway.route, intake, classified, body, self.seconds))

    @rule(moves=st.lists(st.tuples(WHICH, WHICH, st.integers(0, 100)), min_size=1, max_size=6))
    def outside(self, moves: list[tuple[int, int, int]]) -> None:
        """Whatever may happen to requests in their state, one after the other."""
        for which, event, share in moves:
            found = self.one(which, lambda live: bool(possible(live)))
            if found is not None:
                gateway, live = found
                events = possible(live)
                self.happens(gateway, live, events[event % len(events)], share)

    def happens(self, gateway: Whole, live: Live, event: m.Event, share: int) -> None:
        """Tell the machine; what the cloud charges is settled when the attempt ends for it."""
        ends = not isinstance(
            event, m.UsageReported | m.Accepted | m.FirstToken | m.BodyComplete | m.ConnectFailed | m.UpstreamRefused
        )
        most = live.reserved.get(live.state.key)
        if ends and most is not None:
            live.billed[live.state.key] = USAGE_MICROS if live.state.usage == USAGE else most * share // 100
            self.billed += live.billed[live.state.key]
        live.left |= isinstance(event, m.ClientGone)
        gateway.feed(live, event)

    @rule(which=WHICH, faults=FAULTS, away=OUTAGES, many=st.integers(1, 4))
    def money_answers(self, which: int, faults: list[str], away: bool, many: int) -> None:
        self.store.reachable, self.store.faults = not away, faults
        for _ in range(many):
            found = self.one(which, lambda live: live.reserving is not None)
            if found is not None:
                self.answer(*found)

    def answer(self, gateway: Whole, live: Live) -> None:
        command, live.reserving = live.reserving, None
        assert command is not None
        try:
            self.loop.run_until_complete(reserve(gateway.ledger, command))
        except (BudgetExhausted, LedgerUnreachable) as refusal:
            short = isinstance(refusal, BudgetExhausted)
            reason = Reason.BUDGET_EXHAUSTED if short else Reason.LEDGER_UNAVAILABLE
            gateway.feed(live, m.ReserveRefused(command.attempt, reason))
            return
        live.reserved[command.key] = command.micros
        gateway.feed(live, m.Reserved(command.attempt))

    @rule(which=WHICH)
    def money_is_settled(self, which: int) -> None:
        found = self.one(which, lambda live: bool(live.settled))
        if found is None:
            return
        gateway, live = found
        key, micros = live.settled.pop(0)
        if micros < 0:
            self.loop.run_until_complete(gateway.ledger.release(key))
            return
        self.loop.run_until_complete(gateway.ledger.settle(key, micros))
        gateway.feed(live, m.Settled(int(key.rpartition(":")[2])))

    @rule(which=WHICH, faults=FAULTS, away=OUTAGES)
    def exchange(self, which: int, faults: list[str], away: bool) -> None:
        self.store.reachable, self.store.faults = not away, faults
        with contextlib.suppress(LedgerUnreachable):
            self.loop.run_until_complete(self.gateways[which % 2].ledger.exchange())

    @rule(configured=CONFIGURED, which=st.sampled_from([1, 2, 3]))
    def configure(self, configured: tuple[frozenset[DataClass], tuple[Target, ...], bool], which: int) -> None:
        """The object changes, and one gateway or both hear of it."""
        may_leave, targets, is_shadow = configured
        self.route = replace(self.route, may_leave=may_leave, targets=targets, is_shadow=is_shadow)
        for place, gateway in enumerate(self.gateways):
            if which & (1 << place):
                gateway.route = self.route

    @rule(which=WHICH, configured=CONFIGURED)
    def change_while_money_is_reserved(
        self, which: int, configured: tuple[frozenset[DataClass], tuple[Target, ...], bool]
    ) -> None:
        self.arrive([(which, DataClass.INTERNAL, True, 9)])
        self.configure(configured, 3)
        self.money_answers(which, [], away=False, many=2)

    @rule(which=WHICH, names=st.frozensets(st.sampled_from("abc")), loading=st.integers(0, 1))
    def replicas_change(self, which: int, names: frozenset[str], loading: int) -> None:
        gateway = self.gateways[which % 2]
        gateway.pool.fleet.set_replicas(names, loading)
        gateway.pump()

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 3.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.seconds += seconds
        for gateway in self.gateways:
            gateway.pool.targets.advance(self.seconds)
            gateway.pump()

    @rule(which=WHICH)
    def crash(self, which: int) -> None:
        """Its open requests may be served to their end; nobody has its journal."""
        gateway = self.gateways[which % 2]
        self.billed += sum(gateway.forget_money().values())
        self.gateways[which % 2] = self.start_gateway()

    @invariant()
    def nothing_is_lost_or_held_twice(self) -> None:
        for gateway in self.gateways:
            gateway.check()
            for name in [name for name, live in gateway.live.items() if live.record is not None and not live.settled]:
                self.done.append(gateway.live.pop(name))

    @invariant()
    def the_bill_is_within_the_limit(self) -> None:
        reserved = sum(sum(gateway.forget_money().values()) for gateway in self.gateways)
        assert self.billed + reserved <= getattr(self, "limit", 0)

    def teardown(self) -> None:
        """All callers leave: each request has its record, each slot is free, each reservation resolved."""
        self.store.reachable, self.store.faults = True, []
        for gateway in self.gateways:
            for live in list(gateway.live.values()):
                if live.record is None and not live.left:
                    self.happens(gateway, live, m.ClientGone(), 100)
            while self.one(0, lambda live: live.reserving is not None):
                self.money_answers(0, [], away=False, many=9)
            while self.one(0, lambda live: bool(live.settled)):
                self.money_is_settled(0)
        self.nothing_is_lost_or_held_twice()
        self.the_bill_is_within_the_limit()
        for gateway in self.gateways:
            assert not gateway.live
            assert not +gateway.slots
            assert gateway.ledger.open_reservations == 0
        assert all(live.record is not None for live in self.done)
        self.loop.close()


USAGE = Usage(1, 0)
"""What a cloud says that it counted, and what that costs at the price of `TARGET`, rounded up."""


USAGE_MICROS = 3


def possible(live: Live) -> list[m.Event]:
    """What the outside may bring about in this state."""
    n, phase = live.state.attempt, live.phase
    events: list[m.Event] = []
    if phase is Phase.DISPATCHING:
        events += [m.Accepted(n), m.ConnectFailed(n)]
    if phase in {Phase.DISPATCHING, Phase.AWAITING_FIRST_TOKEN}:
        events += [*(m.UpstreamRefused(n, status) for status in (400, 429, 503)), m.UpstreamLost(n), m.TimerFired(n)]
        events += [m.FirstToken(n), m.BodyComplete(n, USAGE)]
    elif phase is Phase.RELAYING:
        events += [] if live.state.usage else [m.UsageReported(n, USAGE)]
        events += [m.StreamEnded(n, complete=True), m.StreamEnded(n, complete=False), m.UpstreamLost(n)]
    return events if live.left or live.record is not None else [*events, m.ClientGone()]


async def reserve(ledger: Ledger, command: m.Reserve) -> None:
    """As a session does, with the exchange that its ledger would make by and by."""
    if not ledger.reachable:
        with contextlib.suppress(LedgerUnreachable):
            await ledger.exchange()
    asking = asyncio.ensure_future(ledger.reserve(command.key, command.micros))
    await asyncio.sleep(0)
    if not asking.done():
        with contextlib.suppress(LedgerUnreachable):
            await ledger.exchange()
    await asking


Together.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestTogether = Together.TestCase
