"""Whether a target is asked at all: it is left alone after failures, then one request tries it. Pure.

A target takes requests until `FAILURES_TO_SHUT` in a row failed, or one was refused in a way that says more of the
same will be refused too; then it is shut for a while, twice as long each time. When that is over one request, and one
only, is sent to try it: its first token opens the target, its failure shuts it again.

What a target says about when to come back (Retry-After) is respected, within `MOST_SECONDS`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

FAILURES_TO_SHUT: Final = 3
"""One lost connection is an accident, three in a row are not."""
SHUT_SECONDS: Final = 1.0
SHUT_MOST_SECONDS: Final = 60.0
REFUSED_SECONDS: Final = 60.0
"""A key, a model or a deployment that is refused is not mended in a second; a renewed Secret is here in two minutes."""
MOST_SECONDS: Final = 600.0
"""A provider may say tomorrow; one request every ten minutes finds out whether it meant it."""
BUSY: Final = frozenset({429, 503, 529})
"""Too many requests, not now, and Anthropic's word for overloaded (https://docs.claude.com/en/api/errors)."""
REFUSED: Final = frozenset({401, 403, 404})
"""The key, its rights or the model's name are wrong, for this request as for the next."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """How a request failed at a target: the status it answered with, None without one, and its Retry-After."""

    status: int | None = None
    retry_after_seconds: float | None = None


LOST: Final = Trouble()
"""No connection, a broken one, or none but silence."""


@dataclass(frozen=True, slots=True)
class Health:
    """What is remembered of one target. `shut_until` is None while it takes requests; `probe` is who tries it."""

    failures: int = 0
    trips: int = 0
    shut_until: float | None = None
    probe: str | None = None
    last: Trouble = LOST

    def takes(self, now: float) -> bool:
        """Whether one more request may be sent."""
        return self.shut_until is None or (now >= self.shut_until and self.probe is None)


HEALTHY: Final = Health()


def began(health: Health, request_id: str) -> Health:
    """A request is on its way: when the target was shut, it is the one that tries it."""
    return health if health.shut_until is None else replace(health, probe=request_id)


def answered(health: Health, request_id: str) -> Health:
    """It answered a request: that opens it when this was the one that tried."""
    return HEALTHY if health.probe == request_id else health


def ended(health: Health, request_id: str, *, served: bool) -> Health:
    """A request ended without trouble; when it was not `served` nothing is known of the target."""
    if health.probe == request_id:
        return HEALTHY if served else replace(health, probe=None)
    return replace(health, failures=0) if served and health.shut_until is None else health


def failed(health: Health, request_id: str, trouble: Trouble, now: float, jitter: float) -> Health:
    """A request failed; `jitter` from 0 to 1 spreads when gateways come back."""
    if health.shut_until is not None and health.probe != request_id:
        # It was under way when the target was shut: it only says again what is known, or a later time to come back.
        stated = _stated(trouble)
        return health if stated is None else replace(health, shut_until=max(health.shut_until, now + stated))
    counted = replace(health, failures=health.failures + 1, probe=None, last=trouble)
    at_once = health.probe == request_id or trouble.status in BUSY | REFUSED or _stated(trouble) is not None
    if not at_once and counted.failures < FAILURES_TO_SHUT:
        return counted
    return replace(counted, trips=health.trips + 1, shut_until=now + _shut_seconds(trouble, health.trips, jitter))


def _shut_seconds(trouble: Trouble, trips: int, jitter: float) -> float:
    refused = trouble.status in REFUSED
    base, most = (REFUSED_SECONDS, MOST_SECONDS) if refused else (SHUT_SECONDS, SHUT_MOST_SECONDS)
    own = min(most, base * 2.0 ** min(trips, 16)) * (1.0 - 0.5 * jitter)
    stated = _stated(trouble)
    return own if stated is None else max(own, stated * (1.0 + 0.1 * jitter))


def _stated(trouble: Trouble) -> float | None:
    return None if trouble.retry_after_seconds is None else min(MOST_SECONDS, max(0.0, trouble.retry_after_seconds))
