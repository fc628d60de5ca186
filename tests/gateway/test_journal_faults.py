"""One gateway that crashes at any point, with its journal: what it owed is settled exactly once, and never too little.

A crash during a write leaves a part of it on the disk. Whether what was being written then counts is open until it is
read again, so the truth is a range; apart from that, spent has to be the sum of what was settled, to the micro-dollar.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.rig import FaultyStore
from spillway.errors import BudgetExhausted, LedgerUnreachable
from spillway.gateway.journal import FILE_NAME, Journal
from spillway.gateway.ledger import Ledger

LIMIT = 50_000
MEMORY = Path("/dev/shm")
"""What counts here is the order of writes, not that a platter turns."""
START = datetime(2026, 11, 3, tzinfo=UTC)


class CrashingMoney(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp(prefix="journal-", dir=MEMORY if MEMORY.is_dir() else None))
        self.store = FaultyStore()
        self.store.create("chat", LIMIT)
        self.seconds = 0.0
        self.room: int | None = None
        self.open: dict[str, int] = {}
        self.least = self.most = 0
        """Bounds of what was spent by requests that ended; those that are open come on top."""
        self.count = 0
        self.begin()

    def begin(self) -> None:
        self.room = None
        self.journal = Journal(self.directory, "pod-a", self.write)
        purse = self.journal.purse("chat/uid")
        now = lambda: START + timedelta(seconds=self.seconds)  # noqa: E731 (a clock)
        self.ledger = Ledger("chat", self.store, purse, now, lambda: self.seconds, self.journal.commit)

    def write(self, file: int, data: bytes) -> int:
        if self.room is None:
            return os.write(file, data)
        part, self.room = data[: self.room], max(0, self.room - len(data))
        if not part:
            raise OSError(28, "No space left on device")
        return os.write(file, part)

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def die(self) -> None:
        self.journal._buffer.clear()  # what was not written is lost
        self.journal.close()
        for micros in self.open.values():
            self.least += micros  # nobody knows what was served of it
            self.most += micros
        self.open = {}
        self.begin()

    async def _reserve(self, key: str, micros: int) -> bool:
        before = self.ledger.open_reservations
        asking = asyncio.create_task(self.ledger.reserve(key, micros))
        await asyncio.sleep(0)
        if self.ledger.open_reservations == before:
            with contextlib.suppress(LedgerUnreachable):
                await self.ledger.exchange()
        try:
            await asking
        except (BudgetExhausted, LedgerUnreachable):
            return False
        return True

    @rule(micros=st.integers(1, 4000))
    def reserve(self, micros: int) -> None:
        self.count += 1
        if self.run(self._reserve(str(self.count), micros)):
            self.open[str(self.count)] = micros

    @rule(micros=st.integers(1, 4000), room=st.integers(0, 200))
    def crash_while_reserving(self, micros: int, room: int) -> None:
        self.count += 1
        self.room = room
        if self.run(self._reserve(str(self.count), micros)):
            self.open[str(self.count)] = micros
        else:
            self.most += micros
        self.die()

    @precondition(lambda self: self.open)
    @rule(share=st.integers(0, 100))
    def settle(self, share: int) -> None:
        key, micros = self.open.popitem()
        self.run(self.ledger.settle(key, micros * share // 100))
        self.least += micros * share // 100
        self.most += micros * share // 100

    @precondition(lambda self: self.open)
    @rule(share=st.integers(0, 100), room=st.integers(0, 100))
    def crash_while_settling(self, share: int, room: int) -> None:
        key, micros = self.open.popitem()
        self.room = room
        self.run(self.ledger.settle(key, micros * share // 100))
        self.least += micros * share // 100
        self.most += micros
        self.die()

    @precondition(lambda self: self.open)
    @rule()
    def release(self) -> None:
        key, _ = self.open.popitem()
        self.run(self.ledger.release(key))

    @rule(
        faults=st.lists(
            st.sampled_from(["none", "lost before", "lost after", "late", "conflict", "sent again"]), max_size=2
        )
    )
    def exchange(self, faults: list[str]) -> None:
        self.store.faults = faults
        with contextlib.suppress(LedgerUnreachable):
            self.run(self.ledger.exchange())
        self.store.faults = []

    @rule(room=st.integers(0, 200), fault=st.sampled_from(["none", "lost after", "late"]))
    def crash_during_an_exchange(self, room: int, fault: str) -> None:
        self.room, self.store.faults = room, [fault]
        with contextlib.suppress(LedgerUnreachable):
            self.run(self.ledger.exchange())
        self.store.faults = []
        self.die()

    @rule()
    def a_late_write_arrives(self) -> None:
        if self.store.late:
            self.run(self.store.deliver())

    @rule()
    def crash(self) -> None:
        self.die()

    @rule()
    def the_pod_is_lost(self) -> None:
        account = self.store.account()
        self.journal.close()
        (self.directory / FILE_NAME).unlink(missing_ok=True)
        self.open = {}
        self.begin()
        self.run(self._reserve("after", 1))
        self.least = self.most = account.spent_micros + account.leased_micros
        if "after" in self.journal.purse("chat/uid"):
            self.open["after"] = 1

    @rule(seconds=st.sampled_from([1.0, 31.0, 301.0]))
    def time_passes(self, seconds: float) -> None:
        self.seconds += seconds

    @rule()
    def all_is_told(self) -> None:
        """With no fault left, the object says what was spent, and its lease covers what is open."""
        self.seconds += 31  # so that an idle lease is given back
        self.run(self.ledger.exchange())
        account = self.store.account()
        assert self.least <= account.spent_micros <= self.most
        self.least = self.most = account.spent_micros
        assert account.leased_micros >= sum(self.open.values())

    @invariant()
    def spent_and_leased_cover_the_truth_within_the_limit(self) -> None:
        account = self.store.account()
        held = account.spent_micros + account.leased_micros
        assert self.least + sum(self.open.values()) <= held <= LIMIT

    def teardown(self) -> None:
        self.all_is_told()
        self.journal.close()
        self.loop.close()
        shutil.rmtree(self.directory)


TestCrashingMoney = CrashingMoney.TestCase
TestCrashingMoney.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
