"""Real `spillway gateway` processes: started, drained, killed with -9; and the lines that each of them wrote."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from spillway.errors import SetupError
from spillway.simulator.process import Child, Keeper

READY_SECONDS: Final = 90.0
DRAIN_SECONDS: Final = 90.0


@dataclass
class Life:
    """One process from its start to its end; times are of time.monotonic."""

    gateway: str
    log: Path
    killed: float | None = None
    ending: float | None = None
    """When it was told to end, or killed."""
    code: int | None = None
    last_words: str = ""

    def read(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Its audit lines, and what it said of bugs; a line that `kill -9` cut is neither."""
        lines: list[dict[str, Any]] = []
        bugs: list[str] = []
        *whole, rest = self.log.read_bytes().split(b"\n")
        for text in whole if self.killed is not None or not rest else (*whole, rest):
            try:
                line = orjson.loads(text)
            except ValueError:
                bugs.append(text.decode(errors="replace"))
                continue
            if line.get("event") == "request":
                lines.append(line)
            elif line.get("level") == "error":
                bugs.append(text.decode(errors="replace"))
        return lines, bugs


@dataclass
class Gateway:
    """One pod's worth of gateway: a name, ports and a journal that stay, and process after process."""

    name: str
    keeper: Keeper
    directory: Path
    arguments: tuple[str, ...]
    environment: dict[str, str]
    port: int = field(default_factory=lambda: free_port())
    peers_port: int = field(default_factory=lambda: free_port())
    lives: list[Life] = field(default_factory=list)
    is_up: bool = False
    _child: Child | None = None

    @property
    def life(self) -> Life:
        """The process that runs now, or ran last."""
        return self.lives[-1]

    async def start(self) -> None:
        """Start a process on what the one before left, and wait until it is ready. Raises SetupError when it is not."""
        log = self.directory / f"{self.name}-{len(self.lives)}.jsonl"
        argv = [
            *(sys.executable, "-m", "spillway", "gateway", "--name", self.name, "--host", "127.0.0.1"),
            *("--port", str(self.port), "--peers-port", str(self.peers_port)),
            *("--journal-dir", str(self.directory / f"{self.name}-journal"), *self.arguments),
        ]
        self.lives.append(Life(self.name, log))
        self._child = await self.keeper.start(argv, log=log, env={**os.environ, **self.environment})
        deadline = time.monotonic() + READY_SECONDS
        while not await asyncio.to_thread(self._is_ready):
            if self._child.returncode is not None or time.monotonic() > deadline:
                raise SetupError(f"gateway {self.name} does not serve:\n{self._child.tail()}")
            await asyncio.sleep(0.05)
        self.is_up = True

    async def kill(self) -> None:
        """Kill -9."""
        assert self._child is not None
        self.is_up = False
        self.life.killed = self.life.ending = time.monotonic()
        self._child.signal(signal.SIGKILL)
        self.life.code = await self._child.wait()

    async def drain(self) -> None:
        """SIGTERM; callers hear of it a moment later, as they would from a Service."""
        assert self._child is not None
        self.life.ending = time.monotonic()
        self._child.signal(signal.SIGTERM)
        await asyncio.sleep(0.05)
        self.is_up = False
        with contextlib.suppress(TimeoutError):
            # a second SIGTERM, as `stop` sends, would end a process that is just done by that signal
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._child.wait()
        self.life.code = await self._child.stop(0.0)
        self.life.last_words = self._child.tail(5)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
