"""Reading the cluster: everything that a pass over one object needs, from its own reads or from one LIST of all.

Events are only triggers. What a pass believes is what it reads itself, by labelled LISTs, because watches lose
deletions when they break. A pass over all objects (at the start, and at each resync) shares one LIST per kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from spillway.controller.model import may_download
from spillway.controller.objects import (
    GATEWAY_NAME,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    MAY_LEAVE_LABEL,
    OWNER_LABEL,
    Key,
    Object,
    Ref,
    label_of,
    ref_of,
    text_at,
)
from spillway.controller.storage import StorageClasses, unbound_claim
from spillway.controller.surroundings import Surroundings

OWNED_KINDS = ("Deployment", "Service", "LLMLedger")
"""Kinds that are made for one LLMDeployment and carry its label."""
MODEL_KINDS = ("Job", "PersistentVolumeClaim")
"""More of them, only where a model is downloaded onto a claim: the others are not asked after."""
GATEWAY_KINDS = ("Deployment", "Service", "ServiceAccount", "RoleBinding", "NetworkPolicy", "PodDisruptionBudget")
"""Kinds that are made once for a namespace and carry the gateway's name as their instance."""
MANAGED_LABELS = {MANAGED_BY_LABEL: MANAGED_BY}
GATEWAY_LABELS = {**MANAGED_LABELS, "app.kubernetes.io/instance": GATEWAY_NAME}

# Two objects cost less by their own labels than all of a namespace do.
_WORTH_A_LIST = 3


class Reader(Protocol):
    """The reading half of `Cluster`."""

    async def get(self, ref: Ref) -> Object | None:
        """The object, None if there is none."""

    async def list(self, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None) -> Sequence[Object]:
        """All objects of the kind with these labels, in one namespace or in all."""

    async def list_owned(self, kinds: Sequence[str], namespace: str, labels: Mapping[str, str]) -> tuple[Object, ...]:
        """What carries these labels, of all these kinds."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What one pass over an LLMDeployment found; `body` is None when there is no such object any more."""

    body: Object | None
    children: tuple[Object, ...]
    pods: tuple[Object, ...]
    gateway: Object | None
    ceiling: str | None
    storage_classes: StorageClasses | None = None
    """The cluster's, while a claim among the children waits for its volume; None: not asked, or no right to."""

    def child(self, kind: str, name: str) -> Object | None:
        """The child of that kind and name, None if there is none."""
        return next((child for child in self.children if ref_of(child)[::2] == (kind, name)), None)


def owned_by(key: Key) -> dict[str, str]:
    """The labels of what is made for one LLMDeployment."""
    return {**MANAGED_LABELS, OWNER_LABEL: key.name}


