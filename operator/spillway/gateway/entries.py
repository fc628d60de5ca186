"""What happens to a purse, as values: each is one entry of the journal, and a purse is the sum of its entries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """A write of our lease: what it holds, what it reports as spent, and the moment that it is known by."""

    amount_micros: int
    settled_micros: int
    renewed: datetime


@dataclass(frozen=True, slots=True)
class OpenReservation:
    """A reservation that is neither settled nor released.

    `counted` is False when others already took the whole lease for spent: settling it must not spend it twice.
    """

    key: str
    micros: int
    counted: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """`micros` were reserved under `key`."""

    key: str
    micros: int


@dataclass(frozen=True, slots=True)
class Settled:
    """`micros` of the reservation were spent."""

    key: str
    micros: int


@dataclass(frozen=True, slots=True)
class Released:
    """Nothing of the reservation was spent."""

    key: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A write is about to be sent."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Rejected:
    """A write was certainly not applied."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A write was applied."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Disowned:
    """The lease is gone from the object: others counted all of it as spent."""


@dataclass(frozen=True, slots=True)
class Whole:
    """All of a purse, in place of the entries that led to it. `renewed` is None while the object has no lease of it."""

    leased_micros: int
    settled_micros: int
    renewed: datetime | None
    open: tuple[OpenReservation, ...]
    attempts: tuple[Attempt, ...]


Entry = Taken | Settled | Released | Sent | Rejected | Confirmed | Disowned | Whole

EMPTY = Whole(leased_micros=0, settled_micros=0, renewed=None, open=(), attempts=())
"""A purse to which nothing happened yet."""
