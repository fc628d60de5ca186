"""The two recipes: one LLMDeployment, and what those of a namespace share. Each reads, decides, writes what differs."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from spillway.api.v1alpha1 import API_VERSION, DataClass, LLMDeploymentStatus, LLMLedger
from spillway.controller.conditions import ConditionType, find
from spillway.controller.desire import Desired, Desires, Policy, previous_status, readable
from spillway.controller.events import events_of
from spillway.controller.model import is_of_component
from spillway.controller.objects import (
    FIELD_MANAGER,
    GATEWAY_NAME,
    Key,
    Object,
    Ref,
    at,
    ref_of,
    text_at,
)
from spillway.controller.observe import (
    GATEWAY_KINDS,
    GATEWAY_LABELS,
    Observed,
    Observer,
    Reader,
    Snapshot,
)
from spillway.controller.projection import difference
from spillway.controller.status import Facts, route_ready, status_of
from spillway.controller.storage import with_storage
from spillway.controller.surroundings import Surroundings
from spillway.controller.workload import pods_of, workload_of
from spillway.errors import ClusterError, Forbidden, Invalid, NotFound
from spillway.render import render_namespace

logger = structlog.get_logger()

Clock = Callable[[], dt.datetime]

# What takes minutes to be of use once it is applied; everything else is needed only then.
_SLOW_TO_START = frozenset({"Deployment", "Job", "PersistentVolumeClaim"})


class Writer(Protocol):
    """The writing half of `Cluster`."""

    async def apply(self, obj: Mapping[str, object]) -> Object:
        """Make the object what is said here; what it is then."""

    async def apply_status(self, obj: Mapping[str, object]) -> Object:
        """Make the object's status what is said here; what the object is then."""

    async def create(self, obj: Mapping[str, object]) -> Object:
        """Create the object; what it is then."""

    async def delete(self, ref: Ref, uid: str = "") -> None:
        """Delete the object; gone already is fine."""


class ReaderAndWriter(Reader, Writer, Protocol):
    """What the recipes need of a cluster."""


@dataclass(slots=True)
class _Gateway:
    """To what a namespace's gateway was brought, and what is there of it; `desired` is None before that is done."""

    desired: tuple[Object, ...] | None = None
    found: tuple[Object, ...] = ()


