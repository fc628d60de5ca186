"""The running operator: one cluster, two queues of passes, and what an event means for them. No kopf here."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping

import structlog

from spillway.controller.births import Births
from spillway.controller.cluster import Cluster
from spillway.controller.desire import Policy
from spillway.controller.objects import GATEWAY_NAME, OWNER_LABEL, Key, at, label_of, ref_of, text_at
from spillway.controller.observe import observe_all
from spillway.controller.reconcile import Reconciler
from spillway.controller.surroundings import Surroundings
from spillway.controller.workqueue import WorkQueue, retry_seconds
from spillway.errors import ClusterError, NotFound, SetupError, Unreachable
from spillway.settings import OperatorSettings

# Objects are applied in bursts, and each changes the credentials that their one gateway mounts.
NAMESPACE_DELAY_SECONDS = 0.2
# Kubernetes writes a new Deployment and its pods several times within moments.
CHILD_DELAY_SECONDS = 0.5
# The more an API server has to do, the more is gathered for one pass: they take at most a tenth of the time.
PAUSE_PER_PASS = 10.0
LONGEST_PAUSE_SECONDS = 5.0
# A gateway may write its ledger every second; status copies of it and need not be quicker than people read.
LEDGER_DELAY_SECONDS = 1.0
# With the queue's pauses about a minute; then the process ends and its pod's back-off takes over.
START_ATTEMPTS = 9

logger = structlog.get_logger()


class Operator:
    """Turns what happens in the cluster into passes. Start it once, inside the event loop; close it at the end."""

    def __init__(self, cluster: Cluster, policy: Policy, settings: OperatorSettings) -> None:
        self.cluster = cluster
        self._settings = settings
        clock = asyncio.get_running_loop().time
        self._surroundings = Surroundings(cluster, clock)
        self._reconciler = Reconciler(cluster, policy, lambda: dt.datetime.now(dt.UTC), self._surroundings)
        births = self._births = Births(clock)
        many = settings.concurrency
        self._objects: WorkQueue[Key] = WorkQueue("object", self._reconcile_object, many, births.wait_seconds)
        self._namespaces: WorkQueue[str] = WorkQueue(
            "namespace", self._reconcile_namespace, many, lambda _: births.wait_seconds()
        )
        self._namespace_seconds = 0.0
        self._ceilings: dict[str, str | None] = {}
        self._generations: dict[str, object] = {}
        self._resync: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look at everything once, and from then on every `resync_seconds`.

        Raises:
            SetupError: the CRDs are not installed.
            ClusterError: the cluster cannot be read, for a minute now if it did not answer.
        """
        try:
            await self._first_walk()
        except NotFound as error:
            raise SetupError(
                f"Spillway's CRDs are not installed: {error}; kubectl apply --server-side -f crds/"
            ) from error
        self._resync = asyncio.create_task(self._walk_for_ever(), name="resync")
        logger.info("operator watching")

    async def stop(self) -> None:
        """Stop all passes; one that is cut is begun anew by the next process."""
        if self._resync is not None:
            self._resync.cancel()
            await asyncio.gather(self._resync, return_exceptions=True)
        await asyncio.gather(self._objects.close(), self._namespaces.close())

    async def close(self) -> None:
        """Stop all passes and close the connections."""
        await self.stop()
        await self.cluster.close()

    @property
    def is_alive(self) -> bool:
        """Whether the resync still goes on; without it lost events would stay lost."""
        return self._resync is not None and not self._resync.done()

    async def walk(self) -> None:
        """Ask for a pass over every object and every namespace, all from one LIST per kind."""
        snapshot = await observe_all(self.cluster, self._surroundings, self._settings.namespaces)
        self._reconciler.snapshot = snapshot
        for key in snapshot.keys:
            self._objects.add(key)
        for namespace in snapshot.namespaces:
            self._reconciler.forget_gateway(namespace)
            self._namespaces.add(namespace)

    def object_seen(self, body: Mapping[str, object]) -> None:
        """An LLMDeployment was created, has changed, or was there already; status and metadata alone mean nothing."""
        ref, uid, generation = ref_of(body), text_at(body, "metadata", "uid"), at(body, "metadata", "generation")
        if self._generations.get(uid) == generation:
            return
        self._generations[uid] = generation
        if self._reconciler.has_seen(body):
            return
        key = Key(ref.namespace, ref.name)
        if _is_new(body):
            self._births.came(key)
            self._reconciler.announce(key, dict(body))
        else:
            self._births.over(key)
            self._reconciler.announce(key, None)
        self._want(key)
        self._want_namespace(ref.namespace)

    def object_deleted(self, body: Mapping[str, object]) -> None:
        """An LLMDeployment is gone: its children go by themselves, the gateway only if it was the last."""
        ref = ref_of(body)
        self._generations.pop(text_at(body, "metadata", "uid"), None)
        self._births.over(Key(ref.namespace, ref.name))
        self._reconciler.announce(Key(ref.namespace, ref.name), None)
        self._want_namespace(ref.namespace)

    def child_changed(self, body: Mapping[str, object], *, is_gone: bool) -> None:
        """Something that we made, or a pod of it, was created, changed or deleted."""
        if is_gone:
            self._reconciler.forget(body)
        elif self._reconciler.has_seen(body):
            return
        ref, owner = ref_of(body), label_of(body, OWNER_LABEL)
        if owner is not None:
            self._want(
                Key(ref.namespace, owner), LEDGER_DELAY_SECONDS if ref.kind == "LLMLedger" else CHILD_DELAY_SECONDS
            )
        elif ref.name == GATEWAY_NAME:
            self._reconciler.forget_gateway(ref.namespace)
            self._want_namespace(ref.namespace)

    def namespace_seen(self, name: str, ceiling: str | None) -> None:
        """A namespace is there with this label; what may leave it matters only when it changes."""
        before = self._ceilings.get(name, ceiling)
        self._ceilings[name] = ceiling
        if before != ceiling:
            self._surroundings.forget(name)
            self._namespaces.add(name)

    def namespace_deleted(self, name: str) -> None:
        """A namespace is gone, and everything in it."""
        self._ceilings.pop(name, None)
        self._reconciler.forget_gateway(name)

    def _want(self, key: Key, delay_seconds: float = 0.0) -> None:
        self._reconciler.snapshot.forget(key)
        self._objects.add(key, delay_seconds)

    def _want_namespace(self, namespace: str) -> None:
        pause = min(LONGEST_PAUSE_SECONDS, PAUSE_PER_PASS * self._namespace_seconds)
        self._namespaces.add(namespace, max(NAMESPACE_DELAY_SECONDS, pause))

    async def _reconcile_object(self, key: Key) -> None:
        try:
            is_done = await self._reconciler.reconcile(key)
        finally:
            self._births.over(key)
        if not is_done:
            self._objects.add(key, CHILD_DELAY_SECONDS)

    async def _reconcile_namespace(self, namespace: str) -> None:
        begun = asyncio.get_running_loop().time()
        misinformed = await self._reconciler.reconcile_namespace(namespace)
        self._namespace_seconds = asyncio.get_running_loop().time() - begun
        for key in misinformed:
            self._want(key)

    async def _first_walk(self) -> None:
        # an API server says 429 while a CRD's storage is set up, and nothing at all while it starts itself
        for failures in range(1, START_ATTEMPTS):
            try:
                await self.walk()
            except Unreachable as error:
                logger.warning("cluster not ready, will try again", message=str(error))
                await asyncio.sleep(retry_seconds(failures))
            else:
                return
        await self.walk()

    async def _walk_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.resync_seconds)
            try:
                await self.walk()
            except ClusterError as error:
                logger.warning("resync failed, will try again", error=type(error).__name__, message=str(error))


def _is_new(body: Mapping[str, object]) -> bool:
    """Whether no pass over this object can have made anything yet that a later spec would leave over."""
    is_untouched = at(body, "metadata", "generation") == 1 and not body.get("status")
    return is_untouched and at(body, "metadata", "deletionTimestamp") is None
