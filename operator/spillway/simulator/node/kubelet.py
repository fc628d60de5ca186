"""The one thing of the kubelet's own API that people reach for: `kubectl logs`."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from spillway.simulator.controlplane.certificates import Authority
from spillway.simulator.node.container import Container
from spillway.simulator.node.status import Running

Find = Callable[[str, str, str], Container]
"""(namespace, pod, container) -> the container; LookupError when it is not here."""

_POLL_SECONDS = 0.2


class LogServer:
    """Serves /containerLogs/{namespace}/{pod}/{container} to clients with a certificate of the cluster's CA.

    The API server is one of them; it does not verify the kubelet's own certificate unless it is told to.
    """

    def __init__(self, find: Find, ip: str, client_ca: Path, directory: Path) -> None:
        """Listen on a free port of `ip`; a certificate is made in `directory`."""
        self._find = find
        self._ip = ip
        self._client_ca = client_ca
        self._directory = directory
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Begin to serve; gives the port."""
        directory = self._directory / "kubelet"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        pair = Authority(directory, dt.datetime.now(dt.UTC)).server("kubelet", [self._ip])
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self._client_ca))
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_cert_chain(pair.cert, pair.key)
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._ip, 0, ssl_context=tls).start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Close every connection."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        path, query = request.match_info, request.query
        try:
            container = self._find(path["namespace"], path["pod"], path["container"])
        except LookupError as error:
            return web.Response(status=404, text=f"{error}\n")
        restarts = container.snapshot.restarts
        log = container.log_of(restarts - 1 if query.get("previous") == "true" else restarts)
        if not log.exists():
            return web.Response(status=404, text=f"{container.plan.name} has no output\n")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with log.open("rb") as file:
            content = file.read()
            if query.get("tailLines", "").isdigit():
                lines = int(query["tailLines"])
                content = b"".join(content.splitlines(keepends=True)[-lines:]) if lines else b""
            await response.write(content)
            while query.get("follow") == "true":
                running = isinstance(container.snapshot.state, Running) and container.snapshot.restarts == restarts
                if content := file.read():
                    await response.write(content)
                elif not running:
                    break
                else:
                    await asyncio.sleep(_POLL_SECONDS)
        await response.write_eof()
        return response
