"""What this gateway serves: LLMDeployments as routes, each with its desk, its replicas and its money."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import structlog
from pydantic import ValidationError

from spillway.api.v1alpha1 import LLMDeployment
from spillway.errors import InvalidObject
from spillway.gateway.desk import Desk
from spillway.gateway.ledger import Ledger
from spillway.gateway.observed import Observer
from spillway.routing.compile import CEILING_LABEL, closed, compile_route, most_that_leaves
from spillway.routing.facts import CompileSettings, Route

_log: Final = structlog.get_logger("spillway.gateway.routes")


@dataclass(slots=True)
class Served:
    """One model: who decides, who watches, who pays."""

    desk: Desk
    observer: Observer
    ledger: Ledger

    @property
    def route(self) -> Route:
        """The deployment as it is compiled now."""
        return self.desk.route


@dataclass(frozen=True, slots=True)
class Replicas:
    """A deployment's pods: the ready ones by name, with host:port, and how many exist that are not ready."""

    ready: Mapping[str, str]
    loading: int


NO_REPLICAS: Final = Replicas({}, 0)


class RouteTable:
    """Compiles objects one by one as they change. One that no longer compiles is served as it last did."""

    def __init__(
        self, settings: CompileSettings, serve: Callable[[Route], Served], retire: Callable[[Served], None]
    ) -> None:
        """`serve` makes what a new route needs; `retire` is told of one that is served no more."""
        self._settings = settings
        self._serve = serve
        self._retire = retire
        self._objects: dict[str, _Known] = {}
        self._served: dict[str, Served] = {}
        self._by_model: dict[str, Served] = {}
        self._replicas: Mapping[str, Replicas] = {}
        self._ceiling: str | None = None

    @property
    def served(self) -> Iterable[Served]:
        """Everything that is served, in the order of names."""
        return [self._served[name] for name in sorted(self._served)]

    def find(self, model: str) -> Served | None:
        """Who serves `model`, or None."""
        return self._by_model.get(model)

    def models(self) -> list[Route]:
        """The routes by model name."""
        return [self._by_model[model].route for model in sorted(self._by_model)]

    def set_namespace_labels(self, labels: Mapping[str, str]) -> None:
        """Take in the namespace's labels: its ceiling holds for every object in it."""
        ceiling = labels.get(CEILING_LABEL)
        if ceiling != self._ceiling:
            self._ceiling = ceiling
            for known in self._objects.values():
                self._compile(known)
            self._index()

    def replace(self, manifests: Iterable[Mapping[str, object]]) -> None:
        """Take in all objects that there are: the result of a list."""
        listed = {_name(manifest): manifest for manifest in manifests}
        for name in set(self._objects) - set(listed):
            self._remove(name)
        for manifest in listed.values():
            self._apply(manifest)
        self._index()

    def apply(self, manifest: Mapping[str, object]) -> None:
        """Take in one object that is new or changed. Nothing is compiled when all that changed is what was observed."""
        if self._apply(manifest):
            self._index()

    def remove(self, name: str) -> None:
        """Serve an object no more; what is in flight ends as it began."""
        self._remove(name)
        self._index()

    def set_replicas(self, replicas: Mapping[str, Replicas]) -> None:
        """Take in the pods of every deployment by its name."""
        before, self._replicas = self._replicas, replicas
        for name, served in self._served.items():
            found = replicas.get(name, NO_REPLICAS)
            if found != before.get(name, NO_REPLICAS):
                served.desk.set_replicas(found.ready, found.loading)

    def _apply(self, manifest: Mapping[str, object]) -> bool:
        """Whether it was compiled."""
        name, served_from = _name(manifest), _what_counts(manifest)
        known = self._objects.get(name)
        if known is not None and known.served_from == served_from:
            return False
        self._objects[name] = known = _Known(name, manifest, served_from)
        self._compile(known)
        return True

    def _remove(self, name: str) -> None:
        self._objects.pop(name, None)
        served = self._served.pop(name, None)
        if served is not None:
            self._end(served)

    def _end(self, served: Served) -> None:
        """What was dispatched ends as it began; what was not does not leave any more."""
        served.desk.route = closed(served.route)
        self._retire(served)

    def _compile(self, known: _Known) -> None:
        name, served = known.name, self._served.get(known.name)
        try:
            route = compile_route(known.deployment, self._ceiling, self._settings)
        except (ValidationError, InvalidObject, ValueError) as problem:
            _log.warning("an object does not compile and is served as it last did", name=name, problem=str(problem))
            if served is not None:
                served.observer.route_problem = str(problem)
                self._keep_below_ceiling(served)
            return
        if served is not None and served.route.uid != route.uid:
            self._end(served)  # deleted and made anew under the same name: another object, another ledger
            served = None
        if served is None:
            served = self._served[name] = self._serve(route)
            replicas = self._replicas.get(name, NO_REPLICAS)
            served.desk.set_replicas(replicas.ready, replicas.loading)
        elif served.route != route:
            served.desk.route = route
        served.observer.route_problem = None

    def _keep_below_ceiling(self, served: Served) -> None:
        may_leave = served.route.may_leave & most_that_leaves(self._ceiling, self._settings.unlabelled_may_leave)
        if may_leave != served.route.may_leave:
            served.desk.route = replace(served.route, may_leave=may_leave)

    def _index(self) -> None:
        # Two objects may claim one model name; the first by name has it, so that every gateway agrees.
        self._by_model = {}
        for name in sorted(self._served):
            self._by_model.setdefault(self._served[name].route.model_name, self._served[name])


class _Known:
    """One object as it was last seen: `served_from` is the part of it that routes are made of."""

    def __init__(self, name: str, manifest: Mapping[str, object], served_from: object) -> None:
        self.name = name
        self.served_from = served_from
        self._manifest = manifest

    @cached_property
    def deployment(self) -> LLMDeployment:
        """The object, read once for all ceilings. Raises ValidationError."""
        return LLMDeployment.model_validate(self._manifest)


def _what_counts(manifest: Mapping[str, object]) -> object:
    """What the route of an object depends on. Most of its status is not: that changes every second while it spends."""
    metadata, status = manifest.get("metadata"), manifest.get("status")
    identity = metadata.get("uid") if isinstance(metadata, dict) else None
    return identity, manifest.get("spec"), status.get("plan") if isinstance(status, dict) else None


def _name(manifest: Mapping[str, object]) -> str:
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""
