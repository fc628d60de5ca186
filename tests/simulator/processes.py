"""Engines of the simulator as processes, for tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

DEADLINE_SECONDS = 20.0
MODEL = "Qwen/Qwen2.5-7B-Instruct-AWQ"


@dataclass(frozen=True, slots=True)
class EngineProcess:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def metrics(self) -> dict[str, float]:
        """The value of each series, by its name with labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as response:
            lines = response.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def gauge(self, name: str) -> float:
        return next(value for series, value in self.metrics().items() if series.startswith(f"vllm:{name}{{"))

    def wait_ready(self) -> None:
        poll(self._is_up, "the engine listens")

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError):
            return False


StartEngine = Callable[..., EngineProcess]


def poll(condition: Callable[[], bool], what: str) -> None:
    """Wait until it holds; fails after the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS} s: {what}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def engines(directory: Path) -> Iterator[StartEngine]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*flags: str, ready: bool = True, **environment: str) -> EngineProcess:
        port = free_port()
        log = directory / f"engine-{port}.log"
        settings = {
            "SPILLWAY_SIMULATED_HOST": "127.0.0.1",
            "SPILLWAY_SIMULATED_LOAD_SECONDS": "0",
            "SPILLWAY_SIMULATED_ACCELERATOR": "NVIDIA-H100-80GB-HBM3",
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "spillway.simulator.engine", MODEL, "--port", str(port), *flags],
                env=os.environ | settings | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        engine = EngineProcess(f"http://127.0.0.1:{port}", process, log)
        if ready:
            engine.wait_ready()
        return engine

    try:
        yield start
    finally:
        for process in started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
