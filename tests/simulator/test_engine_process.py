"""How the engine's process starts and ends, as vLLM's was measured to."""

from __future__ import annotations

import asyncio
import json
import signal
import time

import pytest
from aiohttp import ClientConnectorError, ClientSession

from simulator.processes import StartEngine, poll

HELLO = {"model": "chat", "messages": [{"role": "user", "content": "hello there"}], "stream": True}
CHAT = ("--served-model-name", "chat")


async def test_the_port_refuses_connections_until_the_model_is_loaded(start_engine: StartEngine) -> None:
    started = time.monotonic()
    engine = start_engine(ready=False, SPILLWAY_SIMULATED_LOAD_SECONDS="1.5")
    poll(lambda: "Loading" in engine.log.read_text(), "it loads")

    async with ClientSession() as http:
        with pytest.raises(ClientConnectorError):
            await http.get(f"{engine.url}/health")

    engine.wait_ready()
    assert time.monotonic() - started > 1.5


def test_it_says_first_that_it_is_a_simulator(start_engine: StartEngine) -> None:
    engine = start_engine()

    assert "simulator" in engine.log.read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("flags", "environment", "code", "message"),
    [
        (("--no-such-flag",), {}, 2, "unrecognized arguments: --no-such-flag"),
        (("--max-model-len", "9000000"), {}, 1, "the estimated maximum model length is "),
        ((), {"SPILLWAY_SIMULATED_FAULT": "crash-at-start"}, 1, "To serve at least one request"),
        ((), {"SPILLWAY_SIMULATED_ACCELERATOR": "NVIDIA-L5"}, 1, "the simulator knows Tesla-T4, NVIDIA-L4"),
        (("--model", "x/70B"), {"SPILLWAY_SIMULATED_ACCELERATOR": "NVIDIA-L4"}, 0, ""),
        (("-q", "none", "--gpu-memory-utilization", "0.1"), {}, 1, "No available memory for the cache blocks"),
    ],
)
def test_what_vllm_would_not_serve_ends_at_once(
    flags: tuple[str, ...], environment: dict[str, str], code: int, message: str, start_engine: StartEngine
) -> None:
    engine = start_engine(*flags, ready=False, **environment)
    if not code:  # the positional model wins over --model
        engine.wait_ready()
        return

    assert engine.process.wait(20) == code
    assert message in engine.log.read_text()


def test_idle_it_ends_with_0_on_sigterm_also_while_it_loads(start_engine: StartEngine) -> None:
    idle = start_engine()
    loading = start_engine(ready=False, SPILLWAY_SIMULATED_FAULT="never-ready")
    poll(lambda: "Loading" in loading.log.read_text(), "it loads")
    for engine in (idle, loading):
        engine.process.send_signal(signal.SIGTERM)

    assert (idle.process.wait(10), loading.process.wait(10)) == (0, 0)


async def test_sigterm_aborts_what_runs_and_what_waits(start_engine: StartEngine) -> None:
    engine = start_engine(*CHAT, "--max-num-seqs", "1")
    body = HELLO | {"max_tokens": 30_000, "stream_options": {"include_usage": True}}
    async with ClientSession() as http:
        running = await http.post(f"{engine.url}/v1/chat/completions", json=body)
        await running.content.readany()
        waiting = await http.post(f"{engine.url}/v1/chat/completions", json=body)
        engine.process.send_signal(signal.SIGTERM)
        told_running, told_waiting = await asyncio.gather(running.text(), waiting.text())

    *_, aborted, usage, done, _ = told_running.split("\n\n")
    assert '"finish_reason":"abort"' in aborted
    assert json.loads(usage.removeprefix("data: "))["usage"]["completion_tokens"] > 0
    assert done == "data: [DONE]"
    role, usage, done, _ = told_waiting.split("\n\n")
    assert '"role":"assistant"' in role
    assert json.loads(usage.removeprefix("data: "))["usage"]["completion_tokens"] == 0
    assert done == "data: [DONE]"
    assert await asyncio.to_thread(engine.process.wait, 10) == 0


async def test_with_a_shutdown_timeout_it_finishes_what_is_in_flight(start_engine: StartEngine) -> None:
    engine = start_engine(*CHAT, "--shutdown-timeout", "30", SPILLWAY_SIMULATED_ACCELERATOR="NVIDIA-L4")
    url = f"{engine.url}/v1/chat/completions"
    async with ClientSession() as http:
        running = await http.post(url, json=HELLO | {"max_tokens": 60})
        await running.content.readany()
        engine.process.send_signal(signal.SIGTERM)

        async def status_of_a_new_one() -> tuple[int, str]:
            async with http.post(url, json=HELLO | {"max_tokens": 1}) as response:
                return response.status, await response.text()

        async with asyncio.timeout(10):
            while (refused := await status_of_a_new_one())[0] == 200:
                pass
        assert refused[0] == 500
        assert "cannot schedule new futures after shutdown" in refused[1]
        async with http.get(f"{engine.url}/health") as health:
            assert health.status == 200
        finished = await running.text()

    assert finished.count('"finish_reason":"length"') == 1
    assert finished.endswith("data: [DONE]\n\n")
    assert await asyncio.to_thread(engine.process.wait, 10) == 0


async def test_what_a_drain_cannot_finish_hangs_until_its_client_leaves(start_engine: StartEngine) -> None:
    engine = start_engine(*CHAT, "--shutdown-timeout", "1")
    async with ClientSession() as http:
        running = await http.post(f"{engine.url}/v1/chat/completions", json=HELLO | {"max_tokens": 30_000})
        engine.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(poll, lambda: "Waiting for connections" in engine.log.read_text(), "the drain is over")
        while True:  # what was sent before
            try:
                await asyncio.wait_for(running.content.readany(), 0.3)
            except TimeoutError:
                break
        assert engine.process.poll() is None
        running.close()
        assert await asyncio.to_thread(engine.process.wait, 10) == 0


async def test_silence_is_headers_and_nothing_more(start_engine: StartEngine) -> None:
    engine = start_engine(*CHAT, SPILLWAY_SIMULATED_FAULT="silent")
    async with ClientSession() as http:
        response = await http.post(f"{engine.url}/v1/chat/completions", json=HELLO)
        assert response.status == 200
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readany(), 0.3)
        response.close()
