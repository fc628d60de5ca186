"""Money in the memory of one process, pure: a lease, what is reserved from it, and writes whose reply is not here yet.

A write whose reply was lost may have been applied, or still be: each carries a `renewed` of its own, so the next read
tells which. Until then what it would give back is withheld. Every change is told to a log first; a purse that is fed
the same entries again is the same purse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from spillway.errors import NotReserved
from spillway.gateway.account import Account
from spillway.gateway.entries import (
    Attempt,
    Confirmed,
    Disowned,
    Entry,
    OpenReservation,
    Rejected,
    Released,
    Sent,
    Settled,
    Taken,
    Whole,
)


def _to_nobody(_: Entry) -> None:
    """The log of a purse that lives in memory alone."""


class Purse:
    """The lease of `identity`, as the object held it when it was last known."""

    def __init__(self, identity: str, log: Callable[[Entry], None] = _to_nobody) -> None:
        self.identity = identity
        self.leased_micros = 0
        self.settled_micros = 0
        """Spent and not yet reported."""
        self.reserved_micros = 0
        self._log = log
        self._withheld_micros = 0
        self._open: dict[str, OpenReservation] = {}
        self._attempts: list[Attempt] = []
        self._renewed: datetime | None = None

    @property
    def free_micros(self) -> int:
        """What can be reserved without asking."""
        return self.leased_micros - self.settled_micros - self.reserved_micros - self._withheld_micros

    @property
    def open_reservations(self) -> int:
        """How many reservations are neither settled nor released."""
        return len(self._open)

    @property
    def in_object(self) -> bool:
        """Whether the object has an entry of ours."""
        return self._renewed is not None

    @property
    def unanswered(self) -> bool:
        """Whether there are writes of which nobody knows what became."""
        return bool(self._attempts)

    @property
    def whole(self) -> Whole:
        """All of it as one entry."""
        return Whole(
            leased_micros=self.leased_micros,
            settled_micros=self.settled_micros,
            renewed=self._renewed,
            open=tuple(self._open.values()),
            attempts=tuple(self._attempts),
        )

    def __contains__(self, key: str) -> bool:
        return key in self._open

    def take(self, key: str, micros: int) -> None:
        """Reserve; the caller has seen that it fits."""
        self._log(Taken(key, micros))
        self._open[key] = OpenReservation(key, micros, counted=True)
        self.reserved_micros += micros

    def settle(self, key: str, micros: int) -> None:
        """Spend `micros` of a reservation and free the rest. Raises NotReserved."""
        if key not in self._open:
            raise NotReserved(key)
        self._log(Settled(key, micros))
        if self._close(key).counted:
            self.settled_micros += micros

    def release(self, key: str) -> None:
        """Free a reservation. Raises NotReserved."""
        if key not in self._open:
            raise NotReserved(key)
        self._log(Released(key))
        self._close(key)

    def charge_open(self) -> int:
        """Settle all that is open in full, for nobody knows what was served. Returns the micro-dollars."""
        open_now = tuple(self._open.values())
        for reservation in open_now:
            self.settle(reservation.key, reservation.micros)
        return sum(reservation.micros for reservation in open_now)

    def attempt(self, free_micros: int, now: datetime) -> Attempt:
        """A write that reports all that was settled and leaves `free_micros` beside what is reserved."""
        latest = max((attempt.renewed for attempt in self._attempts), default=self._renewed)
        renewed = now if latest is None else max(now, latest + timedelta(microseconds=1))
        return Attempt(self.reserved_micros + free_micros, self.settled_micros, renewed)

    def sent(self, attempt: Attempt) -> None:
        """A write is about to be sent."""
        self._log(Sent(attempt))
        self._attempts.append(attempt)
        self._withhold()

    def rejected(self, attempt: Attempt) -> None:
        """A write was certainly not applied."""
        self._log(Rejected(attempt))
        self._attempts.remove(attempt)
        self._withhold()

    def refused(self, attempt: Attempt, account: Account) -> None:
        """A write met another one: its own, sent once more after a lost reply, if the object tells so by `account`."""
        if not self._tells_of(account, attempt):
            self.rejected(attempt)

    def confirmed(self, attempt: Attempt) -> None:
        """A write was applied, and so can no earlier one be any more."""
        self._log(Confirmed(attempt))
        self.leased_micros = attempt.amount_micros
        self.settled_micros -= attempt.settled_micros
        self._renewed = attempt.renewed
        self._attempts.clear()
        self._withheld_micros = 0

    def learn(self, account: Account) -> bool:
        """Take in, from the object as it is, what became of our writes and of our lease.

        False when the object holds a lease under our name that is none of ours: whoever wrote it, it may be spent.
        """
        entry = account.leases.get(self.identity)
        for attempt in self._attempts:
            if self._tells_of(account, attempt):
                self.confirmed(attempt)
                return True
        is_known = entry is not None and entry.renewed == self._renewed
        if self._renewed is not None and not is_known:
            self._disown()
        return is_known or entry is None

    def replay(self, entries: Iterable[Entry]) -> None:
        """Become what these entries lead to; they are not logged again. Raises NotReserved, ValueError."""
        log, self._log = self._log, _to_nobody
        for entry in entries:
            self._apply(entry)
        self._log = log

    def _apply(self, entry: Entry) -> None:
        match entry:
            case Taken(key, micros):
                self.take(key, micros)
            case Settled(key, micros):
                self.settle(key, micros)
            case Released(key):
                self.release(key)
            case Sent(attempt):
                self.sent(attempt)
            case Rejected(attempt):
                self.rejected(attempt)
            case Confirmed(attempt):
                self.confirmed(attempt)
            case Disowned():
                self._disown()
            case Whole():
                self._become(entry)

    def _become(self, whole: Whole) -> None:
        self.leased_micros = whole.leased_micros
        self.settled_micros = whole.settled_micros
        self.reserved_micros = sum(reservation.micros for reservation in whole.open if reservation.counted)
        self._open = {reservation.key: reservation for reservation in whole.open}
        self._attempts = list(whole.attempts)
        self._renewed = whole.renewed
        self._withhold()

    def _disown(self) -> None:
        """Our lease is gone from the object: others counted all of it as spent, with every reservation in it."""
        self._log(Disowned())
        self._open = {key: OpenReservation(key, it.micros, counted=False) for key, it in self._open.items()}
        self.leased_micros = self.settled_micros = self.reserved_micros = self._withheld_micros = 0
        self._attempts.clear()
        self._renewed = None

    def _tells_of(self, account: Account, attempt: Attempt) -> bool:
        entry = account.leases.get(self.identity)
        return entry is not None and (entry.amount_micros, entry.renewed) == (attempt.amount_micros, attempt.renewed)

    def _withhold(self) -> None:
        """Do not spend what an unanswered write gives back."""
        kept = (attempt.amount_micros + attempt.settled_micros for attempt in self._attempts)
        self._withheld_micros = max(0, self.leased_micros - min(kept, default=self.leased_micros))

    def _close(self, key: str) -> OpenReservation:
        reservation = self._open.pop(key)
        if reservation.counted:
            self.reserved_micros -= reservation.micros
        return reservation
