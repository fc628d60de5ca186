"""The operator as its own process, with the rights of an installed one, for tests against a real API server."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import yaml

from spillway.api import crd
from spillway.errors import Unreachable
from spillway.simulator.controlplane import ControlPlane
from spillway.simulator.kubeapi import KubeAPI

ROOT = Path(__file__).parents[1]
BASE = ROOT / "manifests" / "base"
ROLES = ROOT / "manifests" / "overlays" / "namespaced" / "namespace"
KINDS = "/apis/spillway.dev/v1alpha1"
APPLIES = re.compile(r'apiserver_request_total\{[^}]*verb="APPLY"[^}]*\} (\S+)')


async def until(what: str, holds: Callable[[], Awaitable[object]], seconds: float = 20.0):
    """What `holds` returned when it first was true; fails when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := await holds()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(0.05)
    return found


async def install(api: KubeAPI, namespace: str = "") -> None:
    """Our kinds and the roles of `manifests/base`; what is there already stays.

    In the namespace also the Roles of `manifests/overlays/namespaced`, for an operator that is told to serve just that.
    """
    for kind in crd.KINDS:
        await api.apply(crd.render_crd(kind))
    for name in ("namespace", "operator-rbac", "gateway-rbac"):
        for document in yaml.safe_load_all((BASE / f"{name}.yaml").read_text()):
            await api.apply(document)
    for name in ("roles", "rolebinding") if namespace else ():
        for document in yaml.safe_load_all((ROLES / f"{name}.yaml").read_text()):
            document["metadata"]["namespace"] = namespace
            await api.apply(document)
    await until("our kinds are served", lambda: _served(api))


async def _served(api: KubeAPI) -> bool:
    try:
        return all([await api.find(f"{KINDS}/{kind.plural}") is not None for kind in crd.KINDS])
    except Unreachable:  # 429 while the storage of a new kind is set up
        return False


class OperatorProcess:
    """One operator; start, stop or kill it as often as the test wants."""

    def __init__(
        self, control_plane: ControlPlane, directory: Path, *options: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._kubeconfig = control_plane.kubeconfig_for_service_account("spillway-system", "spillway-operator")
        self._log = directory / "operator.log"
        self._options = options
        self._environment = dict(environment or {})
        self._process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    async def start(self) -> None:
        with self._log.open("a") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "spillway", "operator", "--health-port=0", "--log-format=JSON", *self._options),
                env={
                    **os.environ,
                    "KUBECONFIG": str(self._kubeconfig),
                    "SPILLWAY_GATEWAY_REPLICAS": "1",
                    "SPILLWAY_LOG_LEVEL": "Debug",
                    **self._environment,
                },
                stderr=log,
            )

    async def stop(self) -> int:
        """End it by SIGTERM; its exit code."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it where it stands."""
        await self._end(signal.SIGKILL)

    async def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        return await asyncio.wait_for(process.wait(), 15)


async def applies(api: KubeAPI) -> int:
    """Server-side applies that the API server has had, changing something or not: the operator's and the test's."""
    found = (APPLIES.match(line) for line in (await api.text("/metrics")).splitlines())
    return sum(int(float(match[1])) for match in found if match)
