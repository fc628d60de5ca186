"""What the client saw, counted: values in, values out."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from spillway.simulator.demo.plan import Planned


class End(StrEnum):
    """How a request ended, as its client saw it."""

    ANSWERED = "answered"
    REFUSED = "refused (503 and Retry-After)"
    BROKEN = "broken off after its first byte"
    FAILED = "failed before its first byte"


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as its client saw it; times in seconds since the burst began."""

    planned: Planned
    sent_seconds: float
    ended_seconds: float
    end: End
    place: str
    reason: str
    first_token_seconds: float | None
    """From sending to the first content."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PlaceTally:
    """Answers of one place."""

    place: str
    requests: int
    share: float
    first_token_p50_seconds: float | None
    first_token_p99_seconds: float | None


@dataclass(frozen=True, slots=True)
class Tally:
    """Everything so far."""

    sent: int
    ended: int
    requests_per_second: float
    places: tuple[PlaceTally, ...]
    reasons: tuple[tuple[str, str, int], ...]
    """(place, reason, count), most first."""


def tally(seen: Sequence[Seen], sent: int, now_seconds: float, window_seconds: float = 5.0) -> Tally:
    """Count what was seen up to `now_seconds`; the rate is over the last `window_seconds`."""
    recent = sum(1 for one in seen if one.ended_seconds > now_seconds - window_seconds)
    return Tally(
        sent=sent,
        ended=len(seen),
        requests_per_second=recent / min(window_seconds, max(now_seconds, 1.0)),
        places=tuple(_place(place, seen) for place in ("local", "cloud", "none")),
        reasons=tuple((*key, count) for key, count in Counter((one.place, one.reason) for one in seen).most_common()),
    )


def _place(place: str, seen: Sequence[Seen]) -> PlaceTally:
    here = [one for one in seen if one.place == place]
    waits = [one.first_token_seconds for one in here if one.first_token_seconds is not None]
    return PlaceTally(
        place, len(here), len(here) / len(seen) if seen else 0.0, quantile(waits, 50), quantile(waits, 99)
    )


def quantile(values: Iterable[float], percent: int) -> float | None:
    """The percentile of `values`, None when there are none."""
    ordered = sorted(values)
    if len(ordered) < 2:
        return ordered[0] if ordered else None
    return statistics.quantiles(ordered, n=100, method="inclusive")[percent - 1]
