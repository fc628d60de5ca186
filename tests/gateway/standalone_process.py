"""`spillway gateway --file` as a process of its own, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import yaml

from gateway.rig import API_KEY, eventually, manifest
from spillway.simulator.cloud.server import RecordingCloud

START_WITHIN_SECONDS = 60.0
END_WITHIN_SECONDS = 60.0


@dataclass
class Standalone:
    """One process; what it logged, and its audit lines."""

    process: asyncio.subprocess.Process
    logged: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.logged if line["event"] == event]

    @property
    def url(self) -> str:
        (line,) = self.said("listening")
        assert line["host"] == "127.0.0.1"
        return f"http://127.0.0.1:{line['port']}"

    async def end(self, how: int = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(how)
        return await asyncio.wait_for(self.process.wait(), END_WITHIN_SECONDS)


def arguments(directory: Path, *more: str) -> list[str]:
    told = ["--file", str(directory / "chat.yaml"), "--state-dir", str(directory / "state"), "--port", "0"]
    return [*told, "--ca-dir", str(directory / "ca"), "--allowed-hosts", "127.0.0.1", *more]


def write(directory: Path, cloud: RecordingCloud, *, name: str = "chat", **spec: Any) -> None:
    """A file with an LLMDeployment that may spill to `cloud`, and the cloud's CA where it is looked for."""
    made = manifest(cloud, name=name, **spec)
    del made["metadata"]["uid"], made["metadata"]["namespace"]
    (directory / "ca/ca").mkdir(parents=True, exist_ok=True)
    (directory / "ca/ca/ca.crt").write_bytes(cloud.ca_pem)
    (directory / f"{name}.yaml").write_text(yaml.safe_dump(made))


@contextlib.asynccontextmanager
async def started(*options: str, listens: bool = True, **environment: str) -> AsyncIterator[Standalone]:
    """The process with these options; it is killed at the end if it has not ended."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spillway", "gateway", *options),
        env=os.environ | {"CLOUD_KEY": API_KEY} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    gateway = Standalone(process)
    readers = [
        asyncio.create_task(_read(process.stderr, gateway.logged)),
        asyncio.create_task(_read(process.stdout, gateway.lines)),
    ]
    try:
        if listens:
            await eventually(
                lambda: bool(gateway.said("listening")) or process.returncode is not None,
                "the gateway listens",
                START_WITHIN_SECONDS,
            )
            assert process.returncode is None, gateway.logged
        yield gateway
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await asyncio.gather(*readers)


async def _read(stream: asyncio.StreamReader | None, into: list[dict[str, Any]]) -> None:
    assert stream is not None
    async for line in stream:
        read = orjson.loads(line) if line.startswith(b"{") else {"event": "text", "text": line.decode()}
        into.append(read)
