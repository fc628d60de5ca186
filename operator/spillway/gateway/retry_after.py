"""When an upstream asks to come back: Retry-After in seconds or as a date, and the form in milliseconds.

Retry-After: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after. OpenAI and Azure also send `retry-after-ms`, which
their own client prefers: https://github.com/openai/openai-python/blob/main/src/openai/_base_client.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds until then, never negative; None when nothing is said that can be read.

    A date is taken against the answer's own Date, so that two clocks need not agree; `now`, the wall clock, is for an
    answer without one.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    moment = _moment(text)
    if moment is None:
        return None
    return max(0.0, (moment - (_moment(headers.get("date")) or now)).total_seconds())


def _moment(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text) if text is not None else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