class Reconciler:
    """Carries out the recipes on one cluster; what it remembers between passes only saves work."""

    def __init__(self, cluster: ReaderAndWriter, policy: Policy, clock: Clock, surroundings: Surroundings) -> None:
        self._cluster = cluster
        self._surroundings = surroundings
        self._policy = policy
        self._clock = clock
        self._desires = Desires(policy)
        self._observer = Observer(cluster, surroundings)
        self._written: dict[str, str] = {}
        self._new: dict[Key, Object] = {}
        self._gateways: dict[str, _Gateway] = {}
        self.snapshot = Snapshot({}, {})

    def announce(self, key: Key, body: Object | None) -> None:
        """Say that an LLMDeployment is `body` and has no children yet; None: whatever was said holds no more."""
        if body is None:
            self._new.pop(key, None)
        else:
            self._new[key] = body

    def has_seen(self, body: Mapping[str, object]) -> bool:
        """Whether this very version of an object was read by the last look at all of them, or written by us."""
        uid = text_at(body, "metadata", "uid")
        return self.snapshot.has(body) or self._written.get(uid) == text_at(body, "metadata", "resourceVersion") != ""

    def forget(self, body: Mapping[str, object]) -> None:
        """An object is gone."""
        self._written.pop(text_at(body, "metadata", "uid"), None)

    def forget_gateway(self, namespace: str) -> None:
        """Something of a namespace's gateway may be other than we left it: the next pass looks.

        Whatever a pass that is under way finds is forgotten with it: it may have looked too early.
        """
        self._gateways.pop(namespace, None)

    async def reconcile(self, key: Key) -> bool:
        """Bring one LLMDeployment's children and status to what its spec says; nothing is written when nothing differs.

        Returns whether that is done; of an object that was announced as new only what is slow is started, and the rest
        is left to the next pass, which finds what has become of that by then.

        Raises:
            ClusterError: the API server did not do its part; the pass is worth another try.
        """
        new = self._new.pop(key, None)
        if new is not None and await self._start(new):
            return False
        await self._reconcile(key)
        return True

    async def _start(self, body: Object) -> bool:
        """Apply what is slow of an object that has no children yet, without looking; whether all of it was accepted."""
        desired = self._desires.of(body, None)
        _, refusal = await self._apply_all([obj for obj in desired.children if obj["kind"] in _SLOW_TO_START], ())
        return desired.problem is None and refusal is None

    async def _reconcile(self, key: Key) -> None:
        shared = self.snapshot.take(key)
        if shared is not None and self._is_settled(key, shared):
            return
        # a snapshot may be seconds old: it may prove that nothing is to be done, but what is done rests on fresh reads
        observed = await self._observer.observe(key)
        if observed.body is None or at(observed.body, "metadata", "deletionTimestamp") is not None:
            return  # its children go by their ownerReferences
        desired = self._desires.of(observed.body, observed.ceiling, observed.children, observed.pods)
        children, refusal = await self._apply_all(desired.children, observed.children)
        if desired.problem is None and refusal is None:
            await self._prune(desired.children, observed.children, desired.kept)
        status = status_of(_facts(key, observed, desired, children, refusal), self._clock())
        await self._write_status(observed.body, status)
        if refusal is not None:
            raise refusal

    async def reconcile_namespace(self, namespace: str) -> tuple[Key, ...]:
        """Bring the gateway that a namespace's LLMDeployments share to what they need; the last one takes it along.

        Most of what happens to objects changes nothing of it: then it is not read again, unless it was to be forgotten.
        Returns the objects whose status says something else of the gateway than is true now.

        Raises:
            ClusterError: as `reconcile` does.
        """
        known = self._gateways.setdefault(namespace, _Gateway())
        bodies, ceiling, servers = await asyncio.gather(
            self._cluster.list("LLMDeployment", namespace),
            self._surroundings.ceiling(namespace),
            self._surroundings.api_servers(),
        )
        wanted = [body for body in bodies if at(body, "metadata", "deletionTimestamp") is None]
        deployments = readable(wanted)
        if wanted and not deployments:
            return ()  # whatever they need of a gateway cannot be read: what is there stays as it is
        desired = render_namespace(namespace, deployments, self._policy.render, servers)
        if known.desired != desired:
            known.desired = None  # a pass that fails half way leaves neither
            known.found = await self._bring_gateway(namespace, desired)
            known.desired = desired
        return _misinformed(wanted, known.found, self._policy.may_leave(deployments, ceiling))

    async def _bring_gateway(self, namespace: str, desired: tuple[Object, ...]) -> tuple[Object, ...]:
        observed = await self._cluster.list_owned(GATEWAY_KINDS, namespace, GATEWAY_LABELS)
        shared, refusal = await self._apply_all(desired, observed)
        if refusal is not None:
            raise refusal
        await self._prune(desired, observed)
        return shared

    def _is_settled(self, key: Key, observed: Observed) -> bool:
        """Whether a pass that found this would write nothing."""
        if observed.body is None:
            return True
        desired = self._desires.of(observed.body, observed.ceiling, observed.children, observed.pods)
        live = {ref_of(child): child for child in observed.children}
        wanted = {ref_of(child): child for child in desired.children}
        if desired.problem is None and wanted.keys() | (desired.kept & live.keys()) != live.keys():
            return False
        if any(difference(child, live[ref], manager=FIELD_MANAGER) for ref, child in wanted.items()):
            return False
        status = status_of(_facts(key, observed, desired, observed.children, None), self._clock())
        return _status_difference(_status_object(observed.body, status), observed.body) is None

    async def _apply_all(
        self, desired: Sequence[Object], observed: Sequence[Object]
    ) -> tuple[tuple[Object, ...], Invalid | Forbidden | None]:
        """Apply what differs, all at the same time; what exists then, and the first refusal.

        A refusal is the API server's answer to an object of ours, such as a quota; any other error is raised.
        """
        live = {ref_of(obj): obj for obj in observed}
        answers = await asyncio.gather(
            *(self._apply_one(obj, live.get(ref_of(obj))) for obj in desired), return_exceptions=True
        )
        refusal: Invalid | Forbidden | None = None
        for answer in answers:
            if isinstance(answer, Invalid | Forbidden):
                refusal = refusal or answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                live[ref_of(answer)] = answer
        return tuple(live.values()), refusal

    async def _apply_one(self, desired: Object, live: Object | None) -> Object:
        if live is not None:
            path = difference(desired, live, manager=FIELD_MANAGER)
            if path is None:
                return live
            logger.debug("object differs", object=str(ref_of(desired)), field=path)
        applied = await self._cluster.apply(desired)
        self._written[text_at(applied, "metadata", "uid")] = text_at(applied, "metadata", "resourceVersion")
        return applied

    async def _prune(
        self, desired: Sequence[Object], observed: Sequence[Object], kept: frozenset[Ref] = frozenset()
    ) -> None:
        wanted = {ref_of(obj) for obj in desired} | kept
        for obj in observed:
            if ref_of(obj) not in wanted:
                logger.info("deleting what is no longer wanted", object=str(ref_of(obj)))
                await self._cluster.delete(ref_of(obj), text_at(obj, "metadata", "uid"))

    async def _write_status(self, body: Object, status: LLMDeploymentStatus) -> None:
        desired = _status_object(body, status)
        path = _status_difference(desired, body)
        if path is None:
            return
        ref = ref_of(body)
        logger.debug("status differs", object=str(ref), field=path)
        try:
            await self._cluster.apply_status(desired)
        except NotFound:
            return  # deleted meanwhile
        for event in events_of(body, previous_status(body), status, self._clock()):
            logger.info("told", object=str(ref), reason=event["reason"], message=event["message"])
            await self._say(event)

    async def _say(self, event: Object) -> None:
        """Create an Event; it is news for people, so a pass does not fail by it."""
        try:
            await self._cluster.create(event)
        except ClusterError as error:
            logger.warning("event not recorded", error=str(error))


