"""Tries what a probe or hook says, and counts results into a verdict."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from spillway.simulator.node.plan import Action, Exec, HttpGet, Probe, Sleep, TcpSocket

Execute = Callable[[tuple[str, ...], float], Awaitable[bool]]
"""Runs a command in a container's surroundings within so many seconds: whether it ended with 0."""


@dataclass(slots=True)
class Tally:
    """Counts results in a row; pure."""

    probe: Probe
    _last: bool | None = None
    _in_a_row: int = 0

    def add(self, success: bool) -> bool | None:
        """The verdict once enough equal results came in a row, else None: leave things as they are."""
        self._in_a_row = self._in_a_row + 1 if success is self._last else 1
        self._last = success
        needed = self.probe.success_threshold if success else self.probe.failure_threshold
        return success if self._in_a_row >= needed else None


class Prober:
    """Carries out the actions of one container's probes and hooks."""

    def __init__(self, session: aiohttp.ClientSession, pod_ip: str, execute: Execute) -> None:
        """HTTP and TCP go to the pod's address unless the action names a host."""
        self._session = session
        self._pod_ip = pod_ip
        self._execute = execute

    async def attempt(self, action: Action, timeout_seconds: float) -> bool:
        """Whether it worked within the time."""
        with contextlib.suppress(TimeoutError, OSError, aiohttp.ClientError):
            async with asyncio.timeout(timeout_seconds):
                return await self._try(action, timeout_seconds)
        return False

    async def verdicts(self, probe: Probe, tell: Callable[[bool], Awaitable[bool]]) -> None:
        """Probe at its pace and tell each verdict, until `tell` says that it was the last."""
        tally = Tally(probe)
        await asyncio.sleep(probe.initial_delay_seconds)
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            verdict = tally.add(await self.attempt(probe.action, probe.timeout_seconds))
            if verdict is not None and await tell(verdict):
                return
            await asyncio.sleep(max(0.0, probe.period_seconds - (loop.time() - begun)))

    async def _try(self, action: Action, timeout_seconds: float) -> bool:
        match action:
            case HttpGet():
                url = f"{action.scheme.lower()}://{action.host or self._pod_ip}:{action.port}{action.path}"
                headers = {"User-Agent": "kube-probe/1.36", "Accept": "*/*", **dict(action.headers)}
                # The kubelet does not verify the certificate of an HTTPS probe.
                async with self._session.get(url, headers=headers, ssl=False, allow_redirects=False) as response:
                    return 200 <= response.status < 400
            case TcpSocket():
                _, writer = await asyncio.open_connection(action.host or self._pod_ip, action.port)
                writer.close()
                await writer.wait_closed()
                return True
            case Exec():
                return await self._execute(action.command, timeout_seconds)
            case Sleep():
                await asyncio.sleep(action.seconds)
                return True
