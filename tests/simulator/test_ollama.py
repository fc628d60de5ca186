"""The simulated Ollama, held to what was measured of Ollama 0.17.4."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiohttp import web

from spillway.simulator.ollama.runner import Runner
from spillway.simulator.ollama.server import OllamaServer
from spillway.simulator.ollama.store import Store

MESSAGES = [{"role": "user", "content": "hello"}]
CONTEXT = 64


@asynccontextmanager
async def ollama(store: Store, slots: int = 1, load_seconds: float = 0.0) -> AsyncIterator[aiohttp.ClientSession]:
    application = OllamaServer(store, Runner(slots, load_seconds), CONTEXT).application()
    runner = web.AppRunner(application, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        yield client
    await runner.cleanup()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.add("tiny", "pulled")
    return made


async def post(client: aiohttp.ClientSession, path: str, **body: object) -> tuple[int, dict]:
    async with client.post(path, json=body) as response:
        return response.status, orjson.loads(await response.read() or b"{}")


async def test_an_empty_prompt_is_answered_once_the_model_is_loaded(store: Store):
    async with ollama(store, load_seconds=0.3) as client:
        begun = time.monotonic()
        status, body = await post(client, "/api/generate", model="tiny")
        assert (status, body["done_reason"]) == (200, "load")
        assert time.monotonic() - begun >= 0.3
        begun = time.monotonic()
        assert (await post(client, "/api/generate", model="TINY:latest"))[0] == 200
        assert (await post(client, "/api/generate", model="other"))[0] == 404


async def test_a_load_that_nobody_waits_for_is_given_up(store: Store):
    async with ollama(store, load_seconds=30) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await post(client, "/api/generate", model="tiny")
        async with client.get("/api/ps") as response:
            assert (await response.json())["models"] == []


async def test_a_stream_repeats_the_role_and_ends_with_usage_and_done(store: Store):
    body = {"model": "tiny", "messages": MESSAGES, "max_tokens": 2, "stream": True}
    async with (
        ollama(store) as client,
        client.post("/v1/chat/completions", json=body | {"stream_options": {"include_usage": True}}) as answer,
    ):
        events = [line[6:] for line in (await answer.read()).split(b"\n\n") if line]
    assert events[-1] == b"[DONE]"
    *deltas, end, usage = [orjson.loads(event) for event in events[:-1]]
    assert [delta["choices"][0]["delta"]["role"] for delta in deltas] == ["assistant"] * 2
    assert end["choices"][0]["finish_reason"]
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 2)


async def test_what_ollama_ignores_is_ignored_and_a_long_prompt_is_cut_without_a_word(store: Store):
    async with ollama(store) as client:
        long = [{"role": "user", "content": "word " * 1000}]
        status, body = await post(client, "/v1/chat/completions", model="tiny", messages=long, max_completion_tokens=1)
    assert status == 200
    assert body["usage"]["prompt_tokens"] == CONTEXT
    assert body["usage"]["completion_tokens"] > 1


async def test_requests_wait_for_a_slot_and_none_is_refused(store: Store):
    async with ollama(store) as client:
        begun = time.monotonic()
        answers = await asyncio.gather(
            *(post(client, "/v1/chat/completions", model="tiny", messages=MESSAGES, max_tokens=6) for _ in range(4))
        )
    assert [status for status, _ in answers] == [200] * 4
    assert time.monotonic() - begun >= 4 * 6 / 60


async def test_a_browsers_request_and_an_unknown_model_are_refused(store: Store):
    async with ollama(store) as client:
        async with client.get("/v1/models", headers={"Origin": "http://a"}) as response:
            assert response.status == 403
        status, body = await post(client, "/v1/chat/completions", model="nope", messages=MESSAGES)
        assert (status, body["error"]["message"]) == (404, "model 'nope' not found")


async def test_a_model_is_pulled_and_copied_to_its_served_name(tmp_path: Path):
    async with ollama(Store(tmp_path)) as client:
        async with client.get("/v1/models") as response:
            assert (await response.json())["data"] is None
        assert (await post(client, "/api/pull", model="library/a:1b"))[0] == 200
        assert (await post(client, "/api/copy", source="library/a:1b", destination="chat"))[0] == 200
        assert (await post(client, "/api/pull", model="missing"))[0] == 500
        async with client.get("/v1/models") as response:
            assert {model["id"] for model in (await response.json())["data"]} == {"library/a:1b", "chat:latest"}
