"""Money as one gateway holds it for one LLMDeployment: reserve, settle, release, against a lease from the LLMLedger.

Money moves in memory at once; the object follows at most once a second, by compare-and-swap. Whatever is lost on the
way (a reply, this process, the API server) only ever makes less available: see `account` for the law.

A write whose reply was lost may have been applied, or still be: each carries a `renewed` of its own, so the next read
tells which.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from spillway.api.v1alpha1 import ObservedGateway
from spillway.errors import AlreadyReserved, BudgetExhausted, LedgerConflict, LedgerUnreachable, NotReserved
from spillway.gateway.account import Account, advance, exchange, leave

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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An account with the version of the object that it was read from."""

    version: str
    account: Account


class LedgerStore(Protocol):
    """Where LLMLedgers are: the API server, or memory in tests."""

    async def read(self, name: str) -> Snapshot:
        """The account now. Raises LedgerUnreachable."""
        ...

    async def write(self, name: str, snapshot: Snapshot) -> Snapshot:
        """Store the account if the object is still at `snapshot.version`. Raises LedgerConflict, LedgerUnreachable."""
        ...


@dataclass(slots=True)
class _Open:
    micros: int
    counted: bool = True
    """False when others already took our whole lease for spent: settling it must not spend it twice."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    amount_micros: int
    settled_micros: int
    renewed: datetime


@dataclass(slots=True)
class _Waiter:
    key: str
    micros: int
    granted: asyncio.Future[None]


class Ledger:
    """The lease of one process on one LLMLedger. `now` is the wall clock (aware), `monotonic` counts seconds."""

    def __init__(
        self, name: str, store: LedgerStore, identity: str, now: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        self.name = name
        self._store = store
        self._identity = identity
        self._now = now
        self._monotonic = monotonic
        self._snapshot: Snapshot | None = None
        self._leased = 0
        self._settled = 0
        self._reserved = 0
        self._withheld = 0
        self._open: dict[str, _Open] = {}
        self._attempts: list[_Attempt] = []
        self._failures = 0
        self._renewed: datetime | None = None
        self._waiters: deque[_Waiter] = deque()
        self._wake = asyncio.Event()
        self._largest = 0
        self._asked_since_write = 0
        self._asked_before = 0
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
        return self._leased - self._settled - self._reserved - self._withheld

    @property
    def open_reservations(self) -> int:
        """How many reservations are neither settled nor released."""
        return len(self._open)

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
        if key in self._open or any(waiter.key == key for waiter in self._waiters):
            raise AlreadyReserved(key)
        self._last_asked = self._monotonic()
        self._asked_since_write += micros
        self._largest = max(self._largest, micros)
        if not self._reachable or self._closing:
            self._wake.set()
            raise LedgerUnreachable(f"LLMLedger {self.name} was not reachable when it was last tried")
        if not self._waiters and self._fits(micros):
            self._take(key, micros)
            if self.free_micros < self._target() // 2:
                self._wake.set()
            return
        if self.exhausted and not self._waiters:
            raise BudgetExhausted(f"LLMLedger {self.name} has less than {micros} micro-dollars left")
        waiter = _Waiter(key, micros, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._wake.set()
        try:
            await asyncio.wait_for(waiter.granted, RESERVE_WITHIN_SECONDS)
        except TimeoutError:
            raise LedgerUnreachable(f"LLMLedger {self.name} did not answer in time") from None

    async def settle(self, key: str, micros: int) -> None:
        """Spend `micros` of what was reserved under `key`, and free the rest. In the object within a second or so.

        Raises:
            NotReserved: `key` is not open.
        """
        entry = self._close(key)
        self.spent_total_micros += micros
        if entry.counted:
            self._settled += micros
        self._wake.set()

    async def release(self, key: str) -> None:
        """Free what was reserved under `key`, of which nothing can have been spent.

        Raises:
            NotReserved: `key` is not open.
        """
        self._close(key)

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
        while not (self._closing and not self._open):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._pause())
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

    async def _exchange(self) -> None:
        fresh = self._snapshot is None
        snapshot = self._snapshot or await self._store.read(self.name)
        for _ in range(CONFLICTS_AT_MOST):
            self._learn(snapshot.account)
            proposed, attempt = self._propose(snapshot.account)
            if not fresh and self._waiters and not self._would_serve(attempt):
                snapshot, fresh = await self._store.read(self.name), True  # others may have given money back
                continue
            if not self._is_due(snapshot.account, proposed, attempt):
                self._snapshot = snapshot
                return
            self._attempts.append(attempt)
            self._withhold()
            try:
                snapshot = await self._store.write(self.name, replace(snapshot, account=proposed))
            except LedgerConflict:
                self._attempts.remove(attempt)
                self._withhold()
                snapshot, fresh = await self._store.read(self.name), True
                continue
            self._confirm(attempt)
            self._snapshot = snapshot
            self._last_written = self._monotonic()
            self._asked_before, self._asked_since_write = self._asked_since_write, 0
            return
        raise LedgerUnreachable(f"LLMLedger {self.name} was written by others {CONFLICTS_AT_MOST} times in a row")

    def _propose(self, account: Account) -> tuple[Account, _Attempt]:
        """The account as it should be, and what that write would be known by."""
        now = self._now()
        renewed = now if self._renewed is None else max(now, self._renewed + timedelta(microseconds=1))
        account = advance(account, self._identity, now)
        held = self._reserved + self._wanted_free(account)
        attempt = _Attempt(held, self._settled, renewed)
        proposed = exchange(account, self._identity, self._settled, held, renewed)
        if self._closing and held == 0:
            proposed = leave(proposed, self._identity)
        if self._observed is not None:
            proposed = replace(proposed, gateways=_with(account.gateways, self._observed, leaving=self._closing))
        return proposed, attempt

    def _wanted_free(self, account: Account) -> int:
        """How much to hold beside open reservations."""
        if self._closing or self._monotonic() - self._last_asked > IDLE_SECONDS:
            return 0
        taken = account.spent_micros + account.others_micros(self._identity) + self._settled + self._reserved
        room = max(0, account.limit_micros - taken)
        free = max(0, self.free_micros)
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

    def _would_serve(self, attempt: _Attempt) -> bool:
        return attempt.amount_micros - self._reserved >= sum(waiter.micros for waiter in self._waiters)

    def _is_due(self, before: Account, proposed: Account, attempt: _Attempt) -> bool:
        if attempt.settled_micros or self._attempts or attempt.amount_micros != self._leased:
            return True
        if before.window_start != proposed.window_start or before.gateways != proposed.gateways:
            return True
        if self._closing and self._identity in before.leases:
            return True
        return self._leased > 0 and self._monotonic() - self._last_written > RENEW_EVERY_SECONDS

    def _learn(self, account: Account) -> None:
        """Take in what became of our earlier writes."""
        entry = account.leases.get(self._identity)
        for attempt in self._attempts:
            if entry is not None and (entry.amount_micros, entry.renewed) == (attempt.amount_micros, attempt.renewed):
                self._confirm(attempt)
                return
        if self._renewed is not None and (entry is None or entry.renewed != self._renewed):
            self._disown()

    def _confirm(self, attempt: _Attempt) -> None:
        self._leased = attempt.amount_micros
        self._settled -= attempt.settled_micros
        self._renewed = attempt.renewed
        self._attempts.clear()
        self._withheld = 0

    def _disown(self) -> None:
        """Our lease is gone from the object: others counted all of it as spent, with every reservation in it."""
        for entry in self._open.values():
            entry.counted = False
        self._leased = self._settled = self._reserved = self._withheld = 0
        self._attempts.clear()
        self._renewed = None

    def _withhold(self) -> None:
        """Do not spend what an unanswered write gives back."""
        kept = min((attempt.amount_micros + attempt.settled_micros for attempt in self._attempts), default=self._leased)
        self._withheld = max(0, self._leased - kept)

    def _fits(self, micros: int) -> bool:
        valid = self._monotonic() - self._last_written <= LEASE_VALID_SECONDS
        return valid and micros <= self.free_micros

    def _take(self, key: str, micros: int) -> None:
        self._open[key] = _Open(micros)
        self._reserved += micros

    def _close(self, key: str) -> _Open:
        entry = self._open.pop(key, None)
        if entry is None:
            raise NotReserved(key)
        if entry.counted:
            self._reserved -= entry.micros
        return entry

    def _serve_waiters(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if waiter.granted.done():
                continue  # gave up meanwhile
            if self._fits(waiter.micros):
                self._take(waiter.key, waiter.micros)
                waiter.granted.set_result(None)
            else:
                self._short_until = self._monotonic() + WRITE_EVERY_SECONDS
                waiter.granted.set_exception(
                    BudgetExhausted(f"LLMLedger {self.name} has less than {waiter.micros} micro-dollars left")
                )

    def _refuse_waiters(self, error: LedgerUnreachable) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.granted.done():
                waiter.granted.set_exception(LedgerUnreachable(str(error)))

    def _pause(self) -> float:
        if not self._reachable:
            return min(RETRY_AFTER_SECONDS * float(2 ** min(self._failures, 8)), RETRY_AT_MOST_SECONDS)
        return IDLE_SECONDS / 2 if self._leased else RENEW_EVERY_SECONDS


def _with(gateways: tuple[ObservedGateway, ...], own: ObservedGateway, *, leaving: bool) -> tuple[ObservedGateway, ...]:
    others = tuple(gateway for gateway in gateways if gateway.name != own.name)
    return others if leaving else (*others, own)
