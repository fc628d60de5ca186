"""New objects go first: an engine takes minutes to load, and whatever else a pass does can wait a moment for it.

While objects pour in, passes that only follow up (the rest of the children, status, the gateway) wait until none has
come for a moment. Else each of them would take its time from the next object's start.
"""

from __future__ import annotations

from collections.abc import Callable

from spillway.controller.objects import Key

QUIET_SECONDS = 0.1
"""How long the others wait after a new object that came alone."""
BURST_SECONDS = 0.5
"""How long they wait in a burst, in which the next may be late for all the work that its forerunners made."""
BURST_GAP_SECONDS = 0.25
"""New objects that come closer to each other than this are a burst."""
LONGEST_WAIT_SECONDS = 5.0
"""A stream of new objects that never ends must not keep the others from their status."""


class Births:
    """Which new objects are not started yet, and when the last one came; `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: set[Key] = set()
        self._begun: float | None = None
        self._last = 0.0
        self._quiet_seconds = QUIET_SECONDS

    def came(self, key: Key) -> None:
        """A new object is there."""
        now = self._clock()
        if self._begun is None or not self._is_on(now):
            self._begun = now
        self._quiet_seconds = BURST_SECONDS if now - self._last < BURST_GAP_SECONDS else QUIET_SECONDS
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
        until_quiet = self._last + self._quiet_seconds - now if not self._open else self._quiet_seconds
        return max(0.0, min(until_quiet, self._begun + LONGEST_WAIT_SECONDS - now))

    def _is_on(self, now: float) -> bool:
        return bool(self._open) or now - self._last < self._quiet_seconds