def _status_object(body: Object, status: LLMDeploymentStatus) -> Object:
    """What is applied; with the uid, so that it never lands on another object that has taken the name."""
    ref = ref_of(body)
    return {
        "apiVersion": API_VERSION,
        "kind": "LLMDeployment",
        "metadata": {"name": ref.name, "namespace": ref.namespace, "uid": text_at(body, "metadata", "uid")},
        "status": status.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def _status_difference(desired: Object, body: Object) -> str | None:
    return difference(desired, body, manager=FIELD_MANAGER, subresource="status")


def _facts(
    key: Key, observed: Observed, desired: Desired, children: Sequence[Object], refusal: Invalid | Forbidden | None
) -> Facts:
    found = {ref_of(child)[::2]: child for child in children}
    engine = found.get(("Deployment", f"{key.name}-engine"))
    ledger = found.get(("LLMLedger", key.name))
    generation = at(observed.body, "metadata", "generation")
    return Facts(
        key=key,
        generation=generation if isinstance(generation, int) else 0,
        previous=previous_status(observed.body or {}),
        deployment=desired.deployment,
        problem=desired.problem or refusal,
        warning=desired.warning,
        plan=desired.plan,
        sized=desired.sized,
        route=desired.route,
        engine=workload_of(engine),
        selector=_selector(at(engine, "spec", "selector", "matchLabels")),
        model=with_storage(desired.model, observed.children, observed.storage_classes),
        pods=pods_of([pod for pod in observed.pods if not is_of_component(pod, "model")]),
        gateway=workload_of(observed.gateway),
        ledger=_ledger(ledger),
    )


def _selector(labels: object) -> str | None:
    if not isinstance(labels, Mapping):
        return None
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _ledger(body: Object | None) -> LLMLedger | None:
    """The ledger; one that cannot be read counts as none, so that no money is taken to be there."""
    try:
        return LLMLedger.model_validate(body) if body else None
    except ValueError:
        return None


def _misinformed(
    bodies: Sequence[Object], shared: Sequence[Object], may_leave: Mapping[str, tuple[DataClass, ...]]
) -> tuple[Key, ...]:
    """Objects whose status is wrong about the gateway, or about what the namespace lets leave (by object name)."""
    gateway = next((obj for obj in shared if ref_of(obj)[::2] == ("Deployment", GATEWAY_NAME)), None)
    truth = route_ready(workload_of(gateway))
    keys = []
    for body in bodies:
        ref, told = ref_of(body), previous_status(body)
        route = find(told.conditions, ConditionType.ROUTE_READY)
        if route is None:
            continue  # its first pass is still to come
        effective = told.policy.may_leave if told.policy else ()
        is_true = (route.status, route.reason) == (truth.status, truth.reason)
        if not is_true or may_leave.get(ref.name, effective) != effective:
            keys.append(Key(ref.namespace, ref.name))
    return tuple(keys)
