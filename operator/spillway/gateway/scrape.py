"""Asks engines for their metrics, off the request path: what others do there, or this gateway did before a restart.

A replica that is in use is asked once a second, an idle one every ten, each over a connection that is kept. What does
not answer, or answers what is no exposition of vLLM, is ignored: that is no sign of saturation. Ollama has no metrics.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self

import aiohttp

from spillway.api.v1alpha1 import EngineType
from spillway.gateway.desk import Desk
from spillway.routing.scraped import EngineLoad, parse

IN_USE_EVERY_SECONDS: Final = 1.0
IDLE_EVERY_SECONDS: Final = 10.0
LOOK_EVERY_SECONDS: Final = 0.25
ANSWER_WITHIN_SECONDS: Final = 0.9
"""Below the interval: a slow engine is asked once at a time."""
BODY_AT_MOST: Final = 4 * 2**20
AT_ONCE: Final = 32


class Scraper:
    """Keeps the desks' replicas corrected; `now` counts seconds, `count` is told of each scrape and its outcome."""

    def __init__(
        self, desks: Callable[[], Iterable[Desk]], now: Callable[[], float], count: Callable[[str, str], None]
    ) -> None:
        self._desks = desks
        self._now = now
        self._count = count
        self._asked: dict[tuple[str, str], float] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            read_bufsize=2**18,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def run(self) -> None:
        """Ask whoever is due, for ever."""
        async with self, asyncio.TaskGroup() as asking:
            while True:
                for desk, replica, address in self._due():
                    asking.create_task(self._ask(desk, replica, address))
                for desk in self._desks():
                    if desk.pool.fleet.forget_old(self._now()) and desk.pool.held:
                        desk.pump()
                await asyncio.sleep(LOOK_EVERY_SECONDS)

    def _due(self) -> list[tuple[Desk, str, str]]:
        now, due, known = self._now(), [], set()
        for desk in self._desks():
            if desk.route.engine is not EngineType.VLLM:
                continue
            held = desk.pool.held
            for replica in desk.pool.fleet.names:
                address = desk.address(replica)
                if address is None:
                    continue
                known.add((desk.route.name, replica))
                every = IN_USE_EVERY_SECONDS if held or desk.pool.fleet.in_use(replica) else IDLE_EVERY_SECONDS
                if now - self._asked.get((desk.route.name, replica), -IDLE_EVERY_SECONDS) >= every:
                    self._asked[desk.route.name, replica] = now
                    due.append((desk, replica, address))
        for gone in self._asked.keys() - known:
            del self._asked[gone]
        return due

    async def _ask(self, desk: Desk, replica: str, address: str) -> None:
        async with self._gate:
            seen = await self._read(f"http://{address}/metrics")
        self._count(desk.route.name, "ok" if seen is not None else "failed")
        if seen is not None:  # else what was seen last counts until it is stale
            desk.pool.fleet.correct(replica, seen, self._now())
            desk.pump()

    async def _read(self, url: str) -> EngineLoad | None:
        if self._session is None:
            raise RuntimeError("Scraper is used outside of its context")
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status == 200:
                    body = bytearray()
                    async for chunk in answer.content.iter_any():
                        body += chunk
                        if len(body) > BODY_AT_MOST:
                            return None
                    return parse(bytes(body))
        return None
