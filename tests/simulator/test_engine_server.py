"""What `vllm serve` 0.32.0 was measured to answer, asked of the simulator over real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import aiohttp
import openai
import pytest
from aiohttp import ClientResponse, ClientSession

from simulator.processes import EngineProcess, StartEngine, poll

HELLO = {"model": "chat", "messages": [{"role": "user", "content": "hello there"}]}


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest.fixture
async def sdk(engine: EngineProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def events(body: str) -> list[dict[str, object]]:
    """The JSON of each event; the last must be the end mark."""
    *lines, end, empty = body.split("\n\n")
    assert (end, empty) == ("data: [DONE]", "")
    return [json.loads(line.removeprefix("data: ")) for line in lines]


async def test_a_stream_is_framed_as_vllm_frames_it(engine: EngineProcess, http: ClientSession) -> None:
    body = HELLO | {"stream": True, "max_tokens": 3, "stream_options": {"include_usage": True}}
    async with http.post(f"{engine.url}/v1/chat/completions", json=body) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert response.headers["Server"] == "spillway-simulator"
        role, first, second, last, usage = events(await response.text())

    head = {"object": "chat.completion.chunk", "model": "chat"}
    assert all(head.items() <= chunk.items() for chunk in (role, first, second, last, usage))
    assert role["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in (first, second, last)] == [None, None, "length"]
    assert all(chunk["choices"][0]["delta"]["content"] for chunk in (first, second, last))
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 7, "total_tokens": 10, "completion_tokens": 3}
    assert usage["system_fingerprint"] == "spillway-simulator"


async def test_without_include_usage_the_fingerprint_is_on_the_last_token(
    engine: EngineProcess, http: ClientSession
) -> None:
    async with http.post(f"{engine.url}/v1/chat/completions", json=HELLO | {"stream": True, "max_tokens": 2}) as answer:
        chunks = events(await answer.text())

    assert len(chunks) == 3
    assert not any("usage" in chunk for chunk in chunks)
    assert [chunk.get("system_fingerprint") for chunk in chunks] == [None, None, "spillway-simulator"]


async def test_continuous_usage_is_on_every_chunk(engine: EngineProcess, http: ClientSession) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    body = HELLO | {"stream": True, "max_tokens": 2, "stream_options": options}
    async with http.post(f"{engine.url}/v1/chat/completions", json=body) as response:
        chunks = events(await response.text())

    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [0, 1, 2, 2]


async def test_the_sdk_reads_the_same_words_streamed_and_whole(sdk: openai.AsyncOpenAI) -> None:
    asked = {"model": "chat", "messages": [{"role": "user", "content": "tell me"}], "max_tokens": 12}
    whole = await sdk.chat.completions.create(**asked)
    stream = await sdk.chat.completions.create(**asked, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]

    assert whole.choices[0].message.content == "".join(pieces)
    assert len("".join(pieces).split()) == 12
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (6, 12)
    assert whole.system_fingerprint == "spillway-simulator"


async def test_the_sdk_reads_completions(sdk: openai.AsyncOpenAI) -> None:
    whole = await sdk.completions.create(model="chat", prompt="once upon a time", max_tokens=5)
    stream = await sdk.completions.create(model="chat", prompt="once upon a time", max_tokens=5, stream=True)
    pieces = [chunk.choices[0].text async for chunk in stream]

    assert whole.choices[0].text == "".join(pieces)
    assert len(pieces) == 5
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == 4


async def test_without_max_tokens_the_model_stops_by_itself_always_at_the_same_place(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.chat.completions.create(model="chat", messages=[{"role": "user", "content": "a"}])
    again = await sdk.chat.completions.create(model="chat-alias", messages=[{"role": "user", "content": "a"}])

    assert first.choices[0].finish_reason == "stop"
    assert first.choices[0].message == again.choices[0].message
    assert again.model == "chat-alias"


async def test_a_long_output_is_clamped_to_the_context(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": "x" * 4 * 1_900}], max_tokens=2_000
    )

    assert answer.usage is not None
    assert answer.usage.total_tokens == 2_048
    assert answer.choices[0].finish_reason == "length"


BAD_JSON = b'{"model": "chat", }'


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        pytest.param(
            HELLO | {"model": "nope"}, 404,
            {
                "message": "The model `nope` does not exist. Valid aliases: chat, chat-alias.",
                "type": "NotFoundError", "param": "model", "code": 404,
            },
            id="unknown model",
        ),
        pytest.param(
            HELLO | {"max_tokens": 5_000}, 400,
            {
                "message": "max_tokens=5000 cannot be greater than max_model_len=2048. Please request fewer output "
                "tokens. (parameter=max_tokens, value=5000)",
                "type": "BadRequestError", "param": "max_tokens", "code": 400,
            },
            id="max_tokens above the context",
        ),
        pytest.param(
            HELLO | {"messages": [{"role": "user", "content": "x" * 9_000}], "stream": True}, 400,
            {
                "message": "This model's maximum context length is 2048 tokens. However, your prompt contains at least "
                "2049 input tokens, which exceeds this limit even without any output tokens. Please reduce the length "
                "of the input prompt. (parameter=input_tokens, value=2049)",
                "type": "BadRequestError", "param": "input_tokens", "code": 400,
            },
            id="prompt above the context",
        ),
        pytest.param(HELLO | {"max_tokens": 0}, 400, {"type": "BadRequestError", "code": 400}, id="max_tokens 0"),
        pytest.param(BAD_JSON, 400, {"type": "Bad Request", "param": "body", "code": 400}, id="not JSON"),
        pytest.param({"model": "chat"}, 400, {"type": "Bad Request", "param": "body.messages"}, id="no messages"),
        pytest.param(HELLO | {"max_tokens": "5"}, 400, {"param": "body.max_tokens"}, id="wrong type"),
        pytest.param(
            HELLO | {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400,
            {"message": "At most 0 image(s) may be provided in one prompt."}, id="an image",
        ),
    ],
)  # fmt: skip
async def test_errors_are_vllms(
    body: object, status: int, error: dict[str, object], engine: EngineProcess, http: ClientSession
) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    async with http.post(f"{engine.url}/v1/chat/completions", data=data, headers=headers) as response:
        answered = await response.json()

    assert response.status == status
    assert error.items() <= answered["error"].items()


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/health", 200, ""),
        ("HEAD", "/health", 405, ""),
        ("GET", "/version", 200, '{"version":"0.32.0"}'),
        ("GET", "/load", 200, '{"server_load":0}'),
        ("GET", "/nothing", 404, '{"detail":"Not Found"}'),
        ("POST", "/v1/embeddings", 404, '{"detail":"Not Found"}'),
        ("GET", "/v1/models/chat", 404, '{"detail":"Not Found"}'),
        ("GET", "/v1/chat/completions", 405, '{"detail":"Method Not Allowed"}'),
    ],
)
async def test_routes(
    method: str, path: str, status: int, body: str, engine: EngineProcess, http: ClientSession
) -> None:
    async with http.request(method, f"{engine.url}{path}") as response:
        assert (response.status, await response.text()) == (status, body)


async def test_a_body_without_a_content_type_is_refused(engine: EngineProcess, http: ClientSession) -> None:
    async with http.post(f"{engine.url}/v1/chat/completions", data=b"{}") as response:
        assert response.status == 400
        assert "Only 'application/json' is allowed" in await response.text()


async def test_tokenize_counts_as_usage_does(engine: EngineProcess, http: ClientSession) -> None:
    async with http.post(f"{engine.url}/tokenize", json={"model": "chat", "messages": HELLO["messages"]}) as response:
        answered = await response.json()

    assert (answered["count"], len(answered["tokens"]), answered["max_model_len"]) == (7, 7, 2048)


async def test_models_tell_the_context(sdk: openai.AsyncOpenAI) -> None:
    models = [model async for model in sdk.models.list()]

    assert [model.id for model in models] == ["chat", "chat-alias"]
    assert models[0].to_dict()["max_model_len"] == 2048


async def test_the_metrics_have_vllms_names_and_labels(sdk: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    before = engine.metrics()
    await sdk.chat.completions.create(**HELLO, max_tokens=4)
    after = engine.metrics()

    label = '{engine="0",model_name="chat"}'
    grown = {
        f"vllm:prompt_tokens_total{label}": 7,
        f"vllm:generation_tokens_total{label}": 4,
        f"vllm:time_to_first_token_seconds_count{label}": 1,
        f"vllm:inter_token_latency_seconds_count{label}": 3,
        f"vllm:e2e_request_latency_seconds_count{label}": 1,
        f"vllm:request_queue_time_seconds_count{label}": 1,
        f"vllm:request_time_per_output_token_seconds_count{label}": 1,
        'vllm:request_success_total{engine="0",finished_reason="length",model_name="chat"}': 1,
        'http_requests_total{handler="/v1/chat/completions",method="POST",status="2xx"}': 1,
    }
    assert {name: after[name] - before.get(name, 0.0) for name in grown} == grown
    at_rest = {
        f"vllm:num_requests_running{label}": 0,
        f"vllm:num_requests_waiting{label}": 0,
        f"vllm:kv_cache_usage_perc{label}": 0,
        f"vllm:num_preemptions_total{label}": 0,
        f"vllm:prefix_cache_hits_total{label}": 0,
        'vllm:num_requests_waiting_by_reason{engine="0",model_name="chat",reason="capacity"}': 0,
        'vllm:admission_rejections_total{model_name="chat",reason="max_num_queued_reqs"}': 0,
        'vllm:engine_sleep_state{engine="0",model_name="chat",sleep_state="awake"}': 1,
    }
    assert {name: after[name] for name in at_rest} == at_rest
    capacity = next(name for name in after if name.startswith("vllm:cache_config_info"))
    assert 'kv_cache_size_tokens="' in capacity
    assert 'num_gpu_blocks="' in capacity
    assert 'vllm:time_to_first_token_seconds_bucket{engine="0",le="2560.0",model_name="chat"}' in after


async def test_a_client_that_leaves_frees_its_sequence_at_once(start_engine: StartEngine, http: ClientSession) -> None:
    engine = start_engine("--served-model-name", "chat", "--max-num-seqs", "1")
    url = f"{engine.url}/v1/chat/completions"
    endless = HELLO | {"stream": True, "max_tokens": 30_000}
    running = await http.post(url, json=endless)
    waiting = await http.post(url, json=endless)
    await asyncio.to_thread(poll, lambda: engine.gauge("num_requests_waiting") == 1, "one waits")
    assert engine.gauge("kv_cache_usage_perc") > 0

    running.close()
    waiting.close()

    def is_empty() -> bool:
        return not (engine.gauge("num_requests_running") + engine.gauge("num_requests_waiting"))

    await asyncio.to_thread(poll, is_empty, "nothing runs or waits")
    assert engine.gauge("kv_cache_usage_perc") == 0
    assert not any(value for name, value in engine.metrics().items() if "request_success_total" in name)


async def test_a_full_queue_answers_503(start_engine: StartEngine, http: ClientSession) -> None:
    engine = start_engine("--served-model-name", "chat", "--max-num-queued-reqs", "1", "--enable-server-load-tracking")
    url = f"{engine.url}/v1/chat/completions"
    async with http.post(url, json=HELLO | {"stream": True, "max_tokens": 30_000}) as running:
        await running.content.readany()
        async with http.post(url, json=HELLO) as refused:
            error = (await refused.json())["error"]
        async with http.get(f"{engine.url}/load") as load:
            assert await load.json() == {"server_load": 1}

    assert refused.status == 503
    assert "Retry-After" not in refused.headers
    assert error == {
        "message": "The engine is currently busy and cannot accept new requests. Please try again later or on a "
        "different instance.",
        "type": "Service Unavailable",
        "param": None,
        "code": 503,
    }
    assert engine.metrics()['vllm:admission_rejections_total{model_name="chat",reason="max_num_queued_reqs"}'] == 1


async def test_a_burst_past_the_limit_is_told_so_inside_the_stream(
    start_engine: StartEngine, http: ClientSession
) -> None:
    engine = start_engine("--served-model-name", "chat", "--max-num-queued-reqs", "2")

    url = f"{engine.url}/v1/chat/completions"
    endless = HELLO | {"stream": True, "max_tokens": 30_000}

    async def ask() -> tuple[ClientResponse, bytes]:
        response = await http.post(url, json=endless)
        return response, await response.content.readany()

    answers = await asyncio.gather(*(ask() for _ in range(8)))

    refused = [(response.status, beginning) for response, beginning in answers if b'"code":503' in beginning]
    assert len(refused) == 6
    in_band = [beginning for status, beginning in refused if status == 200]
    assert all(beginning.startswith(b'data: {"error":') for beginning in in_band)
    assert all(beginning.endswith(b"\n\ndata: [DONE]\n\n") for beginning in in_band)
    for response, _ in answers:
        response.close()


async def test_headers_come_before_the_request_is_scheduled(start_engine: StartEngine, http: ClientSession) -> None:
    engine = start_engine("--served-model-name", "chat", "--max-num-seqs", "1")
    url = f"{engine.url}/v1/chat/completions"
    async with http.post(url, json=HELLO | {"stream": True, "max_tokens": 30_000}) as running:
        await running.content.readany()
        async with http.post(url, json=HELLO | {"stream": True, "max_tokens": 1}) as queued:
            assert queued.status == 200
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(queued.content.readany(), 0.3)
            running.close()
            assert b'"role":"assistant"' in await queued.content.readany()


async def test_time_to_first_token_grows_past_the_batch_limit(start_engine: StartEngine, http: ClientSession) -> None:
    """The shape of real saturation: flat up to max-num-seqs, then one step of a batch's time after the other."""
    engine = start_engine(
        "--served-model-name", "chat", "--max-num-seqs", "4", SPILLWAY_SIMULATED_ACCELERATOR="NVIDIA-L4"
    )
    body = HELLO | {"stream": True, "max_tokens": 20}

    async def first_token_seconds(first_tokens: asyncio.Semaphore) -> float:
        started = time.monotonic()
        async with http.post(f"{engine.url}/v1/chat/completions", json=body) as response:
            await response.content.readany()
            seconds = time.monotonic() - started
            first_tokens.release()
            await response.read()
        return seconds

    async def burst(size: int) -> tuple[list[float], float]:
        """Times to first token, and how many wait when the first batch has its first tokens."""
        first_tokens = asyncio.Semaphore(0)
        asked = asyncio.gather(*(first_token_seconds(first_tokens) for _ in range(size)))
        for _ in range(min(size, 4)):
            await first_tokens.acquire()
        waiting = await asyncio.to_thread(engine.gauge, "num_requests_waiting")
        return sorted(await asked), waiting

    unloaded, _ = await burst(1)
    full, waiting_when_full = await burst(4)
    over, waiting_when_over = await burst(16)

    batch_seconds = 20 * 0.02
    assert unloaded[0] < 0.2
    assert full[-1] < 0.2
    assert waiting_when_full == 0
    assert waiting_when_over == 12
    assert over[3] < 0.3 < over[4]
    assert over[-1] == pytest.approx(3 * batch_seconds, rel=0.35)
    assert over[8] - over[4] == pytest.approx(batch_seconds, rel=0.35)


async def test_a_key_guards_v1_and_nothing_else(start_engine: StartEngine, http: ClientSession) -> None:
    engine = start_engine("--api-key", "right")

    async def status(path: str, key: str) -> tuple[int, str]:
        async with http.get(f"{engine.url}{path}", headers={"Authorization": f"Bearer {key}"}) as response:
            return response.status, await response.text()

    assert await status("/v1/models", "wrong") == (401, '{"error":"Unauthorized"}')
    assert (await status("/v1/models", "right"))[0] == 200
    assert (await status("/metrics", "wrong"))[0] == 200


@pytest.mark.parametrize("fault", ["errors", "break-after-tokens=2"])
async def test_faults_are_as_named(fault: str, start_engine: StartEngine, http: ClientSession) -> None:
    engine = start_engine("--served-model-name", "chat", SPILLWAY_SIMULATED_FAULT=fault)
    async with http.post(f"{engine.url}/v1/chat/completions", json=HELLO | {"stream": True}) as response:
        if fault == "errors":
            assert response.status == 500
            assert (await response.json())["error"]["type"] == "InternalServerError"
        else:
            with pytest.raises(aiohttp.ClientError):
                await response.read()
