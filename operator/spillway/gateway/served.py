"""Tokens that replicas served through this gateway, of the last hour, by whole minutes of the clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from spillway.api.v1alpha1 import ServedTokens
from spillway.routing.messages import Record
from spillway.routing.outcomes import Place

_MINUTE_SECONDS: Final = 60
_HOUR_SECONDS: Final = 3600


@dataclass(slots=True)
class _Minute:
    at: int
    requests: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    completion_tokens: int = 0


class ServedHour:
    """Counts by the minute, so that what is told of it changes once a minute and not with each request."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._began = now().timestamp()
        self._minutes: deque[_Minute] = deque()

    def ended(self, record: Record) -> None:
        """Take in what a request came to, if a replica served it and reported its tokens."""
        usage = record.usage
        if record.place is not Place.LOCAL or usage is None:
            return
        at = int(self._now().timestamp()) // _MINUTE_SECONDS
        if not self._minutes or self._minutes[-1].at < at:
            self._minutes.append(_Minute(at))
            self._forget_before(at - _HOUR_SECONDS // _MINUTE_SECONDS)
        minute = self._minutes[-1]
        minute.requests += 1
        minute.prompt_tokens += usage.prompt_tokens
        minute.cached_prompt_tokens += usage.cached_prompt_tokens or 0
        minute.completion_tokens += usage.completion_tokens

    def report(self) -> ServedTokens | None:
        """What the last hour's whole minutes had; None while they had nothing, or there was none yet."""
        now = int(self._now().timestamp()) // _MINUTE_SECONDS
        self._forget_before(now - _HOUR_SECONDS // _MINUTE_SECONDS)
        whole = [minute for minute in self._minutes if minute.at < now]
        seconds = min(_HOUR_SECONDS, int(now * _MINUTE_SECONDS - self._began))
        if not whole or seconds < _MINUTE_SECONDS:
            return None
        return ServedTokens(
            requests=sum(minute.requests for minute in whole),
            prompt_tokens=sum(minute.prompt_tokens for minute in whole),
            cached_prompt_tokens=sum(minute.cached_prompt_tokens for minute in whole),
            completion_tokens=sum(minute.completion_tokens for minute in whole),
            seconds=seconds,
            until=datetime.fromtimestamp(now * _MINUTE_SECONDS, UTC),
        )

    def _forget_before(self, minute: int) -> None:
        while self._minutes and self._minutes[0].at < minute:
            self._minutes.popleft()
