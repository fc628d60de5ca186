"""Money under every fault that we can name: whatever is lost, nobody spends past the limit.

The machine below holds several gateways to one object. What a cloud billed is counted beside them, by a plain sum that
knows nothing of leases. What a crashed gateway had reserved counts as billed in full: its requests may have been
served.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from gateway.rig import FaultyStore
from spillway.api.v1alpha1 import BudgetWindow
from spillway.errors import BudgetExhausted, LedgerUnreachable, NotReserved
from spillway.gateway.account import holder, window_bounds
from spillway.gateway.ledger import Ledger
from spillway.gateway.purse import Purse

AMOUNTS = st.lists(st.integers(1, 4000), min_size=1, max_size=4)
FAULTS = st.lists(
    st.sampled_from(["none", "none", "lost before", "lost after", "late", "conflict", "sent again"]), max_size=2
)
OUTAGES = st.sampled_from([False, False, False, True])


@dataclass
class Open:
    gateway: int
    key: str
    micros: int
    window: datetime


class Money(RuleBasedStateMachine):
    gateways = Bundle("gateways")
    reservations = Bundle("reservations")
    settled = Bundle("settled")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = FaultyStore()
        self.wall = datetime(2026, 1, 31, 22, 30, tzinfo=UTC)
        self.seconds = 0.0
        self.ledgers: dict[int, Ledger] = {}
        self.identities: dict[int, str] = {}
        self.open: dict[str, Open] = {}
        self.billed: Counter[datetime] = Counter()
        self.count = 0

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @property
    def window(self) -> datetime:
        return window_bounds(BudgetWindow.MONTH, self.wall)[0]

    @initialize(target=gateways, limit=st.integers(1000, 20_000))
    def create(self, limit: int) -> Any:
        self.limit = limit
        self.store.create("chat", limit)
        return multiple(self.start_gateway(), self.start_gateway())

    def start_gateway(self, pod: str | None = None) -> int:
        self.count += 1
        identity = holder(pod or f"pod-{self.count}", f"process-{self.count}")
        self.ledgers[self.count] = Ledger("chat", self.store, Purse(identity), lambda: self.wall, lambda: self.seconds)
        self.identities[self.count] = identity
        return self.count

    @rule(target=gateways, gateway=consumes(gateways), how=st.sampled_from(["crash", "restart", "end"]))
    def replace_gateway(self, gateway: int, how: str) -> int:
        """A new pod for one that is lost or ended, or the same pod with another process."""
        if how == "end":
            self.run(self.ledgers[gateway].close())
        self.lose(gateway)
        return self.start_gateway(self.identities[gateway].partition(":")[0] if how == "restart" else None)

    def lose(self, gateway: int) -> None:
        del self.ledgers[gateway]
        for entry in [entry for entry in self.open.values() if entry.gateway == gateway]:
            self.billed[entry.window] += entry.micros
            del self.open[entry.key]

    @rule(target=reservations, gateway=gateways, amounts=AMOUNTS, faults=FAULTS, away=OUTAGES)
    def reserve(self, gateway: int, amounts: list[int], faults: list[str], away: bool) -> Any:
        self.store.reachable, self.store.faults = not away, faults
        return multiple(*(key for micros in amounts if (key := self._reserve_one(gateway, micros)) is not None))

    def _next_key(self) -> str:
        self.count += 1
        return f"request-{self.count}"

    def _reserve_one(self, gateway: int, micros: int) -> str | None:
        key = self._next_key()
        try:
            self.run(self._reserve(self.ledgers[gateway], key, micros))
        except (BudgetExhausted, LedgerUnreachable):
            return None
        self.open[key] = Open(gateway, key, micros, self.window)
        return key

    @rule(target=reservations, gateway=gateways, micros=st.integers(1, 4000), faults=FAULTS, away=OUTAGES)
    def reserve_during_an_exchange(self, gateway: int, micros: int, faults: list[str], away: bool) -> Any:
        self.store.reachable, self.store.faults = not away, faults
        ledger = self.ledgers[gateway]

        async def both() -> str | None:
            self.store.gate = asyncio.Event()
            exchange = asyncio.create_task(ledger.exchange())
            for _ in range(3):
                await asyncio.sleep(0)  # it has proposed, and waits for the reply
            key = self._next_key()
            asking = asyncio.create_task(ledger.reserve(key, micros))
            await asyncio.sleep(0)
            self.store.gate.set()
            results = await asyncio.gather(exchange, return_exceptions=True)
            assert all(result is None or isinstance(result, LedgerUnreachable) for result in results)
            with contextlib.suppress(LedgerUnreachable):
                if not asking.done():
                    await ledger.exchange()
            try:
                await asking
            except (BudgetExhausted, LedgerUnreachable):
                return None
            self.open[key] = Open(gateway, key, micros, self.window)
            return key

        key = self.run(both())
        return multiple() if key is None else key

    async def _reserve(self, ledger: Ledger, key: str, micros: int) -> None:
        if not ledger.reachable:
            with contextlib.suppress(LedgerUnreachable):
                await ledger.exchange()
        asking = asyncio.create_task(ledger.reserve(key, micros))
        await asyncio.sleep(0)
        if not asking.done():
            with contextlib.suppress(LedgerUnreachable):
                await ledger.exchange()
        await asking

    @rule(target=settled, key=consumes(reservations), share=st.integers(0, 100))
    def settle(self, key: str, share: int) -> Any:
        entry = self.open.pop(key, None)
        if entry is None:  # lost with its gateway
            return multiple()
        cost = entry.micros * share // 100
        self.billed[entry.window] += cost
        self.run(self.ledgers[entry.gateway].settle(key, cost))
        return (entry.gateway, key)

    @rule(target=settled, key=consumes(reservations))
    def release(self, key: str) -> Any:
        entry = self.open.pop(key, None)
        if entry is None:
            return multiple()
        self.run(self.ledgers[entry.gateway].release(key))
        return (entry.gateway, key)

    @rule(resolved=settled, again=st.sampled_from(["settle", "release"]))
    def resolve_twice(self, resolved: tuple[int, str], again: str) -> None:
        gateway, key = resolved
        if gateway in self.ledgers:
            ledger = self.ledgers[gateway]
            with pytest.raises(NotReserved):
                self.run(ledger.settle(key, 1) if again == "settle" else ledger.release(key))

    @rule(gateway=gateways, faults=FAULTS, away=OUTAGES)
    def exchange(self, gateway: int, faults: list[str], away: bool) -> None:
        self.store.reachable, self.store.faults = not away, faults
        with contextlib.suppress(LedgerUnreachable):
            self.run(self.ledgers[gateway].exchange())

    @rule(share=st.sampled_from([0, 30, 60, 100]))
    def the_limit_is_changed(self, share: int) -> None:
        version, account = self.store.accounts["chat"]
        self.store.accounts["chat"] = (version + 1, replace(account, limit_micros=self.limit * share // 100))

    @rule()
    def a_late_write_arrives(self) -> None:
        if self.store.late:
            self.run(self.store.deliver())

    @rule(seconds=st.sampled_from([1.0, 31.0, 301.0, 601.0, 7200.0, 86400.0]))
    def time_passes(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall += timedelta(seconds=seconds)

    @invariant()
    def nobody_is_billed_past_the_limit(self) -> None:
        at_risk = Counter(self.billed)
        for entry in self.open.values():
            at_risk[entry.window] += entry.micros
        assert all(micros <= self.limit for micros in at_risk.values()), (at_risk, self.limit)

    @invariant()
    def what_is_free_is_never_owed(self) -> None:
        assert all(ledger.free_micros >= 0 for ledger in self.ledgers.values())

    def teardown(self) -> None:
        """Faults stop, time goes on: everything is accounted for, and nothing stays leased."""
        self.store.faults, self.store.reachable = [], True
        for key in list(self.open):
            self.settle(key, 100)
        for ledger in self.ledgers.values():
            self.run(ledger.close())
        if self.ledgers:
            account = self.store.account()
            assert not set(account.leases) & {self.identities[number] for number in self.ledgers}
            if account.window_start == self.window:
                assert account.spent_micros + account.leased_micros >= self.billed[self.window]
        self.loop.close()


Money.TestCase.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestMoney = Money.TestCase
