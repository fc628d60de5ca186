"""A real Kubernetes control plane as local processes, for the demo and the tests."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from spillway.errors import ClusterError, SetupError
from spillway.simulator.controlplane import binaries, flags, kubeconfig
from spillway.simulator.controlplane.certificates import Authority, Pair, signing_key
from spillway.simulator.controlplane.gobuild import Progress
from spillway.simulator.controlplane.ports import HeldPort
from spillway.simulator.kubeapi import KubeAPI
from spillway.simulator.process import Child, Keeper

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_KUBECTL_SECONDS = 60.0
_PROVISIONED = "/tmp/hostpath_pv/"  # noqa: S108 (pkg/volume/hostpath of Kubernetes)

_STORAGE_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "kubernetes.io/host-path",  # the controller-manager's own, made for clusters of one machine
}


def silent(_what: str, _seconds: float) -> None:
    """Report nothing."""


class ControlPlane:
    """etcd, kube-apiserver, kube-controller-manager and kube-scheduler of one throwaway cluster.

    Every cluster has its own directory, socket and port, so any number may run at once. RBAC is on, service account
    tokens work, PersistentVolumeClaims of the class `standard` are provisioned. There is no node: see simulator/node.
    Endpoints and EndpointSlices are not filled (they may not hold the loopback addresses that all pods have here).
    """

    def __init__(
        self, directory: Path | None = None, progress: Progress = silent, *, apiserver_options: Sequence[str] = ()
    ) -> None:
        """Keep everything, logs included, in `directory`; by default in a temporary one that goes at the end.

        `apiserver_options` are added to kube-apiserver's command line: an audit log, for example.
        """
        self._apiserver_options = tuple(apiserver_options)
        self._temporary = directory is None
        self.directory = directory or Path()
        self._progress = progress
        self._stack = AsyncExitStack()
        self.bin_dir = Path()
        self.server = ""

    @property
    def ca_file(self) -> Path:
        """The certificate authority of the API server."""
        return self.directory / "ca.crt"

    @property
    def admin_cert(self) -> Path:
        """The client certificate of a user in system:masters."""
        return self.directory / "admin.crt"

    @property
    def admin_key(self) -> Path:
        """The key of `admin_cert`."""
        return self.directory / "admin.key"

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of the administrator."""
        return self.directory / "kubeconfig"

    def api(self) -> KubeAPI:
        """A client with the administrator's rights; enter it before use."""
        return KubeAPI(self.server, ca_file=self.ca_file, client_cert=self.admin_cert, client_key=self.admin_key)

    async def __aenter__(self) -> Self:
        """Start everything and wait until it serves.

        Raises:
            SetupError: a program is missing and cannot be built, or does not start: with the end of its log.
        """
        self.bin_dir = await binaries.find(self._progress)
        if self._temporary:
            self.directory = Path(tempfile.mkdtemp(prefix="spillway-cluster-"))
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        keeper = await self._stack.enter_async_context(Keeper(removes=self.directory if self._temporary else None))
        port = HeldPort()
        self._stack.callback(port.close)
        self.server = f"https://127.0.0.1:{port.number}"
        layout = self._write_files(port.number)
        # Stopped in reverse order: etcd last, since a kube-apiserver whose etcd is gone takes over a minute to end.
        children = [
            await self._run(keeper, flags.etcd()),
            await self._run(keeper, [*flags.apiserver(layout), *self._apiserver_options]),
        ]
        async with self.api() as api:
            await _until("answer of kube-apiserver's /readyz", children, api.ready)
            children += [await self._run(keeper, flags.controller_manager(layout))]
            children += [await self._run(keeper, flags.scheduler(layout))]
            await api.apply(_STORAGE_CLASS)
            self._stack.push_async_callback(self._remove_volumes)

            async def account_made() -> bool:
                return await api.find("/api/v1/namespaces/default/serviceaccounts/default") is not None

            await _until("service account from kube-controller-manager", children, account_made)

    async def _remove_volumes(self) -> None:
        """Remove what the hostpath provisioner made: its place is fixed in Kubernetes, outside our directory."""
        with contextlib.suppress(ClusterError):
            async with self.api() as api:
                for volume in await api.list("/api/v1/persistentvolumes"):
                    path = (volume["spec"].get("hostPath") or {}).get("path", "")
                    if path.startswith(_PROVISIONED):
                        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)

    async def _run(self, keeper: Keeper, argv: list[str]) -> Child:
        name = argv[0]
        log = self.directory / f"{name}.log"
        child = await keeper.start([str(self.bin_dir / name), *argv[1:]], log=log, cwd=self.directory)
        self._stack.push_async_callback(child.stop, _STOP_SECONDS)
        return child

    def _write_files(self, port: int) -> flags.Layout:
        authority = Authority(self.directory, dt.datetime.now(dt.UTC))
        self._kubeconfig(authority.client("admin", "system:masters"), "kubeconfig")
        manager = authority.client("system:kube-controller-manager")
        scheduler = authority.client("system:kube-scheduler")
        return flags.Layout(
            port=port,
            ca=authority.cert,
            server=authority.server("kube-apiserver", ["127.0.0.1", "localhost", "kubernetes.default.svc"]),
            service_account=signing_key(self.directory, "service-account"),
            kubelet_client=authority.client("kube-apiserver-kubelet-client", "system:masters"),
            manager_kubeconfig=self._kubeconfig(manager, "controller-manager.kubeconfig"),
            scheduler_kubeconfig=self._kubeconfig(scheduler, "scheduler.kubeconfig"),
        )

    def _kubeconfig(self, user: Pair, name: str) -> Path:
        return kubeconfig.write(self.directory / name, self.server, self.ca_file, kubeconfig.by_certificate(user))

    def kubectl(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator; the caller looks at the exit code.

        It blocks: from a coroutine, call it in a thread.

        Raises:
            subprocess.TimeoutExpired: after 60 s.
        """
        return subprocess.run(
            [self.bin_dir / "kubectl", f"--kubeconfig={self.kubeconfig}", *args],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=_KUBECTL_SECONDS,
            check=False,
            env={**os.environ, "KUBECACHEDIR": str(self.directory / "kubectl-cache")},
        )

    def kubeconfig_for_service_account(self, namespace: str, name: str, hours: int = 24) -> Path:
        """A kubeconfig with a fresh token of a service account, and so with its rights only. Blocks like `kubectl`.

        Raises:
            LookupError: there is no such service account.
        """
        made = self.kubectl("create", "token", name, f"--namespace={namespace}", f"--duration={hours}h")
        if made.returncode != 0:
            raise LookupError(made.stderr.strip())
        path = self.directory / f"{namespace}-{name}.kubeconfig"
        return kubeconfig.write(path, self.server, self.ca_file, kubeconfig.by_token(made.stdout.strip()))


async def _until(what: str, children: list[Child], done: Callable[[], Awaitable[bool]]) -> None:
    """Poll until done.

    Raises:
        SetupError: a process ended or time is up.
    """
    deadline = time.monotonic() + _START_SECONDS
    while not await done():
        for child in children:
            if child.returncode is not None:
                raise SetupError(f"{child.log.stem} ended with {child.returncode}; its log ends:\n{child.tail()}")
        if time.monotonic() > deadline:
            tails = "\n".join(f"--- {child.log.stem}\n{child.tail(8)}" for child in children)
            raise SetupError(f"no {what} after {_START_SECONDS:.0f} s; the logs end:\n{tails}")
        await asyncio.sleep(0.05)


@contextmanager
def running(
    directory: Path | None = None, progress: Progress = silent, *, apiserver_options: Sequence[str] = ()
) -> Iterator[ControlPlane]:
    """The same for callers without an event loop, such as fixtures of a whole test session."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="control-plane", daemon=True)
    thread.start()
    plane = ControlPlane(directory, progress, apiserver_options=apiserver_options)
    try:
        asyncio.run_coroutine_threadsafe(plane.__aenter__(), loop).result()
        try:
            yield plane
        finally:
            asyncio.run_coroutine_threadsafe(plane.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
