"""`ollama serve`, simulated: listen, and cut everything at SIGTERM as Ollama does."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

import uvloop
from aiohttp import web

from spillway.signals import told_to_end
from spillway.simulator.ollama.runner import Runner
from spillway.simulator.ollama.server import VERSION, OllamaServer
from spillway.simulator.ollama.store import Store

_LOG = logging.getLogger("spillway.simulator.ollama")
_LOAD_SECONDS = 3.0


def serve(environment: Mapping[str, str]) -> None:
    """Run until a signal; exit code 1 when HOME is not set, as Ollama's start needs it."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(asctime)s %(message)s")
    _LOG.info("This is Spillway's engine simulator: no model, made-up words. Stands in for Ollama %s.", VERSION)
    if "HOME" not in environment:
        _LOG.error("panic: $HOME is not defined")
        sys.exit(1)
    uvloop.run(_serve(environment))


async def _serve(environment: Mapping[str, str]) -> None:
    stop = told_to_end()
    store = Store(Path(environment.get("OLLAMA_MODELS") or Path(environment["HOME"]) / ".ollama" / "models"))
    slots = int(environment.get("OLLAMA_NUM_PARALLEL") or 1)
    load_seconds = float(environment.get("SPILLWAY_SIMULATED_LOAD_SECONDS") or _LOAD_SECONDS)
    server = OllamaServer(store, Runner(slots, load_seconds), int(environment.get("OLLAMA_CONTEXT_LENGTH") or 4096))
    runner = web.AppRunner(server.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
    await runner.setup()
    host, _, port = environment.get("OLLAMA_HOST", "127.0.0.1:11434").rpartition(":")
    host = environment.get("SPILLWAY_SIMULATED_HOST") or host
    await web.TCPSite(runner, host, int(port), backlog=1024).start()
    _LOG.info("Listening on %s:%s (version %s)", host, port, VERSION)
    await stop.wait()
    await runner.cleanup()
