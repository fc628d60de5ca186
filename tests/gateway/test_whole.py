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
from spillway.routing.facts import Classified, Endpoint, Usage
from spillway.routing.intake import parse
from spillway.routing.outcomes import Place, Reason
from spillway.routing.state import Phase

TARGETS = (TARGET, replace(TARGET, name="other"))
CLASSES = st.sampled_from([DataClass.PUBLIC, DataClass.INTERNAL, DataClass.INTERNAL, DataClass.SENSITIVE])
MAY_LEAVE = st.frozensets(st.sampled_from([DataClass.PUBLIC, DataClass.INTERNAL]))
WHICH = st.integers(0, 1000)
FAULTS = st.lists(st.sampled_from(["none", "none", "lost before", "lost after", "late", "conflict"]), max_size=2)
OUTSIDE = st.sampled_from(
    ["accepted", "connect", "400", "429", "503", "lost", "late", "first", "whole", "usage", "end", "cut", "gone"]
)
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

    @initialize(limit=st.integers(500, 8000))
    def begin(self, limit: int) -> None:
        self.limit = limit
        self.store.create("chat", limit)
        self.gateways = [self.start_gateway(), self.start_gateway()]

    def start_gateway(self) -> Whole:
        self.count += 1
        purse = Purse(holder(f"pod-{self.count}", "process"))
        ledger = Ledger("chat", self.store, purse, lambda: WALL, lambda: self.seconds)
        made = Whole(self.route, f"pod-{self.count}", ledger, lambda: self.seconds)
        return made  # with no replica yet, so that what may leave does

    def one(self, which: int, fits: Callable[[Live], bool]) -> tuple[Whole, Live] | None:
        found = [(gateway, live) for gateway in self.gateways for live in gateway.live.values() if fits(live)]
        return found[which % len(found)] if found else None

    @rule(which=WHICH, data_class=CLASSES, stream=st.booleans(), words=st.integers(1, 300), tokens=st.integers(1, 90))
    def arrive(self, which: int, data_class: DataClass, stream: bool, words: int, tokens: int) -> None:
        self.count += 1
        gateway, name = self.gateways[which % 2], f"r{self.count}"
        body = chat("x" * words, stream=stream, max_tokens=tokens)
        intake, classified = parse(Endpoint.CHAT, body), Classified(data_class, "label")
        request = admit(name, intake, classified, gateway.route, lambda _: True)
        gateway.arrive(Facts(request, gateway.route, intake, classified, body, self.seconds))

    @rule(which=WHICH, kind=OUTSIDE, share=st.integers(0, 100))
    def outside(self, which: int, kind: str, share: int) -> None:
        found = self.one(which, lambda live: event_for(live, kind) is not None)
        if found is None:
            return
        gateway, live = found
        event = event_for(live, kind)
        assert event is not None
        self.bill(live, event, share)
        live.left |= kind == "gone"
        gateway.feed(live, event)

    def bill(self, live: Live, event: m.Event, share: int) -> None:
        """What the cloud charges is settled when the attempt ends for it: at most what was set aside."""
        if live.at is None or live.at[0] is not Place.CLOUD or live.state.key not in live.reserved:
            return
        most = live.reserved[live.state.key]
        match event:
            case m.UsageReported() | m.Accepted() | m.FirstToken() | m.ConnectFailed() | m.UpstreamRefused():
                return
            case m.BodyComplete():
                return  # charged at its end
            case _:
                self.billed += 3 if live.state.usage == USAGE else most * share // 100

    @rule(which=WHICH, faults=FAULTS, away=st.booleans(), often=st.booleans())
    def money_answers(self, which: int, faults: list[str], away: bool, often: bool) -> None:
        self.store.reachable, self.store.faults = not (away and often), faults
        found = self.one(which, lambda live: live.reserving is not None)
        if found is None:
            return
        gateway, live = found
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

    @rule(which=WHICH, faults=FAULTS, away=st.booleans())
    def exchange(self, which: int, faults: list[str], away: bool) -> None:
        self.store.reachable, self.store.faults = not away, faults
        with contextlib.suppress(LedgerUnreachable):
            self.loop.run_until_complete(self.gateways[which % 2].ledger.exchange())

    @rule(
        may_leave=MAY_LEAVE,
        places=st.sets(st.integers(0, 1)),
        is_shadow=st.booleans(),
        which=st.sampled_from([1, 2, 3]),
    )
    def configure(self, may_leave: frozenset[DataClass], places: set[int], is_shadow: bool, which: int) -> None:
        """The object changes, and one gateway or both hear of it."""
        chosen = tuple(TARGETS[place] for place in sorted(places))
        self.route = replace(self.route, may_leave=may_leave, targets=chosen, is_shadow=is_shadow)
        for place, gateway in enumerate(self.gateways):
            if which & (1 << place):
                gateway.route = self.route

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
                    self.bill(live, m.ClientGone(), 100)
                    gateway.feed(live, m.ClientGone())
            while self.one(0, lambda live: live.reserving is not None):
                self.money_answers(0, [], away=False, often=False)
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
"""Of what a cloud says that it counted: 3 micro-dollars at the price of `TARGET`, rounded up."""


def event_for(live: Live, kind: str) -> m.Event | None:
    """The event that the outside may bring about in this state; None when it cannot."""
    n, phase = live.state.attempt, live.phase
    if kind == "gone":
        return None if live.left or live.record is not None else m.ClientGone()
    if phase in {Phase.DISPATCHING, Phase.AWAITING_FIRST_TOKEN}:
        early: dict[str, m.Event] = {"connect": m.ConnectFailed(n), "accepted": m.Accepted(n)}
        late: dict[str, m.Event] = {
            "400": m.UpstreamRefused(n, 400),
            "429": m.UpstreamRefused(n, 429),
            "503": m.UpstreamRefused(n, 503),
            "lost": m.UpstreamLost(n),
            "late": m.TimerFired(n),
            "first": m.FirstToken(n),
            "whole": m.BodyComplete(n, USAGE),
        }
        return (early | late if phase is Phase.DISPATCHING else late).get(kind)
    if phase is Phase.RELAYING:
        said = None if live.state.usage else m.UsageReported(n, USAGE)
        relayed: dict[str, m.Event | None] = {
            "usage": said,
            "end": m.StreamEnded(n, complete=True),
            "cut": m.StreamEnded(n, complete=False),
            "lost": m.UpstreamLost(n),
        }
        return relayed.get(kind)
    return None


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
