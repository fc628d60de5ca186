"""What the request machine hears and says: events from the outside, commands to it. Frozen values, one meaning each."""

from __future__ import annotations

from dataclasses import dataclass

from spillway.routing.facts import Usage
from spillway.routing.outcomes import Outcome, Place, Reason
from spillway.routing.terms import Request
from spillway.routing.verdicts import Verdict

# --- events: the only way in which a machine learns anything ---


@dataclass(frozen=True, slots=True)
class Decided:
    """The pool gave its verdict."""

    attempt: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Reserved:
    """The money is reserved, durably."""

    attempt: int


@dataclass(frozen=True, slots=True)
class ReserveRefused:
    """There is no money, or no ledger to ask."""

    attempt: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Accepted:
    """The upstream has the whole request and answered with a head that is no refusal."""

    attempt: int


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """Nothing of the request was sent."""

    attempt: int


@dataclass(frozen=True, slots=True)
class UpstreamRefused:
    """The upstream answered that it does not serve this, by status or in the first event of a stream.

    `billed`: what it did until then may be on its bill.
    """

    attempt: int
    status: int
    billed: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamLost:
    """The connection broke after something of the request was sent."""

    attempt: int


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The first content of a stream is here, not yet relayed."""

    attempt: int


@dataclass(frozen=True, slots=True)
class BodyComplete:
    """The whole unary answer is here, not yet relayed."""

    attempt: int
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class UsageReported:
    """The upstream said what it counted."""

    attempt: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The answer ended; `complete` only with the proof of it ([DONE], or the whole body)."""

    attempt: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """The ledger took the settlement."""

    attempt: int


@dataclass(frozen=True, slots=True)
class LedgerLost:
    """The ledger could not take the settlement now; the reservation stays charged."""

    attempt: int


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The deadline of an attempt passed."""

    attempt: int


@dataclass(frozen=True, slots=True)
class ClientGone:
    """The client left."""


@dataclass(frozen=True, slots=True)
class TermsChanged:
    """The deployment was compiled anew: other things are open to the request from now on."""

    request: Request


Event = (
    Decided
    | Reserved
    | ReserveRefused
    | Accepted
    | ConnectFailed
    | UpstreamRefused
    | UpstreamLost
    | FirstToken
    | BodyComplete
    | UsageReported
    | StreamEnded
    | Settled
    | LedgerLost
    | TimerFired
    | ClientGone
    | TermsChanged
)


# --- commands: what the shell must do, in this order ---


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the pool for a verdict on this attempt."""

    attempt: int
    targets: tuple[str, ...]
    stays_because: Reason
    excluded_replicas: frozenset[str]
    after_failure: bool


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take the question back."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """Reserve money under `key`, once."""

    attempt: int
    key: str
    micros: int


@dataclass(frozen=True, slots=True)
class Settle:
    """Charge `micros` for `key` and give the rest back."""

    attempt: int
    key: str
    micros: int


@dataclass(frozen=True, slots=True)
class Release:
    """Give all of `key` back: nothing can have been served."""

    attempt: int
    key: str


@dataclass(frozen=True, slots=True)
class Occupy:
    """Count the request on a replica or at a target."""

    place: Place
    backend: str


@dataclass(frozen=True, slots=True)
class Prefilled:
    """Its prompt is through on `replica`."""

    replica: str


@dataclass(frozen=True, slots=True)
class Vacate:
    """It is done there; `trouble` when that failed it, `abandoned` when it was stopped before its end.

    `full` when the trouble is that it takes no more.
    """

    place: Place
    backend: str
    trouble: bool
    abandoned: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send it to `backend` (a replica or a target)."""

    attempt: int
    place: Place
    backend: str


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Feed TimerFired(attempt) at `at`."""

    attempt: int
    at: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget the deadline of this attempt."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The client gets this attempt's answer; from here on only its relay writes.

    `cost_micros` is known for unary answers from a cloud, None else.
    """

    attempt: int
    cost_micros: int | None


@dataclass(frozen=True, slots=True)
class PassThrough:
    """The client gets the upstream's own refusal."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Respond:
    """The client gets an error of ours."""

    status: int
    reason: Reason
    retry_after_seconds: int | None


@dataclass(frozen=True, slots=True)
class AbortUpstream:
    """Stop the attempt; its events no longer matter."""

    attempt: int


@dataclass(frozen=True, slots=True)
class CloseClient:
    """Cut the client's connection: an answer that broke off must not look whole."""


@dataclass(frozen=True, slots=True)
class ShadowSpill:
    """A spill that was not made: where to, why, and what it would have cost."""

    target: str
    reason: Reason
    micros: int


@dataclass(frozen=True, slots=True)
class Record:
    """Write the one audit line. `shadow` is what would have left, were the fallback more than a shadow."""

    outcome: Outcome
    place: Place
    backend: str
    reason: Reason
    status: int
    dispatches: int
    reserved_micros: int
    cost_micros: int
    usage: Usage | None
    shadow: ShadowSpill | None = None


Command = (
    Ask
    | Withdraw
    | Reserve
    | Settle
    | Release
    | Occupy
    | Prefilled
    | Vacate
    | Dispatch
    | SetTimer
    | CancelTimer
    | Commit
    | PassThrough
    | Respond
    | AbortUpstream
    | CloseClient
    | Record
)
