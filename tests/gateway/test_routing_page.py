"""docs/routing.md shows the headers of one request of each kind as a gateway sends them: made over sockets, compared.

SPILLWAY_UPDATE_GOLDEN=1 writes the block anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from pathlib import Path
from typing import Any

from gateway.rig import (
    COMPLETION,
    WHOLE,
    MemoryStore,
    Reply,
    Rig,
    chat,
    cloud_of,
    engine,
    eventually,
    manifest,
    running,
    silence,
    streams,
    unary,
)
from spillway.simulator.cloud.server import Pace, RecordingCloud

PAGE = Path(__file__).parents[2] / "docs" / "routing.md"
BLOCK = re.compile(r"(?s)(?<=<!-- headers -->\n).*?(?=<!-- end -->)")
LEFT_OUT = {"date", "server", "content-length", "transfer-encoding", "cache-control", "x-spillway-request-id"}
SHORT: dict[str, Any] = {"queue": {"maxRequests": 10, "maxWaitSeconds": 1}}
SENSITIVE = {"x-spillway-data-class": "Sensitive"}


def shown(title: str, reply: Reply) -> str:
    """One answer as the page shows it; what differs from run to run is left out or named."""
    assert reply.headers["x-spillway-request-id"]
    headers = {name: value for name, value in sorted(reply.headers.items()) if name not in LEFT_OUT}
    if "retry-after" in headers:
        headers["retry-after"] = "<seconds>"
    lines = "\n".join([f"HTTP/1.1 {reply.status}", *(f"{name}: {value}" for name, value in headers.items())])
    return f"\n**{title}**\n\n```http\n{lines}\n```\n"


async def with_engines(rig: Rig) -> list[str]:
    async with engine(unary(COMPLETION)) as fake:
        rig.replicas(fake.address)
        local = shown("Local: a replica was idle", await rig.post(chat()))
        rig.replicas(loading=1)
        waiting = asyncio.create_task(rig.post(chat(), **SENSITIVE))
        await eventually(lambda: rig.pool.held == 1, "it waits")
        rig.replicas(fake.address)
        held = shown("Held, then local: it may not leave, and waited for a replica", await waiting)
    async with engine(silence) as fake:
        rig.replicas(fake.address)
        stuck = asyncio.create_task(rig.post(chat("fill " * 20_000), **SENSITIVE))
        await eventually(lambda: rig.pool.in_flight == 1, "the replica is busy")
        spilled = shown("Spilled: no replica would make its SLO", await rig.post(chat(max_tokens=20)))
        stream = await rig.post(chat(max_tokens=20, stream=True))
        kept = shown("Sensitive, and no replica in time: refused", await rig.post(chat("mail jane.doe@example.com")))
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
    rig.replicas()
    return [local, held, spilled, shown("Spilled as a stream", stream), kept]


async def without_engines(directory: Path, cloud: RecordingCloud) -> list[str]:
    async with running(directory / "poor", cloud) as rig, engine(silence) as fake:
        rig.apply(manifest(cloud, limit="0.000001", **SHORT))
        rig.replicas(fake.address)
        stuck = asyncio.create_task(rig.post(chat("fill " * 20_000), **SENSITIVE))
        await eventually(lambda: rig.pool.in_flight == 1, "the replica is busy")
        poor = shown("Budget exhausted, and no replica in time: refused", await rig.post(chat(max_tokens=20)))
        stuck.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stuck
    store = MemoryStore()
    async with running(directory / "shadow", cloud, store) as rig, engine(streams(*WHOLE)) as fake:
        made = manifest(cloud, **SHORT)
        made["spec"]["fallback"]["mode"] = "Shadow"
        rig.apply(made)
        waiting = asyncio.create_task(rig.post(chat(stream=True)))
        await eventually(lambda: rig.pool.held == 1, "it waits")
        rig.replicas(fake.address)
        shadow = shown("Shadow: it would have left, and waited for a replica", await waiting)
        assert rig.lines[-1]["shadow_target"] == "cloud"
        rig.replicas()
        refused = shown("Refused: there is no replica, and nothing may leave", await rig.post(chat()))
        malformed = shown("Malformed", await rig.post(b"{"))
        unknown = shown("Unknown model", await rig.post(chat(model="nobody's")))
    return [refused, poor, shadow, malformed, unknown]


async def test_the_page_shows_what_a_gateway_sends(tmp_path: Path) -> None:
    quick = Pace(first_token_seconds=0.02, jitter_seconds=0.0, tokens_per_second=2000.0)
    async with cloud_of(pace=quick) as cloud:
        async with running(tmp_path / "rich", cloud) as rig:
            rig.apply(manifest(cloud, **SHORT))
            parts = await with_engines(rig)
        parts += await without_engines(tmp_path, cloud)
    block, page = "".join(parts) + "\n", PAGE.read_text()
    if os.environ.get("SPILLWAY_UPDATE_GOLDEN") == "1":
        page = BLOCK.sub(lambda _: block, page)
        PAGE.write_text(page)
    assert BLOCK.findall(page) == [block]
