"""What becomes of a request that asked the pool: frozen values."""

from __future__ import annotations

from dataclasses import dataclass

from spillway.routing.outcomes import Reason


@dataclass(frozen=True, slots=True)
class Local:
    """Stay: dispatch to `replica`, where the first token is predicted after `predicted_seconds`."""

    replica: str
    reason: Reason
    predicted_seconds: float


@dataclass(frozen=True, slots=True)
class Cloud:
    """Spill to `target`."""

    target: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nobody can serve it in time."""

    reason: Reason
    retry_after_seconds: int


Verdict = Local | Cloud | Refusal
