"""Money in the memory of one process, pure: a lease, what is reserved from it, and writes whose reply is not here yet.

A write whose reply was lost may have been applied, or still be: each carries a `renewed` of its own, so the next read
tells which. Until then what it would give back is withheld.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from spillway.errors import NotReserved
from spillway.gateway.account import Account


@dataclass(slots=True)
class _Open:
    micros: int
    counted: bool = True
    """False when others already took our whole lease for spent: settling it must not spend it twice."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A write of our lease: what it holds, what it reports as spent, and the moment that it is known by."""

    amount_micros: int
    settled_micros: int
    renewed: datetime


class Purse:
    """The lease of `identity`, as the object held it when it was last known."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.leased_micros = 0
        self.settled_micros = 0
        """Spent and not yet reported."""
        self.reserved_micros = 0
        self._withheld_micros = 0
        self._open: dict[str, _Open] = {}
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

    def __contains__(self, key: str) -> bool:
        return key in self._open

    def take(self, key: str, micros: int) -> None:
        """Reserve; the caller has seen that it fits."""
        self._open[key] = _Open(micros)
        self.reserved_micros += micros

    def settle(self, key: str, micros: int) -> None:
        """Spend `micros` of a reservation and free the rest. Raises NotReserved."""
        if self._close(key).counted:
            self.settled_micros += micros

    def release(self, key: str) -> None:
        """Free a reservation. Raises NotReserved."""
        self._close(key)

    def attempt(self, free_micros: int, now: datetime) -> Attempt:
        """A write that reports all that was settled and leaves `free_micros` beside what is reserved."""
        renewed = now if self._renewed is None else max(now, self._renewed + timedelta(microseconds=1))
        return Attempt(self.reserved_micros + free_micros, self.settled_micros, renewed)

    def sent(self, attempt: Attempt) -> None:
        """A write is on its way."""
        self._attempts.append(attempt)
        self._withhold()

    def rejected(self, attempt: Attempt) -> None:
        """A write was certainly not applied."""
        self._attempts.remove(attempt)
        self._withhold()

    def confirmed(self, attempt: Attempt) -> None:
        """A write was applied, and so can no earlier one be any more."""
        self.leased_micros = attempt.amount_micros
        self.settled_micros -= attempt.settled_micros
        self._renewed = attempt.renewed
        self._attempts.clear()
        self._withheld_micros = 0

    def learn(self, account: Account) -> None:
        """Take in, from the object as it is, what became of our writes and of our lease."""
        entry = account.leases.get(self.identity)
        for attempt in self._attempts:
            if entry is not None and (entry.amount_micros, entry.renewed) == (attempt.amount_micros, attempt.renewed):
                self.confirmed(attempt)
                return
        if self._renewed is not None and (entry is None or entry.renewed != self._renewed):
            self._disown()

    def _disown(self) -> None:
        """Our lease is gone from the object: others counted all of it as spent, with every reservation in it."""
        for entry in self._open.values():
            entry.counted = False
        self.leased_micros = self.settled_micros = self.reserved_micros = self._withheld_micros = 0
        self._attempts.clear()
        self._renewed = None

    def _withhold(self) -> None:
        """Do not spend what an unanswered write gives back."""
        kept = (attempt.amount_micros + attempt.settled_micros for attempt in self._attempts)
        self._withheld_micros = max(0, self.leased_micros - min(kept, default=self.leased_micros))

    def _close(self, key: str) -> _Open:
        entry = self._open.pop(key, None)
        if entry is None:
            raise NotReserved(key)
        if entry.counted:
            self.reserved_micros -= entry.micros
        return entry
