"""The targets of one deployment as its pool sees them: how many requests each has open, and which are left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from spillway.routing import health as breaker
from spillway.routing.facts import Target
from spillway.routing.health import HEALTHY, LOST, Health, Trouble


class Targets:
    """Told what requests do at targets; asked which takes one more. `jitter` draws from 0 to 1."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._open: Counter[str] = Counter()
        self._health: dict[str, Health] = {}
        self._served: set[str] = set()
        self._troubles: dict[str, Trouble] = {}
        self._known: Mapping[str, Target] = {}
        self._credentials: dict[str, object] = {}
        self._now = 0.0

    def replace(self, targets: Iterable[Target]) -> None:
        """Take in the targets as they are compiled now: one that changed is as good as new."""
        known = {target.name: target for target in targets}
        self._health = {name: health for name, health in self._health.items() if known.get(name) == self._known[name]}
        self._known = known

    def has_credential(self, name: str, version: object) -> None:
        """Take in which key and CA bundle there are for a target: a renewed one is tried at once."""
        if self._credentials.setdefault(name, version) != version:
            self._credentials[name] = version
            self._health.pop(name, None)

    def advance(self, now: float) -> None:
        """Say what time it is, in seconds that only grow."""
        self._now = now

    def takes(self, target: Target) -> bool:
        """Whether `target` takes one more request now."""
        return self._open[target.name] < target.max_concurrent_requests and self.health(target.name).takes(self._now)

    def are_shut(self, names: Iterable[str]) -> bool:
        """Whether all of `names` are left alone after failures, none just for having its requests full."""
        return all(self.health(name).shut_until is not None for name in names)

    def health(self, name: str) -> Health:
        """What is remembered of a target."""
        return self._health.get(name, HEALTHY)

    def wakes(self) -> Iterator[float]:
        """When targets that are shut may be tried."""
        return (health.shut_until for health in self._health.values() if health.shut_until is not None)

    def occupy(self, request_id: str, name: str) -> None:
        """A request goes there."""
        self._open[name] += 1
        self._set(name, breaker.began(self.health(name), request_id))

    def answered(self, request_id: str, name: str) -> None:
        """The first of its answer is here, or its refusal of what the request itself asked."""
        self._served.add(request_id)
        self._set(name, breaker.answered(self.health(name), request_id))

    def refused(self, request_id: str, trouble: Trouble) -> None:
        """Why the request is about to be vacated with trouble, for who knows more than that it failed."""
        self._troubles[request_id] = trouble

    def vacate(self, request_id: str, name: str, now: float, *, trouble: bool) -> None:
        """It is done there; with `trouble` the target failed it."""
        self._now = now
        self._open[name] -= 1
        served = request_id in self._served
        self._served.discard(request_id)
        told = self._troubles.pop(request_id, LOST)
        if trouble:
            self._set(name, breaker.failed(self.health(name), request_id, told, self._now, self._jitter()))
        else:
            self._set(name, breaker.ended(self.health(name), request_id, served=served))

    def _set(self, name: str, health: Health) -> None:
        if name not in self._known:
            return  # it is served no more; what is still under way there says nothing to anyone
        if health == HEALTHY:
            self._health.pop(name, None)
        else:
            self._health[name] = health
