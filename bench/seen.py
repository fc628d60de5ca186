"""When each engine's Deployment came to be, as a watch shows it."""

from __future__ import annotations

import asyncio
import time
from typing import Self

from spillway.simulator.kubeapi import KubeAPI


class Seen:
    """When a watch has first shown each Deployment, by name."""

    def __init__(self, api: KubeAPI) -> None:
        self._api = api
        self._times: dict[str, float] = {}
        self._news = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        async for event in self._api.watch("/apis/apps/v1/deployments"):
            now = time.perf_counter()
            async with self._news:
                self._times.setdefault(event.object["metadata"]["name"], now)
                self._news.notify_all()

    async def when(self, name: str) -> float:
        """The moment (of `time.perf_counter`) at which it was seen."""
        async with asyncio.timeout(120), self._news:
            await self._news.wait_for(lambda: name in self._times)
        return self._times[name]
