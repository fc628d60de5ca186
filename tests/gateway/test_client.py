"""The official OpenAI client against the gateway, engines as processes, and the gateway's own process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import openai
import pytest
from aiohttp import ClientConnectorError, ClientSession

from gateway.rig import Rig, chat, chunk, engine, eventually, streams
from simulator.processes import StartEngine, engines, free_port
from spillway.simulator.cloud.server import RecordingCloud


@pytest.fixture
def start_engine(tmp_path: Path) -> Iterator[StartEngine]:
    with engines(tmp_path) as start:
        yield start


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=rig.url + "/v1", api_key="any", max_retries=0) as client:
        yield client


async def test_the_official_client_chats_streaming_and_not(
    rig: Rig, client: openai.AsyncOpenAI, start_engine: StartEngine
) -> None:
    served = start_engine("--served-model-name", "chat")
    rig.replicas(served.url.removeprefix("http://"))
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "hello there"}]

    whole = await client.chat.completions.create(model="chat", messages=messages, max_tokens=12)
    stream = await client.chat.completions.create(model="chat", messages=messages, max_tokens=12, stream=True)
    chunks = [part async for part in stream]
    counted = await client.chat.completions.create(
        model="chat", messages=messages, max_tokens=12, stream=True, stream_options={"include_usage": True}
    )
    last = [part async for part in counted][-1]

    text = "".join(part.choices[0].delta.content or "" for part in chunks)
    assert text == whole.choices[0].message.content
    assert all(part.choices and not part.usage for part in chunks)
    assert last.usage is not None
    assert last.usage == whole.usage
    assert [model.id async for model in client.models.list()] == ["chat"]


async def test_the_official_client_reads_our_errors(rig: Rig, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        await client.chat.completions.create(model="none", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError, match="messages"):
        await client.chat.completions.create(model="chat", messages=[])


async def test_the_official_client_sees_that_a_stream_broke(rig: Rig, client: openai.AsyncOpenAI) -> None:
    async with engine(streams(chunk("Hel"), cut=True, pause=0.05)) as fake:
        rig.replicas(fake.address)
        stream = await client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "x"}], stream=True
        )
        with pytest.raises((openai.APIError, Exception), match=r"(?i)incomplete|peer closed|connection"):
            [part async for part in stream]


async def test_a_killed_engine_loses_no_request_that_had_no_byte(rig: Rig, start_engine: StartEngine) -> None:
    doomed = start_engine("--served-model-name", "chat", SPILLWAY_SIMULATED_FAULT="silent")
    sound = start_engine("--served-model-name", "chat")
    rig.replicas(doomed.url.removeprefix("http://"))
    asking = [asyncio.create_task(rig.post(chat(f"number {n}", stream=True, max_tokens=5))) for n in range(8)]
    await eventually(lambda: rig.pool.in_flight == 8, "all wait for the silent engine")

    rig.replicas(doomed.url.removeprefix("http://"), sound.url.removeprefix("http://"))
    doomed.process.kill()
    replies = await asyncio.gather(*asking)

    assert {reply.status for reply in replies} == {200}
    assert all(reply.body.endswith(b"data: [DONE]\n\n") for reply in replies)
    assert {line["backend"] for line in rig.lines} == {"chat-1"}


PROGRAM = """
import asyncio, signal, sys
from pathlib import Path
from gateway.rig import MemoryStore, manifest, settings_in
from spillway.gateway.credentials import Credentials
from spillway.gateway.routes import Replicas
from spillway.gateway.start import Gateway, configure_log, serve_until
from spillway.gateway.upstream import Upstreams
from dataclasses import replace

async def main(directory, port, address):
    configure_log()
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    settings = replace(settings_in(Path(directory), None), port=int(port))
    async with Upstreams(Credentials(settings.credentials_dir, settings.ca_dir), settings.allowed_hosts) as upstreams:
        gateway = Gateway(settings, MemoryStore(), upstreams)
        gateway.table.apply(manifest())
        gateway.table.set_replicas({"chat": Replicas({"chat-0": address}, 0)})
        gateway.readiness.synced = True
        await serve_until(gateway, told)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_sigterm_finishes_what_is_in_flight_takes_nothing_new_and_exits_0(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    parts = [chunk(f"word {n} ") for n in range(20)] + [b"data: [DONE]\n\n"]
    async with engine(streams(*parts, pause=0.05)) as fake, ClientSession() as http:
        process = await asyncio.to_thread(
            subprocess.Popen,
            [sys.executable, "-c", PROGRAM, str(tmp_path), str(port), fake.address],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            await eventually(lambda: _answers(port), "it listens")
            async with http.post(url + "/v1/chat/completions", json=chat(stream=True)) as answer:
                first = await answer.content.readany()
                process.send_signal(signal.SIGTERM)
                await eventually(lambda: not _answers(port), "it takes no more connections")
                with pytest.raises(ClientConnectorError):
                    await http.get(url + "/readyz", headers={"connection": "close"})
                rest = await answer.content.read()
            code = await asyncio.to_thread(process.wait, 10)
        finally:
            process.kill()
        output, log = process.communicate()
    assert (first + rest) == b"".join(parts)
    assert code == 0, log
    (line,) = map(json.loads, output.splitlines())
    assert line["outcome"] == "Completed"
    assert b"draining" in log


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_a_burst_is_shared_between_engines_and_cloud_and_every_request_has_one_line(
    spilling: Rig, cloud: RecordingCloud, start_engine: StartEngine
) -> None:
    slow = {"SPILLWAY_SIMULATED_ACCELERATOR": "NVIDIA-L4"}
    started = [start_engine("--served-model-name", "chat", **slow) for _ in range(2)]
    spilling.replicas(*(one.url.removeprefix("http://") for one in started))

    async def ask(number: int) -> bytes:
        label = "Sensitive" if number % 4 == 0 else "Public"
        body = chat(f"{label} {number} " + "words " * 1000, stream=number % 2 == 0, max_tokens=8)
        return (await spilling.post(body, **{"x-spillway-data-class": label})).body

    bodies = await asyncio.gather(*(ask(number) for number in range(80)))

    assert all(bodies)
    await spilling.line(80)
    assert len({line["request_id"] for line in spilling.lines}) == 80
    places = {line["place"] for line in spilling.lines if line["data_class"] == "Internal"}
    assert places == {"local", "cloud"}
    assert {line["place"] for line in spilling.lines if line["data_class"] == "Sensitive"} == {"local"}
    assert not cloud.contains(b"Sensitive")
    assert spilling.pool.in_flight == spilling.pool.held == 0
