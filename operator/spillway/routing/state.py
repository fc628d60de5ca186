"""What the request machine remembers: where it waits, and what it holds while it does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from spillway.routing.budget import cost_micros
from spillway.routing.facts import Price, Usage
from spillway.routing.messages import ShadowSpill
from spillway.routing.outcomes import Outcome, Place, Reason
from spillway.routing.terms import Offer, Request


class Phase(Enum):
    """Where a request waits for the outside."""

    HOLDING = "Holding"
    """The pool's verdict: a replica, a target, or neither."""
    RESERVING = "Reserving"
    """The most that it can cost, on the disk; without it nothing leaves."""
    DISPATCHING = "Dispatching"
    """The head of the answer. Until the first byte is sent to the caller, another backend can still take over."""
    AWAITING_FIRST_TOKEN = "AwaitingFirstToken"  # noqa: S105 (a token of text, not a secret)
    """The first content of a stream, or the whole of a unary answer."""
    RELAYING = "Relaying"
    """The end of the answer; its bytes do not pass through the machine."""
    SETTLING = "Settling"
    """What it came to, on the disk."""
    FINISHED = "Finished"
    """Nothing: its one record is written."""


@dataclass(frozen=True, slots=True)
class Shadowed:
    """A spill that was decided and not made, because the deployment's fallback is a shadow."""

    target: str
    reason: Reason
    price: Price
    most_micros: int

    def spill(self, usage: Usage | None) -> ShadowSpill:
        """What it would have cost: at the tokens that the engine here reported, else the most that it could."""
        micros = self.most_micros if usage is None else cost_micros(self.price, usage)
        return ShadowSpill(self.target, self.reason, micros)


@dataclass(frozen=True, slots=True)
class State:
    """All that a machine remembers.

    `offer` is set while money is reserved for a cloud attempt, and `reservation_micros` is how much; `terms_changed`
    when `request` is another since that was decided; `replica` is set while one is occupied. `reserved_micros` and
    `charged_micros` are sums over all attempts.
    """

    request: Request
    phase: Phase = Phase.HOLDING
    attempt: int = 1
    dispatches: int = 0
    place: Place = Place.NONE
    backend: str = ""
    reason: Reason = Reason.DEFAULT
    replica: str | None = None
    offer: Offer | None = None
    reservation_micros: int = 0
    terms_changed: bool = False
    closed_targets: frozenset[str] = frozenset()
    cloud_closed: Reason | None = None
    excluded_replicas: frozenset[str] = frozenset()
    after_failure: bool = False
    client_gone: bool = False
    usage: Usage | None = None
    reserved_micros: int = 0
    charged_micros: int = 0
    shadowed: Shadowed | None = None
    outcome: Outcome | None = None

    @property
    def key(self) -> str:
        """The reservation's key: one an attempt."""
        return f"{self.request.request_id}:{self.attempt}"
