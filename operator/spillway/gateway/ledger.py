"""Money as one gateway holds it for one LLMDeployment: reserve, settle, release, against a lease from the LLMLedger.

Money moves in memory at once; the object follows at most once a second, by compare-and-swap. Whatever is lost on the
way (a reply, this process, the API server) only ever makes less available: see `account` for the law.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from spillway.api.v1alpha1 import ObservedGateway
from spillway.errors import AlreadyReserved, BudgetExhausted, JournalUnwritable, LedgerConflict, LedgerUnreachable
from spillway.gateway.account import Account, advance, exchange, leave, pod_of, write_off
from spillway.gateway.entries import Attempt
from spillway.gateway.purse import Purse
from spillway.gateway.store import LedgerStore, Snapshot

WRITE_EVERY_SECONDS: Final = 1.0
RETRY_AFTER_SECONDS: Final = 0.5
RETRY_AT_MOST_SECONDS: Final = 8.0
RENEW_EVERY_SECONDS: Final = 300.0
LEASE_VALID_SECONDS: Final = 600.0
"""Nothing new is reserved from a lease not renewed for this long: others may count it as spent after an hour."""
IDLE_SECONDS: Final = 30.0
"""After this long without a reservation the unspent rest goes back."""
RESERVE_WITHIN_SECONDS: Final = 3.0
LARGEST_RESERVATIONS: Final = 4
"""A lease holds this many of the largest reservation, or what is reserved in `AHEAD_SECONDS`, whichever is more."""
AHEAD_SECONDS: Final = 3.0
SHARE_OF_THE_REST: Final = 4
"""Of what is left, a lease takes at most one part in so many beyond what is asked for: near the limit leases shrink."""
CONFLICTS_AT_MOST: Final = 8


@dataclass(slots=True)
class _Waiter:
    key: str
    micros: int
    granted: asyncio.Future[None]


async def _at_once() -> None:
    """The commit of a purse that lives in memory alone."""


class Ledger:
    """The lease of one gateway on one LLMLedger. `now` is the wall clock (aware), `monotonic` counts seconds.

    `commit` returns when all that happened to the purse will be known after a crash, or raises JournalUnwritable.
    """

    def __init__(
        self,
        name: str,
        store: LedgerStore,
        purse: Purse,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        commit: Callable[[], Awaitable[None]] = _at_once,
    ) -> None:
        self.name = name
        self._store = store
        self._now = now
        self._monotonic = monotonic
        self._snapshot: Snapshot | None = None
        self._purse = purse
        self._commit = commit
        self._failures = self._considered = 0
        self._waiters: deque[_Waiter] = deque()
        self._wake = asyncio.Event()
        if purse.in_object or purse.unanswered or purse.settled_micros:
            self._wake.set()  # what a predecessor left is settled now, not at the first request
        self._largest = self._asked_since_write = self._asked_before = 0
        self._last_asked = self._last_written = self._last_tried = -float("inf")
        self._reachable = True
        self._short_until = -float("inf")
        self._observed: ObservedGateway | None = None
        self._closing = False
        self.spent_total_micros = 0
        """What this process settled since it began."""

    @property
    def free_micros(self) -> int:
        """What can be reserved without asking."""
        return self._purse.free_micros

    @property
    def open_reservations(self) -> int:
        """How many reservations are neither settled nor released."""
        return self._purse.open_reservations

    @property
    def is_told(self) -> bool:
        """Whether the object was told, or will be, what this gateway sees."""
        return self._observed is not None

    @property
    def reachable(self) -> bool:
        """Whether the last exchange with the object came about."""
        return self._reachable

    @property
    def exhausted(self) -> bool:
        """Whether a reservation was refused for lack of money within the last second."""
        return self._monotonic() < self._short_until

    async def reserve(self, key: str, micros: int) -> None:
        """Set `micros` aside under `key`: at once when the lease has room, else after the next exchange.

        Raises:
            AlreadyReserved: `key` is in use.
            BudgetExhausted: the window has not that much left.
            LedgerUnreachable: the object cannot be read or written, so nothing may be spent.
        """
        if key in self._purse or any(waiter.key == key for waiter in self._waiters):
            raise AlreadyReserved(key)
        self._last_asked = self._monotonic()
        self._asked_since_write += micros
        self._largest = max(self._largest, micros)
        if not self._reachable or self._closing:
            self._wake.set()
            raise LedgerUnreachable(f"LLMLedger {self.name} was not reachable when it was last tried")
        if not self._waiters and self._fits(micros):
            self._purse.take(key, micros)
            if self.free_micros < self._target() // 2:
                self._wake.set()
            await self._write_ahead(key)
            return
        if self.exhausted and not self._waiters:
            raise BudgetExhausted(f"LLMLedger {self.name} has less than {micros} micro-dollars left")
        waiter = _Waiter(key, micros, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._wake.set()
        await asyncio.wait((waiter.granted,), timeout=RESERVE_WITHIN_SECONDS)  # wait_for may lose what is granted then
        if not waiter.granted.done():
            waiter.granted.cancel()
            raise LedgerUnreachable(f"LLMLedger {self.name} did not answer in time")
        waiter.granted.result()
        await self._write_ahead(key)

    async def settle(self, key: str, micros: int) -> None:
        """Spend `micros` of what was reserved under `key`, and free the rest. In the object within a second or so.

        Raises:
            NotReserved: `key` is not open.
        """
        self._purse.settle(key, micros)
        self.spent_total_micros += micros
        self._wake.set()
        await self._write_down()

    async def release(self, key: str) -> None:
        """Free what was reserved under `key`, of which nothing can have been spent.

        Raises:
            NotReserved: `key` is not open.
        """
        self._purse.release(key)
        await self._write_down()

    def observe(self, observed: ObservedGateway) -> None:
        """What to show of this gateway in the object's status, with the next write."""
        if observed != self._observed:
            self._observed = observed
            self._wake.set()

    def retire(self) -> None:
        """The deployment is gone: reserve no more, and let `run` end when the last reservation is resolved."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Keep the object up to date until cancelled or retired: at most one exchange a second."""
        while not (self._closing and not self._purse.open_reservations):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()
            await asyncio.sleep(self._last_tried + WRITE_EVERY_SECONDS - self._monotonic())
            self._wake.clear()
            with contextlib.suppress(LedgerUnreachable):
                await self.exchange()

    async def close(self) -> None:
        """Report what was spent and give the rest back; open reservations stay leased, and so count as spent."""
        self._closing = True
        with contextlib.suppress(LedgerUnreachable):
            await self.exchange()

    async def exchange(self) -> None:
        """One round with the object: report, lease, renew or give back, as is due.

        Raises:
            LedgerUnreachable: nothing is known to have been written; who waits was refused.
        """
        self._last_tried = self._monotonic()
        try:
            await self._exchange()
        except LedgerUnreachable as error:
            self._reachable = False
            self._failures += 1
            self._snapshot = None
            self._refuse_waiters(error)
            raise
        self._reachable = True
        self._failures = 0
        self._serve_waiters()

    async def _write_ahead(self, key: str) -> None:
        """Have a reservation on the disk before anything is spent of it; else it is none."""
        try:
            async with asyncio.timeout(RESERVE_WITHIN_SECONDS):
                await self._commit()
        except (JournalUnwritable, TimeoutError) as problem:
            if key in self._purse:
                self._purse.release(key)
            raise LedgerUnreachable(f"{key} could not be written ahead") from problem

    async def _write_down(self) -> None:
        """Have what a request came to on the disk. Where that fails, a crash would charge its whole reservation."""
        with contextlib.suppress(JournalUnwritable, TimeoutError):
            async with asyncio.timeout(RESERVE_WITHIN_SECONDS):
                await self._commit()

    async def _exchange(self) -> None:
        fresh = self._snapshot is None
        snapshot = self._snapshot or await self._store.read(self.name)
        for _ in range(CONFLICTS_AT_MOST):
            if not self._purse.learn(snapshot.account):
                snapshot = replace(snapshot, account=write_off(snapshot.account, self._purse.identity))
            proposed, attempt = self._propose(snapshot.account)
            if not fresh and self._waiters and not self._would_serve(attempt):
                snapshot, fresh = await self._store.read(self.name), True  # others may have given money back
                continue
            if not self._is_due(snapshot.account, proposed, attempt):
                self._snapshot = snapshot
                return
            self._purse.sent(attempt)
            try:
                await self._commit()  # a lease that a successor cannot recognise is lost with us
            except JournalUnwritable:
                self._purse.rejected(attempt)
                raise
            try:
                snapshot = await self._store.write(self.name, replace(snapshot, account=proposed))
            except LedgerConflict:
                snapshot, fresh = await self._store.read(self.name), True
                self._purse.refused(attempt, snapshot.account)
                continue
            self._purse.confirmed(attempt)
            self._snapshot = snapshot
            self._last_written = self._monotonic()
            self._asked_before, self._asked_since_write = self._asked_since_write, 0
            return
        raise LedgerUnreachable(f"LLMLedger {self.name} was written by others {CONFLICTS_AT_MOST} times in a row")

    def _propose(self, account: Account) -> tuple[Account, Attempt]:
        """The account as it should be, and what that write would be known by."""
        self._considered = len(self._waiters)
        now, identity = self._now(), self._purse.identity
        account = advance(account, identity, now)
        attempt = self._purse.attempt(self._wanted_free(account), now)
        proposed = exchange(account, identity, attempt.settled_micros, attempt.amount_micros, attempt.renewed)
        if self._closing and attempt.amount_micros == 0:
            proposed = leave(proposed, identity)
        return replace(proposed, gateways=_gateways(proposed, None if self._closing else self._observed)), attempt

    def _wanted_free(self, account: Account) -> int:
        """How much to hold beside open reservations."""
        if self._closing or self._monotonic() - self._last_asked > IDLE_SECONDS:
            return 0
        purse = self._purse
        taken = account.spent_micros + account.others_micros(purse.identity) + purse.settled_micros
        room = max(0, account.limit_micros - taken - purse.reserved_micros)
        free = max(0, purse.free_micros)
        asked = sum(waiter.micros for waiter in self._waiters if not waiter.granted.done())
        share = max(min(self._target(), room // SHARE_OF_THE_REST), min(free, room // 2))
        return min(room, max(asked, share)) if asked <= room else max(share, self._prefix(room))

    def _prefix(self, room: int) -> int:
        """What the first waiters ask for, as many of them in a row as fit."""
        total = 0
        for waiter in self._waiters:
            if total + waiter.micros > room:
                break
            total += waiter.micros
        return total

    def _target(self) -> int:
        recent = max(self._asked_since_write, self._asked_before)
        return max(LARGEST_RESERVATIONS * self._largest, round(AHEAD_SECONDS * recent / WRITE_EVERY_SECONDS))

    def _would_serve(self, attempt: Attempt) -> bool:
        return attempt.amount_micros - self._purse.reserved_micros >= sum(waiter.micros for waiter in self._waiters)

    def _is_due(self, before: Account, proposed: Account, attempt: Attempt) -> bool:
        purse = self._purse
        if self._closing and not purse.in_object and not purse.unanswered:
            return False  # an object made anew under this name, and the lease there, are those of another ledger
        moved = attempt.settled_micros or purse.unanswered or attempt.amount_micros != purse.leased_micros
        if moved or before.window_start != proposed.window_start or before.gateways != proposed.gateways:
            return True
        leaves = self._closing and purse.identity in before.leases
        return leaves or (purse.in_object and self._monotonic() - self._last_written > RENEW_EVERY_SECONDS)

    def _fits(self, micros: int) -> bool:
        valid = self._monotonic() - self._last_written <= LEASE_VALID_SECONDS
        return valid and micros <= self._purse.free_micros

    def _serve_waiters(self) -> None:
        """Grant or refuse those whom the exchange took into account; who came during it waits for the next."""
        for _ in range(self._considered):
            waiter = self._waiters.popleft()
            if waiter.granted.done():
                continue  # gave up meanwhile
            if self._fits(waiter.micros):
                self._purse.take(waiter.key, waiter.micros)
                waiter.granted.set_result(None)
            else:
                self._short_until = self._monotonic() + WRITE_EVERY_SECONDS
                waiter.granted.set_exception(
                    BudgetExhausted(f"LLMLedger {self.name} has less than {waiter.micros} micro-dollars left")
                )
        if self._waiters:
            self._wake.set()

    def _refuse_waiters(self, error: LedgerUnreachable) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.granted.done():
                waiter.granted.set_exception(LedgerUnreachable(str(error)))

    def _pause(self) -> float:
        if not self._reachable:
            return min(RETRY_AFTER_SECONDS * float(2 ** min(self._failures, 8)), RETRY_AT_MOST_SECONDS)
        return IDLE_SECONDS / 2 if self._purse.leased_micros else RENEW_EVERY_SECONDS


def _gateways(account: Account, own: ObservedGateway | None) -> tuple[ObservedGateway, ...]:
    """What gateways saw: ours as it is now, and that of all others who still have an entry among the leases."""
    living = {pod_of(holder) for holder in account.leases}
    others = (gateway for gateway in account.gateways if gateway.name in living)
    if own is None:
        return tuple(others)
    return (*(gateway for gateway in others if gateway.name != own.name), own)
