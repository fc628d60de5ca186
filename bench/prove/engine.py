"""A simulated vLLM in this process, quick and small, that fails when told to and keeps the headers it was sent."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

from aiohttp import web

from spillway.simulator.engine.batching import Batch, Coefficients
from spillway.simulator.engine.faults import Faults
from spillway.simulator.engine.loop import Loop
from spillway.simulator.engine.metrics import Metrics
from spillway.simulator.engine.server import EngineServer, Settings

QUICK: Final = Coefficients(0.004, 0.00001, 0.0, 0.0, 8192, 8, 200_000)
CONTEXT_TOKENS: Final = 32_768
QUEUED_AT_MOST: Final = 16

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Fault(StrEnum):
    """What goes wrong with every request."""

    NONE = "none"
    FULL = "engine 503"
    ERRORS = "engine 500"
    BREAKS = "engine breaks off"


class Engine:
    """One replica of `deployment`, on a port that it keeps over restarts."""

    def __init__(self, name: str, deployment: str, dice: random.Random) -> None:
        self.name = name
        self.deployment = deployment
        self.fault = Fault.NONE
        self.port = 0
        self.sent: set[bytes] = set()
        """Every value of every header that came, but for the ids and lengths that differ each time."""
        self.requests: list[str] = []
        """The x-request-id of each, in order."""
        self._dice = dice
        self._runner: web.AppRunner | None = None
        self._stepping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve."""
        metrics = Metrics(self.deployment, QUICK, CONTEXT_TOKENS, 0.9)
        loop = Loop(Batch(QUICK), metrics, time.monotonic)
        names = (self.deployment,)
        settings = Settings(names, self.deployment, CONTEXT_TOKENS, max_num_queued_reqs=QUEUED_AT_MOST)
        app = EngineServer(settings, loop, metrics, Faults()).application()
        app.middlewares.insert(0, self._watched)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]
        self._stepping = asyncio.create_task(loop.run())

    async def kill(self) -> None:
        """Be gone at once, whatever is in flight."""
        if self._runner is None or self._stepping is None:
            return
        runner, self._runner = self._runner, None
        self._stepping.cancel()
        server = runner.server
        assert server is not None
        for site in tuple(runner.sites):
            await site.stop()
        for connection in tuple(server.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()

    @web.middleware
    async def _watched(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.method == "POST":
            self.requests.append(request.headers.get("x-request-id", ""))
            self.sent.update(value for name, value in request.raw_headers if name.lower() not in _OWN)
            if self.fault is Fault.FULL:
                return web.Response(status=503, text="full")
            if self.fault is Fault.ERRORS:
                return web.Response(status=500, text="broken")
            if self.fault is Fault.BREAKS and request.transport is not None:
                asyncio.get_running_loop().call_later(self._dice.uniform(0.0, 0.15), request.transport.abort)
        return await handler(request)


_OWN: Final = frozenset({b"x-request-id", b"content-length"})
