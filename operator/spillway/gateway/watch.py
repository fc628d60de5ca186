"""What the gateway watches: LLMDeployments, engine pods, its namespace. What is known stays during an outage."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from spillway.api.v1alpha1 import API_VERSION
from spillway.errors import ClusterError, WatchExpired
from spillway.gateway.kube import Json, KubeClient
from spillway.gateway.routes import Replicas, RouteTable
from spillway.routing.compile import CEILING_LABEL

ENGINE_PODS: Final = "app.kubernetes.io/managed-by=spillway,app.kubernetes.io/component=engine"
DEPLOYMENT_LABEL: Final = "spillway.dev/deployment"
NAMESPACE_EVERY_SECONDS: Final = 5.0
"""Its role lets a gateway read its own namespace, not watch it: a watch is a right over all namespaces."""
BACKOFF_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

_log: Final = structlog.get_logger("spillway.gateway.watch")


class Sink(Protocol):
    """Where objects go."""

    def replace(self, objects: Iterable[Json]) -> None:
        """All that there are."""
        ...

    def apply(self, obj: Json) -> None:
        """One that is new or changed."""
        ...

    def remove(self, name: str) -> None:
        """One that is gone."""
        ...


class PodSink:
    """Engine pods, as replicas of their deployments."""

    def __init__(self, table: RouteTable) -> None:
        self._table = table
        self._pods: dict[str, Json] = {}

    def replace(self, objects: Iterable[Json]) -> None:
        """All pods that there are."""
        self._pods = {name_of(pod): pod for pod in objects}
        self._table.set_replicas(replicas_of(self._pods.values()))

    def apply(self, obj: Json) -> None:
        """One pod that is new or changed."""
        self._pods[name_of(obj)] = obj
        self._table.set_replicas(replicas_of(self._pods.values()))

    def remove(self, name: str) -> None:
        """One pod that is gone."""
        self._pods.pop(name, None)
        self._table.set_replicas(replicas_of(self._pods.values()))


@dataclass(slots=True)
class _Tally:
    ready: dict[str, str] = field(default_factory=dict)
    loading: int = 0


def replicas_of(pods: Iterable[Json]) -> dict[str, Replicas]:
    """Pods as replicas by deployment: ready with an address, or on their way; those that end are neither."""
    tallies: dict[str, _Tally] = {}
    for pod in pods:
        metadata, status = _part(pod, "metadata"), _part(pod, "status")
        deployment = _part(metadata, "labels").get(DEPLOYMENT_LABEL)
        if not isinstance(deployment, str):
            continue
        tally = tallies.setdefault(deployment, _Tally())
        if "deletionTimestamp" in metadata or status.get("phase") in {"Failed", "Succeeded"}:
            continue
        address = address_of(pod, "http")
        if address is not None and _is_ready(status):
            tally.ready[name_of(pod)] = address
        else:
            tally.loading += 1
    return {name: Replicas(tally.ready, tally.loading) for name, tally in tallies.items()}


async def follow(client: KubeClient, path: str, sink: Sink, synced: Callable[[], None], **query: str) -> None:
    """List and watch `path` for ever; `synced` is called after each list. An outage leaves the sink as it is."""
    failures = 0
    while True:
        try:
            listed = await client.get(path, **query)
            sink.replace([_typed(item, listed) for item in _items(listed)])
            synced()
            failures = 0
            version = str(_part(listed, "metadata").get("resourceVersion", ""))
            await _watch(client, path, sink, version, query)
        except WatchExpired:
            continue
        except ClusterError as problem:
            pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
            failures += 1
            _log.warning("the API server is away; serving what is known", path=path, problem=str(problem))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))


async def follow_namespace(client: KubeClient, namespace: str, table: RouteTable, synced: Callable[[], None]) -> None:
    """Keep the namespace's labels current. Until they were read once nothing leaves: they may forbid it.

    A slow answer puts the next look off by nothing: what the labels forbid is to be known as early as can be.
    """
    table.set_namespace_labels({CEILING_LABEL: "None"})
    clock = asyncio.get_running_loop().time
    while True:
        begun = clock()
        try:
            found = await client.get(f"/api/v1/namespaces/{namespace}")
        except ClusterError as problem:
            _log.warning("the namespace's labels cannot be read", namespace=namespace, problem=str(problem))
        else:
            labels = _part(_part(found, "metadata"), "labels")
            table.set_namespace_labels({key: str(value) for key, value in labels.items()})
            synced()
        await asyncio.sleep(max(0.0, begun + NAMESPACE_EVERY_SECONDS * random.uniform(0.8, 1.0) - clock()))


def deployments_path(namespace: str) -> str:
    """Where a namespace's LLMDeployments are."""
    return f"/apis/{API_VERSION}/namespaces/{namespace}/llmdeployments"


def pods_path(namespace: str) -> str:
    """Where a namespace's pods are."""
    return f"/api/v1/namespaces/{namespace}/pods"


def name_of(obj: Json) -> str:
    """metadata.name."""
    return str(_part(obj, "metadata").get("name", ""))


async def _watch(client: KubeClient, path: str, sink: Sink, version: str, query: dict[str, str]) -> None:
    """Watch from `version` on, again and again, until the API server wants a list or is away."""
    while True:
        async for event in client.watch(path, version, **query):
            obj = _part(event, "object")
            version = str(_part(obj, "metadata").get("resourceVersion", version))
            match event.get("type"):
                case "ADDED" | "MODIFIED":
                    sink.apply(obj)
                case "DELETED":
                    sink.remove(name_of(obj))
                case _:
                    pass  # a bookmark: only the version


def _typed(item: Json, listed: Json) -> Json:
    """Items of a list do not say what they are; those of a watch do."""
    kind = str(listed.get("kind", "")).removesuffix("List")
    return {"apiVersion": listed.get("apiVersion"), "kind": kind, **item}


def _items(listed: Json) -> list[Json]:
    items = listed.get("items")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _part(obj: Json, key: str) -> Json:
    part = obj.get(key)
    return part if isinstance(part, dict) else {}


def _list(obj: Json, key: str) -> list[Json]:
    part = obj.get(key)
    return [item for item in part if isinstance(item, dict)] if isinstance(part, list) else []


def _is_ready(status: Json) -> bool:
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in _list(status, "conditions"))


def address_of(pod: Json, port_name: str) -> str | None:
    """The pod's IP and the port of that name, as host:port; None while it has none."""
    address = _part(pod, "status").get("podIP")
    ports = [
        port.get("containerPort")
        for container in _list(_part(pod, "spec"), "containers")
        for port in _list(container, "ports")
        if port.get("name") == port_name
    ]
    if not isinstance(address, str) or not address or not ports:
        return None
    return f"[{address}]:{ports[0]}" if ":" in address else f"{address}:{ports[0]}"
