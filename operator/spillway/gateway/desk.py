"""One deployment as this gateway serves it: its route, its pool, and who waits for the pool's verdicts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Protocol

from spillway.routing.facts import Route
from spillway.routing.hold import Pool
from spillway.routing.verdicts import Verdict
from spillway.routing.waiting import Held


class Asker(Protocol):
    """Who waits for a verdict."""

    def decided(self, verdict: Verdict) -> None:
        """Carry the verdict out before this returns, so that the pool's next one knows of it."""
        ...

    def route_changed(self) -> None:
        """Ask again by the route as it is now, if that opens less or more."""
        ...


class Desk:
    """Hands the pool's verdicts out, one at a time, and wakes it when its time has come. `now` counts seconds."""

    def __init__(self, route: Route, now: Callable[[], float], gateway: str = "") -> None:
        """`gateway` is the name of this one among those that share the replicas."""
        self.pool = Pool(route, gateway, random.random)
        self.now = now
        self._addresses: dict[str, str] = {}
        self._askers: dict[str, Asker] = {}
        self._pumping = False
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def route(self) -> Route:
        """The deployment as it is compiled now."""
        return self.pool.route

    @route.setter
    def route(self, route: Route) -> None:
        self.pool.route = route
        self.pool.targets.replace(route.targets)
        for asker in tuple(self._askers.values()):
            asker.route_changed()
        self.pump()

    def address(self, replica: str) -> str | None:
        """host:port of a replica; None when its pod is gone."""
        return self._addresses.get(replica)

    def set_replicas(self, ready: Mapping[str, str], loading: int) -> None:
        """Take in the ready pods (name to host:port), and how many exist that are not ready."""
        self._addresses = dict(ready)
        self.pool.fleet.set_replicas(frozenset(ready), loading)
        self.pump()

    def ask(self, held: Held, asker: Asker) -> None:
        """Queue a question; its verdict comes with a later `pump`."""
        self._askers[held.request_id] = asker
        self.pool.ask(held)

    def withdraw(self, request_id: str) -> None:
        """Forget a question."""
        self._askers.pop(request_id, None)
        self.pool.withdraw(request_id)

    def pump(self) -> None:
        """Hand out all verdicts that can be given now, then set the alarm for the next moment one may fall due."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while (found := self.pool.next(now := self.now())) is not None:
                request_id, verdict = found
                self._askers.pop(request_id).decided(verdict)
        finally:
            self._pumping = False
        self._set_alarm(now)

    def _set_alarm(self, looked_at: float) -> None:
        """The next moment after the one at which nothing was to be said: one that passed since is not lost."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        moment = self.pool.next_wake(looked_at)
        if moment is not None:
            self._alarm = asyncio.get_running_loop().call_later(max(0.0, moment - self.now()), self.pump)
