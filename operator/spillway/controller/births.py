"""New objects go first: an engine takes minutes to load, and whatever else a pass does can wait a moment for it.

While objects pour in, passes that only follow up (the rest of the children, status, the gateway) wait until none has
come for a moment. Else each of them would take its time from the next object's start.
"""

from __future__ import annotations

from collections.abc import Callable

from spillway.controller.objects import Key

QUIET_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 5.0
"""A stream of new objects that never ends must not keep the others from their status."""


class Births:
    """Which new objects are not started yet, and when the last one came; `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: set[Key] = set()
        self._begun: float | None = None
        self._last = 0.0

    def came(self, key: Key) -> None:
        """A new object is there."""
        now = self._clock()
        if self._begun is None or not self._is_on(now):
            self._begun = now
        self._last = now
        self._open.add(key)

    def over(self, key: Key) -> None:
        """It is started, or is no longer one that has nothing yet."""
        self._open.discard(key)

    def wait_seconds(self, key: Key | None = None) -> float:
        """How long a pass that is due should still wait before it asks again; 0: go. A new object's own never waits."""
        now = self._clock()
        if self._begun is None or key in self._open or not self._is_on(now):
            return 0.0
        until_quiet = self._last + QUIET_SECONDS - now if not self._open else QUIET_SECONDS
        return max(0.0, min(until_quiet, self._begun + LONGEST_WAIT_SECONDS - now))

    def _is_on(self, now: float) -> bool:
        return bool(self._open) or now - self._last < QUIET_SECONDS
