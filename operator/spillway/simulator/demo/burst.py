"""The burst: requests sent when the trace says, one pod killed on the way, everything seen counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from spillway.simulator.demo.client import BurstClient
from spillway.simulator.demo.plan import Planned
from spillway.simulator.demo.tally import Seen

KILL_AFTER_SHARE = 0.25
"""When in the burst the pod is killed: late enough that it is busy, early enough that the budget still holds."""
TAIL_SECONDS = 90.0
"""How long after the last request the answers may take."""


@dataclass(slots=True)
class Burst:
    """One burst as it goes on. Times are seconds since it began."""

    planned: Sequence[Planned]
    seconds: float
    seen: list[Seen] = field(default_factory=list)
    sent: int = 0
    began: float = 0.0

    @property
    def now_seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self.began

    async def run(
        self,
        gateway_url: str,
        model: str,
        kill: Callable[[], Awaitable[None]],
        observe: Callable[[], Awaitable[None]],
    ) -> None:
        """Send everything and wait for every answer; `kill` is awaited once, `observe` about once a second."""
        self.began = time.monotonic()
        client = BurstClient(gateway_url, model, self.began)
        observer = asyncio.create_task(self._observe(observe))
        killer = asyncio.create_task(self._later(self.seconds * KILL_AFTER_SHARE, kill))
        tasks: list[asyncio.Task[None]] = []
        try:
            for planned in self.planned:
                await asyncio.sleep(max(0.0, planned.offset_seconds - self.now_seconds))
                tasks.append(asyncio.create_task(self._send(client, planned)))
            async with asyncio.timeout(TAIL_SECONDS):
                await asyncio.gather(*tasks, killer)
        finally:
            for task in (*tasks, killer, observer):
                task.cancel()
            await asyncio.gather(*tasks, killer, observer, return_exceptions=True)
            await client.close()

    async def _send(self, client: BurstClient, planned: Planned) -> None:
        self.sent += 1
        self.seen.append(await client.send(planned))

    async def _later(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(seconds)
        await act()

    async def _observe(self, observe: Callable[[], Awaitable[None]]) -> None:
        while True:
            await observe()
            await asyncio.sleep(0.5)
