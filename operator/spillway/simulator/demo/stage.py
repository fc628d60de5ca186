"""Everything that the burst plays on, started in order and taken down in reverse: nothing outlives the demo."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self

from spillway.errors import SetupError
from spillway.simulator.controlplane.cluster import ControlPlane
from spillway.simulator.controlplane.gobuild import Progress
from spillway.simulator.demo.repository import repositories
from spillway.simulator.demo.sample import manifests_dir
from spillway.simulator.hub import Hub
from spillway.simulator.kubeapi import KubeAPI, Object
from spillway.simulator.node import GpuNode
from spillway.simulator.process import Child, Keeper

NAMESPACE = "demo"
GATEWAY_PORT = 8080


class Stage:
    """A control plane, a GPU node, a hub, the recording cloud and the operator, all but node and hub as processes."""

    def __init__(self, progress: Progress, price: tuple[str, str, str]) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="spillway-demo-"))
        self.plane = ControlPlane(self.directory / "cluster", progress)
        self.api: KubeAPI
        self.node: GpuNode
        self.cloud_url = ""
        self.hub_url = ""
        self._cloud_key = f"sk-demo-{secrets.token_hex(16)}"
        self._price = price
        self._stack = AsyncExitStack()
        self._keeper: Keeper

    @property
    def cloud_dir(self) -> Path:
        """Where the cloud keeps its recording and its bill."""
        return self.directory / "cloud"

    async def __aenter__(self) -> Self:
        """Start the control plane; the rest follows one by one, so that each can be told of.

        Raises:
            SetupError: something could not be started.
        """
        self._keeper = await self._stack.enter_async_context(Keeper(removes=self.directory))
        await self._stack.enter_async_context(self.plane)
        self.api = await self._stack.enter_async_context(self.plane.api())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints.

        Raises:
            SetupError: it failed; with its words.
        """
        done = await asyncio.to_thread(self.plane.kubectl, *arguments, stdin=stdin)
        if done.returncode != 0:
            raise SetupError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout + done.stderr

    async def start_node(self, engine_env: dict[str, str]) -> None:
        """Join the simulated GPU node."""
        self.node = await self._stack.enter_async_context(
            GpuNode(
                self.api,
                name="gpu-1",
                gpus=8,
                product="NVIDIA-L4",
                engine_env=engine_env,
                directory=self.directory / "node",
            )
        )

    async def start_hub(self, uri: str) -> None:
        """Start a model hub that has the repository of `uri`, with few weights that mean nothing."""
        hub = await self._stack.enter_async_context(Hub(repositories(uri)))
        self.hub_url = hub.url

    async def start_cloud(self) -> None:
        """Start the recording cloud and learn its address."""
        self.cloud_dir.mkdir()
        model, into, out = self._price
        argv = [
            sys.executable,
            "-m",
            "spillway.simulator.cloud",
            "--directory",
            str(self.cloud_dir),
            "--price",
            f"{model}={into},{out}",
        ]
        child = await self._start(argv, "cloud.log", {"SPILLWAY_SIMULATED_API_KEY": self._cloud_key})

        async def told() -> bool:
            line = child.log.read_text().partition("\n")[0]
            self.cloud_url = json.loads(line)["base_url"] if line.startswith("{") else ""
            return bool(self.cloud_url)

        await until("the recording cloud to listen", told, 20, child)

    async def start_operator(self) -> None:
        """Install CRDs and rights, and start the operator with just those rights."""
        manifests = manifests_dir()
        for name in ("namespace.yaml", "operator-rbac.yaml", "gateway-rbac.yaml", "people-rbac.yaml"):
            await self.kubectl("apply", "--server-side", "-f", str(manifests / "base" / name))
        await self.kubectl("apply", "--server-side", "-k", str(manifests.parent / "crds"))
        account = await asyncio.to_thread(
            self.plane.kubeconfig_for_service_account, "spillway-system", "spillway-operator"
        )
        host = self.cloud_url.removeprefix("https://").partition("/")[0]
        env = {
            "KUBECONFIG": str(account),
            "SPILLWAY_ALLOWED_HOSTS": host,
            "SPILLWAY_HUB_ENDPOINT": self.hub_url,
            "SPILLWAY_HEALTH_PORT": "0",
            "SPILLWAY_LOG_FORMAT": "Text",
            # The client calls one pod's address, not a Service, and the budget is to run out at one gateway.
            "SPILLWAY_GATEWAY_REPLICAS": "1",
        }
        await self._start([sys.executable, "-m", "spillway", "operator"], "operator.log", env)

    async def make_namespace(self, secret: tuple[str, str]) -> None:
        """A namespace with the API key as a Secret, and the CA of the run as a ConfigMap."""
        name, key = secret
        ca = (self.cloud_dir / "ca.crt").read_text()
        await self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for document in (
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "stringData": {key: self._cloud_key},
            },
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "recording-cloud", "namespace": NAMESPACE},
                "data": {"ca.crt": ca},
            },
        ):
            await self.api.apply(document)

    async def pods(self) -> list[Object]:
        """The pods of the demo's namespace."""
        return await self.api.list(f"/api/v1/namespaces/{NAMESPACE}/pods")

    def operator_log(self) -> str:
        """What the operator wrote."""
        return (self.directory / "operator.log").read_text(errors="replace")

    def bill_usd(self) -> Decimal:
        """What the cloud bills, by its own books."""
        return Decimal(json.loads((self.cloud_dir / "bill.json").read_text())["micros"]).scaleb(-6)

    async def _start(self, argv: list[str], log: str, env: dict[str, str]) -> Child:
        child = await self._keeper.start(argv, log=self.directory / log, env={**os.environ, **env}, cwd=self.directory)
        self._stack.push_async_callback(child.stop, 10.0)
        return child


async def until(what: str, done: Callable[[], Awaitable[bool]], seconds: float, child: Child | None = None) -> None:
    """Poll until done.

    Raises:
        SetupError: time is up, or the process that it depends on ended.
    """
    deadline = time.monotonic() + seconds
    while not await done():
        if child is not None and child.returncode is not None:
            raise SetupError(
                f"waiting for {what}: the process ended with {child.returncode}; its log ends:\n{child.tail()}"
            )
        if time.monotonic() > deadline:
            raise SetupError(
                f"waited {seconds:.0f} s for {what}" + (f"; its log ends:\n{child.tail()}" if child else "")
            )
        await asyncio.sleep(0.1)
