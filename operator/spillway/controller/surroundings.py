"""What lies around the objects and rarely changes: a namespace's ceiling, and where the API servers listen.

Each is remembered for moments, so that the passes of a burst do not all ask again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from spillway.controller.objects import MAY_LEAVE_LABEL, Object, Ref, at, label_of
from spillway.controller.storage import StorageClasses, storage_classes
from spillway.errors import Forbidden
from spillway.render import ApiServer

REMEMBERED_SECONDS: Final = 2.0
_NOTHING_MAY_LEAVE: Final = "None"


class Getter(Protocol):
    """The part of a cluster that is needed here."""

    async def get(self, ref: Ref) -> Object | None:
        """The object, None if there is none."""

    async def list(self, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None) -> Sequence[Object]:
        """All objects of the kind."""


class Surroundings:
    """Reads of one cluster; `clock` counts seconds."""

    def __init__(self, cluster: Getter, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._ceilings: dict[str, tuple[float, str | None]] = {}
        self._servers: tuple[float, tuple[ApiServer, ...]] | None = None
        self._classes: tuple[float, StorageClasses | None] | None = None

    async def ceiling(self, namespace: str) -> str | None:
        """The namespace's label spillway.dev/may-leave, None without one; "None" when we have no right to read it."""
        known = self._ceilings.get(namespace)
        if known is None or self._is_old(known[0]):
            known = self._ceilings[namespace] = self._clock(), await self._read_ceiling(namespace)
        return known[1]

    async def api_servers(self) -> tuple[ApiServer, ...]:
        """Where the cluster's API servers listen; none when we have no right to read it, or nobody says."""
        if self._servers is None or self._is_old(self._servers[0]):
            self._servers = self._clock(), await self._read_servers()
        return self._servers[1]

    async def storage_classes(self) -> StorageClasses | None:
        """The cluster's storage classes; None when we have no right to read them."""
        if self._classes is None or self._is_old(self._classes[0]):
            self._classes = self._clock(), await self._read_classes()
        return self._classes[1]

    def forget(self, namespace: str) -> None:
        """The namespace has changed: ask again."""
        self._ceilings.pop(namespace, None)

    def _is_old(self, read: float) -> bool:
        return self._clock() - read > REMEMBERED_SECONDS

    async def _read_ceiling(self, namespace: str) -> str | None:
        try:
            found = await self._cluster.get(Ref("Namespace", "", namespace))
        except Forbidden:
            return _NOTHING_MAY_LEAVE
        return label_of(found, MAY_LEAVE_LABEL) if found is not None else None

    async def _read_servers(self) -> tuple[ApiServer, ...]:
        try:
            found = await self._cluster.get(Ref("EndpointSlice", "default", "kubernetes"))
        except Forbidden:
            return ()
        ports, endpoints = at(found, "ports"), at(found, "endpoints")
        numbers = [at(port, "port") for port in ports] if isinstance(ports, list) else []
        listed = [at(endpoint, "addresses") for endpoint in endpoints] if isinstance(endpoints, list) else []
        addresses = [address for some in listed if isinstance(some, list) for address in some]
        return tuple(
            sorted(ApiServer(str(address), port) for address in addresses for port in numbers if isinstance(port, int))
        )

    async def _read_classes(self) -> StorageClasses | None:
        try:
            found = await self._cluster.list("StorageClass")
        except Forbidden:
            return None
        return storage_classes(found)