async def observe(cluster: Reader, surroundings: Surroundings, key: Key) -> Observed:
    """What is there of one LLMDeployment now; all reads at the same time."""
    labels = owned_by(key)
    body, gateway, ceiling, pods, children = await asyncio.gather(
        cluster.get(Ref("LLMDeployment", key.namespace, key.name)),
        cluster.get(Ref("Deployment", key.namespace, GATEWAY_NAME)),
        surroundings.ceiling(key.namespace),
        cluster.list("Pod", key.namespace, labels),
        cluster.list_owned(OWNED_KINDS, key.namespace, labels),
    )
    if may_download(body):
        children += await cluster.list_owned(MODEL_KINDS, key.namespace, labels)
    classes = await surroundings.storage_classes() if unbound_claim(children) is not None else None
    return Observed(body, children, tuple(pods), gateway, ceiling, classes)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Who asks of one namespace, and what will be found; without a key in it each reads for itself."""

    found: asyncio.Future[Mapping[Key, Observed]]
    keys: set[Key]


class Observer:
    """`observe`, with one LIST per kind for all objects of a namespace whose passes are due at the same time.

    While the reads of a namespace are under way, who asks for more of it waits and is then served by common ones: what
    is believed is never older than the question.
    """

    def __init__(self, cluster: Reader, surroundings: Surroundings) -> None:
        self._cluster = cluster
        self._surroundings = surroundings
        self._waiting: dict[str, _Batch] = {}
        self._busy: dict[str, asyncio.Lock] = {}

    async def observe(self, key: Key) -> Observed:
        """What is there of one LLMDeployment now.

        Raises:
            ClusterError: the API server did not do its part.
        """
        batch = self._waiting.get(key.namespace)
        if batch is not None:
            batch.keys.add(key)
            # one who is cancelled must not take the answer from the others
            found = (await asyncio.shield(batch.found)).get(key)
            return found if found is not None else await observe(self._cluster, self._surroundings, key)
        batch = self._waiting[key.namespace] = _Batch(asyncio.get_running_loop().create_future(), {key})
        try:
            async with self._busy.setdefault(key.namespace, asyncio.Lock()):
                del self._waiting[key.namespace]
                answer = await self._read(key.namespace, batch.keys)
            batch.found.set_result(answer)
            return answer[key]
        finally:
            if self._waiting.get(key.namespace) is batch:
                del self._waiting[key.namespace]
            if not batch.found.done():
                batch.found.set_result({})  # the others read for themselves, and learn of their own errors

    async def _read(self, namespace: str, keys: Collection[Key]) -> Mapping[Key, Observed]:
        if len(keys) < _WORTH_A_LIST:
            reads = (observe(self._cluster, self._surroundings, key) for key in keys)
            return dict(zip(keys, await asyncio.gather(*reads), strict=True))
        snapshot = await observe_all(self._cluster, self._surroundings, (namespace,))
        nothing = Observed(None, (), (), None, None)
        return {key: snapshot.take(key) or nothing for key in keys}


class Snapshot:
    """All objects at one moment, to be used up once each; what has changed since is forgotten and read anew."""

    def __init__(
        self, observed: Mapping[Key, Observed], versions: Mapping[str, str], namespaces: frozenset[str] = frozenset()
    ) -> None:
        self._observed = dict(observed)
        self._versions = dict(versions)
        self.namespaces = namespaces
        """Where there is an LLMDeployment, or a gateway that has lost its last one."""

    @property
    def keys(self) -> tuple[Key, ...]:
        """The LLMDeployments that have not been used up or forgotten yet."""
        return tuple(self._observed)

    def take(self, key: Key) -> Observed | None:
        """What was found of the object, once; None afterwards."""
        return self._observed.pop(key, None)

    def forget(self, key: Key) -> None:
        """Let the next pass over this object read for itself."""
        self._observed.pop(key, None)

    def has(self, body: Mapping[str, object]) -> bool:
        """Whether this very version of an object was part of the snapshot."""
        uid, version = text_at(body, "metadata", "uid"), text_at(body, "metadata", "resourceVersion")
        return bool(version) and self._versions.get(uid) == version


async def observe_all(cluster: Reader, surroundings: Surroundings, namespaces: Sequence[str]) -> Snapshot:
    """What is there of every LLMDeployment in these namespaces (none: all), by one LIST for each kind and namespace."""
    scopes = tuple(namespaces) or ("",)
    # children before objects: what an object made in between would otherwise look as if it had lost them
    owned, pods, ceilings = await asyncio.gather(
        _list_all(cluster, (*OWNED_KINDS, *MODEL_KINDS), scopes),
        _list_all(cluster, ("Pod",), scopes),
        _ceilings(cluster, surroundings, namespaces),
    )
    bodies = await _list_all(cluster, ("LLMDeployment",), scopes, labels=None)
    classes = await surroundings.storage_classes() if unbound_claim(owned) is not None else None
    children_of, pods_of = _by_owner(owned), _by_owner(pods)
    gateways = {
        ref.namespace: obj for obj in owned if (ref := ref_of(obj)).name == GATEWAY_NAME and ref.kind == "Deployment"
    }
    observed = {
        key: Observed(
            body,
            tuple(children_of.get(key, ())),
            tuple(pods_of.get(key, ())),
            gateways.get(key.namespace),
            ceilings.get(key.namespace),
            classes,
        )
        for body in bodies
        for key in [Key(text_at(body, "metadata", "namespace"), text_at(body, "metadata", "name"))]
    }
    versions = {
        text_at(obj, "metadata", "uid"): text_at(obj, "metadata", "resourceVersion") for obj in (*bodies, *owned, *pods)
    }
    return Snapshot(observed, versions, frozenset({key.namespace for key in observed} | gateways.keys()))


async def _list_all(
    cluster: Reader, kinds: Sequence[str], scopes: Sequence[str], labels: Mapping[str, str] | None = MANAGED_LABELS
) -> list[Object]:
    lists = await asyncio.gather(*(cluster.list(kind, scope, labels) for kind in kinds for scope in scopes))
    return [obj for objects in lists for obj in objects]


async def _ceilings(cluster: Reader, surroundings: Surroundings, namespaces: Sequence[str]) -> dict[str, str | None]:
    if namespaces:
        found = await asyncio.gather(*(surroundings.ceiling(namespace) for namespace in namespaces))
        return dict(zip(namespaces, found, strict=True))
    return {ref_of(obj).name: label_of(obj, MAY_LEAVE_LABEL) for obj in await cluster.list("Namespace")}


def _by_owner(objects: Sequence[Object]) -> dict[Key, list[Object]]:
    owned: dict[Key, list[Object]] = {}
    for obj in objects:
        owner = label_of(obj, OWNER_LABEL)
        if owner is not None:
            owned.setdefault(Key(ref_of(obj).namespace, owner), []).append(obj)
    return owned
