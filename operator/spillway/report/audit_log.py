"""Audit lines of gateways (docs/audit.md) become traffic: line by line, so that a log of any length will do."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Literal

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from spillway.advisor.traffic import Counts, Traffic

STRETCH_SECONDS: Final = 60
"""Rates are of whole minutes."""

Dollars = Annotated[Decimal, Field(ge=0, lt=10**9, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=0, le=10**12)]


class Line(BaseModel):
    """What is read of an audit line; it holds more, and a newer one may hold still more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    event: Literal["request"]
    time: AwareDatetime
    place: str = "none"
    prompt_tokens: Tokens | None = None
    cached_prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    cost_usd: Dollars = Decimal(0)
    shadow_usd: Dollars | None = None
    total_seconds: float = Field(default=0, ge=0, le=10**7)


class _Tally:
    """What was counted so far."""

    def __init__(self) -> None:
        self.places = {"local": Counts(), "cloud": Counts()}
        self.spent = self.shadow = Decimal(0)
        self.unmeasured = self.unserved = self.lines = self.bad = 0
        self.first_bad = ""
        self.minutes: Counter[int] = Counter()
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.began = math.inf

    def take(self, line: Line) -> None:
        self.spent += line.cost_usd
        self.shadow += line.shadow_usd or Decimal(0)
        self.last = max(self.last or line.time, line.time)
        self.began = min(self.began, line.time.timestamp() - line.total_seconds)
        if line.place not in self.places:
            self.unserved += 1
            return
        if line.prompt_tokens is None or line.completion_tokens is None:
            self.unmeasured += 1
            return
        cached = min(line.cached_prompt_tokens or 0, line.prompt_tokens)
        self.places[line.place] += Counts(1, line.prompt_tokens, cached, line.completion_tokens)
        minute = int(line.time.timestamp()) // STRETCH_SECONDS
        self.minutes[minute] += line.prompt_tokens + line.completion_tokens


def read_audit(lines: Iterable[bytes], source: str) -> Traffic:
    """The traffic of audit `lines`; what is no audit line is counted as bad, but for empty lines.

    A log's own lines, which have another `event`, are neither.
    """
    tally = _Tally()
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        tally.lines += 1
        problem = _read(text, tally)
        if problem:
            tally.bad += 1
            tally.first_bad = tally.first_bad or f"line {number}: {problem}"
    seconds = 1.0 if tally.last is None else max(1.0, tally.last.timestamp() - tally.began)
    rates = _rates(tally.minutes, seconds)
    return Traffic(
        source=source,
        seconds=seconds,
        local=tally.places["local"],
        cloud=tally.places["cloud"],
        spent_usd=tally.spent,
        shadow_usd=tally.shadow,
        unmeasured=tally.unmeasured,
        unserved=tally.unserved,
        peak_tokens_per_second=rates[-1] if rates else None,
        p95_tokens_per_second=rates[math.ceil(0.95 * len(rates)) - 1] if rates else None,
        lines=tally.lines,
        bad=tally.bad,
        first_bad=tally.first_bad,
    )


def _read(text: bytes, tally: _Tally) -> str:
    """Take a line in; why it cannot be, or nothing."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return "no JSON"
    if not isinstance(document, dict) or "event" not in document:
        return "no event"
    if document["event"] != "request":
        return ""
    try:
        tally.take(Line.model_validate(document))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    return ""


def _rates(minutes: Counter[int], seconds: float) -> list[float]:
    """Tokens a second of each minute from the first to the last that had any, sorted; a short log is one stretch."""
    if not minutes:
        return []
    stretches = range(min(minutes), max(minutes) + 1)
    if seconds < STRETCH_SECONDS:
        return [minutes.total() / seconds]
    quiet = len(stretches) - len(minutes)
    return [0.0] * quiet + sorted(tokens / STRETCH_SECONDS for tokens in minutes.values())
