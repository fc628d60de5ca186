"""The operator as its own process with the rights of `manifests/base` alone, and what it costs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import yaml

from spillway.api import crd
from spillway.errors import Unreachable
from spillway.simulator.controlplane import ControlPlane
from spillway.simulator.kubeapi import KubeAPI

BASE = Path(__file__).parents[1] / "manifests" / "base"
NAMESPACE, ACCOUNT = "spillway-system", "spillway-operator"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_CALM_SECONDS = 2.0
_CALM_CPU = 0.03


async def install(api: KubeAPI) -> None:
    """Our kinds, and the operator's account and roles."""
    for kind in crd.KINDS:
        await api.apply(crd.render_crd(kind))
    for name in ("namespace", "operator-rbac", "gateway-rbac"):
        for document in yaml.safe_load_all((BASE / f"{name}.yaml").read_text()):
            await api.apply(document)
    for kind in crd.KINDS:
        while not await _is_served(api, f"/apis/spillway.dev/v1alpha1/{kind.plural}"):
            await asyncio.sleep(0.1)


async def _is_served(api: KubeAPI, path: str) -> bool:
    try:
        return await api.find(path) is not None
    except Unreachable:  # 429 while the storage of a new kind is set up
        return False


class Operated:
    """One process at a time of `spillway operator`."""

    def __init__(self, plane: ControlPlane) -> None:
        self._kubeconfig = plane.kubeconfig_for_service_account(NAMESPACE, ACCOUNT)
        self._log = plane.directory / "operator.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it watches."""
        times = self._text.count("operator watching") + 1
        with self._log.open("a") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "spillway", "operator", "--health-port=0", "--log-format=JSON"),
                env={**os.environ, "KUBECONFIG": str(self._kubeconfig)},
                stderr=log,
            )
        while self._text.count("operator watching") < times:
            if self._process.returncode is not None:
                raise SystemExit(f"the operator ended:\n{self._text[-2000:]}")
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """End it by SIGTERM."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                await self._process.wait()
        self._process = None

    async def calm(self, deadline_seconds: float = 300.0) -> float:
        """Wait until it does nothing; the moment (of `time.monotonic`) since which it does."""
        since, before = time.monotonic(), self.cpu_seconds
        deadline = since + deadline_seconds
        while (now := time.monotonic()) - since < _CALM_SECONDS:
            await asyncio.sleep(0.1)
            if self.cpu_seconds - before > _CALM_CPU * _CALM_SECONDS:
                since, before = time.monotonic(), self.cpu_seconds
            if now > deadline:
                raise SystemExit(f"the operator is still busy after {deadline_seconds:.0f} s")
        return since

    @property
    def cpu_seconds(self) -> float:
        """What it has used of any core, user and system."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    @property
    def rss_mib(self) -> float:
        """Its memory now."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    @property
    def _pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def _text(self) -> str:
        return self._log.read_text() if self._log.exists() else ""
