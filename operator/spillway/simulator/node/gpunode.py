"""A Kubernetes node without GPUs that says it has some, and runs pods as processes of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import platform
import random
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp

from spillway.errors import ClusterError
from spillway.simulator.kubeapi import KubeAPI
from spillway.simulator.node import registration, tasks
from spillway.simulator.node.addresses import HeldAddress
from spillway.simulator.node.container import Container
from spillway.simulator.node.images import Images, default_images
from spillway.simulator.node.kubelet import LogServer
from spillway.simulator.node.pod import Host, Pod
from spillway.simulator.node.registration import Facts
from spillway.simulator.process import Keeper

_LOG = logging.getLogger("spillway.simulator.node")
_LEASE_SECONDS = 10.0  # the kubelet's pace for a lease of 40 s
_RETRY_SECONDS = 0.5
_STOP_SECONDS = 10.0


class GpuNode:
    """Registers a Node with `nvidia.com/gpu`, and does for its pods what a kubelet does, as far as processes go.

    A pod's images must be in its table; each pod has its own address in 127.0.0.0/8. Not done: resource limits,
    security contexts, mounts (paths in args and env are rewritten), sidecars, postStart, gRPC probes, ephemeral
    containers, Events, Services. What a pod asks for in vain is said in its status.
    """

    def __init__(
        self,
        api: KubeAPI,
        *,
        name: str = "gpu-node",
        gpus: int = 8,
        product: str = "NVIDIA-L4",
        images: Images | None = None,
        engine_env: Mapping[str, str] | None = None,
        taint: bool = False,
        back_off_seconds: tuple[float, float] = (10.0, 300.0),
        directory: Path | None = None,
    ) -> None:
        """`api` must have an administrator's rights and stay open. `images` defaults to Spillway and its engines.

        `engine_env` goes to simulated engines; `taint` sets nvidia.com/gpu:NoSchedule; `back_off_seconds` are the
        first and the longest wait of a crashing container; logs and volumes are kept in `directory`, by default a
        temporary one that goes at the end.
        """
        self.name = name
        self._api = api
        self._facts = Facts(name, gpus, product, taint, platform.machine(), platform.release())
        self._images = default_images(product, engine_env) if images is None else images
        self._back_off = back_off_seconds
        self._temporary = directory is None
        self.directory = directory or Path()
        self._rng = random.Random()
        self._stack = contextlib.AsyncExitStack()
        self._pods: dict[str, Pod] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._namespaces: dict[str, list[asyncio.Task[None]]] = {}

    async def __aenter__(self) -> Self:
        """Register the node, Ready, and begin to run what is bound to it."""
        if self._temporary:
            self.directory = Path(tempfile.mkdtemp(prefix="spillway-node-"))
        try:
            await self._enter()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes at once and take the Node and its pods out of the cluster."""
        await self._stack.aclose()

    def logs(self, namespace: str, pod: str, container: str | None = None, *, previous: bool = False) -> str:
        """The output of a container (by default the pod's first) of a pod that exists.

        Raises:
            LookupError: no such pod or container here, or no previous run.
        """
        found = self._container(namespace, pod, container)
        restarts = found.snapshot.restarts - (1 if previous else 0)
        try:
            return found.log_of(restarts).read_text(errors="replace")
        except OSError as error:
            raise LookupError(f"{found.plan.name} of {namespace}/{pod} has no output") from error

    def kill(self, namespace: str, pod: str, container: str | None = None) -> None:
        """SIGKILL a container's processes, as the kernel would when memory runs out; it is restarted by its policy.

        Raises:
            LookupError: no such pod or container here.
        """
        self._container(namespace, pod, container).kill(signal.SIGKILL)

    def _container(self, namespace: str, pod: str, container: str | None = None) -> Container:
        for one in self._pods.values():
            if one.key == (namespace, pod):
                for candidate in (*one.containers, *one.init):
                    if container in {None, candidate.plan.name}:
                        return candidate
        raise LookupError(f"{self.name} runs no container {container or ''} of a pod {namespace}/{pod}")

    async def _enter(self) -> None:
        if self._temporary:
            self._stack.push_async_callback(asyncio.to_thread, shutil.rmtree, self.directory, ignore_errors=True)
        keeper = await self._stack.enter_async_context(Keeper(removes=self.directory if self._temporary else None))
        address = HeldAddress(self._rng)
        self._stack.callback(address.close)
        # A probe must not reuse a connection: it asks whether one can be made.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        session = await self._stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        server = urlsplit(self._api.server)
        port = str(server.port)
        service = {"HOST": server.hostname or "", "PORT": port, "PORT_HTTPS": port}
        self._host = Host(
            api=self._api,
            keeper=keeper,
            session=session,
            images=self._images,
            ip=address.ip,
            directory=self.directory,
            service_env={f"KUBERNETES_SERVICE_{key}": value for key, value in service.items()},
            back_off=self._back_off,
        )
        self._stack.push_async_callback(self._unregister)
        kubelet = LogServer(self._container, address.ip, self._api.ca_file, self.directory)
        kubelet_port = await kubelet.start()
        self._stack.push_async_callback(kubelet.stop)
        node = registration.node(self._facts, address.ip, kubelet_port, dt.datetime.now(dt.UTC))
        registered = await self._api.apply({key: node[key] for key in ("apiVersion", "kind", "metadata", "spec")})
        await self._api.patch_status(registered, node["status"])
        self._stack.push_async_callback(self._stop_pods)
        for work in (self._renew(registered["metadata"]["uid"]), self._follow()):
            self._stack.push_async_callback(tasks.cancel, tasks.start(work, f"node {self.name}"))

    async def _renew(self, uid: str) -> None:
        """Keep the Lease by which the cluster knows that the node lives."""
        while True:
            try:
                await self._api.apply(registration.lease(self.name, uid, dt.datetime.now(dt.UTC)))
            except ClusterError as error:
                _LOG.warning("lease of %s: %s", self.name, error)
            await asyncio.sleep(_LEASE_SECONDS)

    async def _follow(self) -> None:
        """One task per pod that is bound here."""
        async for event in self._api.watch("/api/v1/pods", fields=f"spec.nodeName={self.name}"):
            uid: str = event.object["metadata"]["uid"]
            if event.type == "DELETED":
                if uid in self._pods:
                    self._pods[uid].vanish()
            elif uid in self._pods:
                self._pods[uid].update(event.object)
            else:
                self._begin(uid, Pod(event.object, HeldAddress(self._rng), self._host))
                self._pods[uid].update(event.object)

    def _begin(self, uid: str, pod: Pod) -> None:
        self._pods[uid] = pod
        task = tasks.start(pod.run(), f"pod {'/'.join(pod.key)}")
        self._running[uid] = task

        def done(_task: asyncio.Task[None]) -> None:
            del self._pods[uid], self._running[uid]

        task.add_done_callback(done)
        namespace = pod.key[0]
        if namespace not in self._namespaces:
            self._namespaces[namespace] = [
                tasks.start(self._follow_sources(namespace, kind), f"{kind} of {namespace}")
                for kind in ("secrets", "configmaps")
            ]

    async def _follow_sources(self, namespace: str, plural: str) -> None:
        """Tell the namespace's pods when a Secret or ConfigMap changed: they look at their own again."""
        async for _ in self._api.watch(f"/api/v1/namespaces/{namespace}/{plural}"):
            for pod in self._pods.values():
                if pod.key[0] == namespace:
                    pod.sources_changed()

    async def _stop_pods(self) -> None:
        for task in [task for group in self._namespaces.values() for task in group]:
            await tasks.cancel(task)
        for pod in list(self._pods.values()):
            pod.vanish()
            pod.vanish()  # a second time: without any grace
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=_STOP_SECONDS)
        for task in list(self._running.values()):
            await tasks.cancel(task)

    async def _unregister(self) -> None:
        """Leave nothing in the cluster that would wait for us."""
        with contextlib.suppress(ClusterError):
            await self._api.delete(f"/api/v1/nodes/{self.name}")
            for pod in await self._api.list("/api/v1/pods", fields=f"spec.nodeName={self.name}"):
                await self._api.delete(pod, grace_seconds=0, uid=pod["metadata"]["uid"])
