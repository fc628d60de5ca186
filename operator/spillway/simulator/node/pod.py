"""One pod: its volumes, its containers in order, its status, its end."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import shutil
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from spillway.errors import ClusterError, Conflict, NotFound
from spillway.simulator.kubeapi import KubeAPI, Object
from spillway.simulator.node import status, tasks
from spillway.simulator.node.addresses import HeldAddress
from spillway.simulator.node.container import Container, Surroundings
from spillway.simulator.node.environment import NotYetError
from spillway.simulator.node.images import Images
from spillway.simulator.node.plan import PodPlan, UnsupportedError, parse
from spillway.simulator.node.status import Terminated
from spillway.simulator.node.volumes import Volumes
from spillway.simulator.process import Keeper

_LOG = logging.getLogger("spillway.simulator.node")
_RETRY_SECONDS = 1.0
_SETTLE_SECONDS = 0.05  # changes that come together are reported together
_TOKEN_CHECK_SECONDS = 30.0
_FORCED_GRACE_SECONDS = 2.0  # for a pod whose object is gone already


@dataclass(frozen=True, slots=True)
class Host:
    """What the node gives to each of its pods."""

    api: KubeAPI
    keeper: Keeper
    session: aiohttp.ClientSession
    images: Images
    ip: str
    directory: Path
    service_env: Mapping[str, str]
    back_off: tuple[float, float]


class Pod:
    """Brings one pod to what its object says, and its object's status to what is."""

    def __init__(self, obj: Object, address: HeldAddress, host: Host) -> None:
        """Nothing happens before `run`."""
        self._obj = obj
        self._host = host
        self._address = address
        self._started_at = dt.datetime.now(dt.UTC)
        self._directory = host.directory / "pods" / obj["metadata"]["uid"]
        self._dirty = asyncio.Event()
        self._refer = asyncio.Event()
        self._ending = asyncio.Event()
        self._gone = False
        self.init: Sequence[Container] = ()
        self.containers: Sequence[Container] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self._obj["metadata"]["namespace"], self._obj["metadata"]["name"]

    def update(self, obj: Object) -> None:
        """Take a newer state of the object; its deletion begins the end."""
        old, new = self._obj["metadata"], obj["metadata"]
        if int(new["resourceVersion"]) < int(old["resourceVersion"]):
            return  # an echo of what our own last report has overtaken
        self._obj = obj
        if new.get("deletionTimestamp"):
            self._ending.set()
        if any(old.get(field) != new.get(field) for field in ("labels", "annotations")):
            self._refer.set()

    def vanish(self) -> None:
        """The object is gone: end what runs, and report no more."""
        self._gone = True
        if self._ending.is_set():
            for container in (*self.init, *self.containers):
                container.kill()
        self._ending.set()

    def sources_changed(self) -> None:
        """A Secret or ConfigMap of the namespace changed."""
        self._refer.set()

    async def run(self) -> None:
        """All of the pod's life, until its object is gone."""
        work: list[asyncio.Task[None]] = []
        try:
            try:
                plan = parse(self._obj)
            except UnsupportedError as error:
                await self._send(self._refused(f"the simulated node does not do {error}"))
            else:
                volumes = Volumes(self._host.api, plan, self._directory / "volumes")
                around = self._surroundings(plan, volumes)
                self.init = [Container(container, around, init=True) for container in plan.init]
                self.containers = [Container(container, around) for container in plan.containers]
                self._dirty.set()
                work = [self._start(self._report()), self._start(self._live(volumes))]
            await self._ending.wait()
            await self._end(work)
        finally:
            for task in work:
                await tasks.cancel(task)
            self._address.close()
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    def _surroundings(self, plan: PodPlan, volumes: Volumes) -> Surroundings:
        logs = self._host.directory / "logs" / f"{plan.namespace}_{plan.name}_{plan.uid}"
        logs.mkdir(parents=True, exist_ok=True)
        return Surroundings(
            plan=plan,
            pod=self._with_addresses,
            changed=self._dirty.set,
            pod_ip=self._address.ip,
            directory=self._directory / "containers",
            logs=logs,
            volumes=volumes,
            keeper=self._host.keeper,
            session=self._host.session,
            images=self._host.images,
            service_env=self._host.service_env,
            back_off=self._host.back_off,
        )

    def _with_addresses(self) -> Object:
        """The object as a fieldRef must see it, also before our first report."""
        pod, host = self._address.ip, self._host.ip
        known = {"podIP": pod, "podIPs": [{"ip": pod}], "hostIP": host, "hostIPs": [{"ip": host}]}
        return {**self._obj, "status": {**(self._obj.get("status") or {}), **known}}

    async def _live(self, volumes: Volumes) -> None:
        """Volumes, init containers one by one, then all containers, with the volumes kept current."""
        await self._mount(volumes)
        refreshing = self._start(self._refresh(volumes))
        try:
            for container in self.init:
                await container.run()
                state = container.snapshot.state
                if not isinstance(state, Terminated) or state.exit_code != 0:
                    return
            await asyncio.gather(*(container.run() for container in self.containers))
            await self._ending.wait()
        finally:
            refreshing.cancel()

    async def _mount(self, volumes: Volumes) -> None:
        said = ""
        while True:
            try:
                return await volumes.refresh(self._with_addresses())
            except (NotYetError, UnsupportedError, ClusterError) as error:
                if str(error) != said:
                    said = str(error)
                    _LOG.info("volumes of %s: %s", "/".join(self.key), said)
            await self._until_referred(_RETRY_SECONDS)

    async def _refresh(self, volumes: Volumes) -> None:
        while True:
            await self._until_referred(_TOKEN_CHECK_SECONDS)
            try:
                await volumes.refresh(self._with_addresses())
            except (NotYetError, UnsupportedError, ClusterError) as error:
                # As the kubelet: what is mounted stays as it was.
                _LOG.info("volumes of %s stay as they are: %s", "/".join(self.key), error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _until_referred(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._refer.wait()
            await asyncio.sleep(_SETTLE_SECONDS)
        self._refer.clear()

    async def _end(self, work: Sequence[asyncio.Task[None]]) -> None:
        """Stop the containers within the grace that the deletion left, report the end, let the object go."""
        given = self._obj["metadata"].get("deletionGracePeriodSeconds")
        grace = _FORCED_GRACE_SECONDS if self._gone or given is None else float(given)
        await asyncio.gather(*(container.stop(grace) for container in (*self.init, *self.containers)))
        if work:
            await asyncio.wait(work, timeout=_RETRY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        while not self._gone:
            if self.containers:
                await self._send(self._observe())
            try:
                await self._host.api.delete(self._path, grace_seconds=0, uid=self._obj["metadata"]["uid"])
            except Conflict:
                pass  # the name is another pod's by now
            except ClusterError as error:
                _LOG.warning("deleting %s: %s", self._path, error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            return

    async def _report(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_SETTLE_SECONDS)
            self._dirty.clear()
            if not await self._send(self._observe()):
                await asyncio.sleep(_RETRY_SECONDS)
                self._dirty.set()

    async def _send(self, seen: status.Observation) -> bool:
        """Write the status if it differs; False when it must be tried again."""
        wanted = status.pod_status(self._obj, seen, dt.datetime.now(dt.UTC))
        held = self._obj.get("status") or {}
        if all(held.get(field) == value for field, value in wanted.items()):
            return True
        body = {"metadata": {"uid": self._obj["metadata"]["uid"]}, "status": wanted}
        try:
            self.update(await self._host.api.patch(f"{self._path}/status", body))
        except (NotFound, Conflict):
            return True  # gone, or another pod of its name: the watch says so in a moment
        except ClusterError as error:
            _LOG.warning("status of %s: %s", self._path, error)
            return False
        return True

    def _observe(self) -> status.Observation:
        init = [container.snapshot for container in self.init]
        return self._observation(init, [container.snapshot for container in self.containers])

    def _refused(self, why: str) -> status.Observation:
        waiting = status.Waiting("CreateContainerConfigError", why)
        containers = self._obj["spec"]["containers"]
        return self._observation([], [status.Snapshot(entry["name"], entry["image"], waiting) for entry in containers])

    def _observation(
        self, init: Sequence[status.Snapshot], containers: Sequence[status.Snapshot]
    ) -> status.Observation:
        policy = self._obj["spec"].get("restartPolicy", "Always")
        return status.Observation(policy, init, containers, self._address.ip, self._host.ip, self._started_at)

    @property
    def _path(self) -> str:
        namespace, name = self.key
        return f"/api/v1/namespaces/{namespace}/pods/{name}"

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        return tasks.start(work, f"pod {'/'.join(self.key)}")
