"""The recording cloud over real TLS, with the official SDK as its client."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal

import openai
import pytest
from aiohttp import ClientConnectorCertificateError, ClientError, ClientSession, TCPConnector

from spillway.simulator import trace
from spillway.simulator.cloud import Faults, Price, RecordingCloud
from spillway.simulator.cloud.server import Pace

MODEL = "gpt-4o-mini"
PRICE = Price(Decimal("0.15"), Decimal("0.60"))
KEY = "the-clouds-key"
QUICK = Pace(first_token_seconds=0.02, jitter_seconds=0.01, tokens_per_second=2_000)
HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "hello there"}]}


def new_cloud(**settings: object) -> RecordingCloud:
    return RecordingCloud({MODEL: PRICE}, KEY, **({"pace": QUICK, "rng": random.Random(1)} | settings))


def trust(cloud: RecordingCloud) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=cloud.ca_pem.decode())


def sdk_of(cloud: RecordingCloud, key: str = KEY) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(verify=trust(cloud))
    return openai.AsyncOpenAI(base_url=cloud.base_url, api_key=key, max_retries=0, http_client=http)


def http_of(cloud: RecordingCloud) -> ClientSession:
    return ClientSession(connector=TCPConnector(ssl=trust(cloud)), headers={"Authorization": f"Bearer {KEY}"})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 it is looked at from outside: there is no event
            await asyncio.sleep(0.01)


@pytest.fixture
async def cloud() -> AsyncIterator[RecordingCloud]:
    async with new_cloud() as running:
        yield running


@pytest.fixture
async def sdk(cloud: RecordingCloud) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk_of(cloud) as client:
        yield client


@pytest.fixture
async def http(cloud: RecordingCloud) -> AsyncIterator[ClientSession]:
    async with http_of(cloud) as session:
        yield session


async def test_the_bill_is_the_sum_of_the_usages_told(cloud: RecordingCloud, sdk: openai.AsyncOpenAI) -> None:
    rng = random.Random(7)
    usages: list[tuple[int, int]] = []
    for size in (3, 40, 900):
        messages = [{"role": "user", "content": trace.prompt_text(size, rng)}]
        whole = await sdk.chat.completions.create(model=MODEL, messages=messages, max_tokens=size)
        usages.append((whole.usage.prompt_tokens, whole.usage.completion_tokens))
        stream = await sdk.chat.completions.create(
            model=MODEL, messages=messages, max_tokens=7, n=2, stream=True, stream_options={"include_usage": True}
        )
        *_, last = [chunk async for chunk in stream]
        usages.append((last.usage.prompt_tokens, last.usage.completion_tokens))
    completed = await sdk.completions.create(model=MODEL, prompt="once", max_tokens=5)
    usages.append((completed.usage.prompt_tokens, completed.usage.completion_tokens))

    assert usages == [(7, 3), (7, 14), (44, 40), (44, 14), (904, 900), (904, 14), (1, 5)]
    assert [(line.prompt_tokens, line.completion_tokens) for line in cloud.bill] == usages
    assert cloud.bill_micros == sum(PRICE.micros(*usage) for usage in usages) == sum(line.micros for line in cloud.bill)


@pytest.mark.parametrize(
    ("prompt", "completion", "micros"), [(0, 0, 0), (1, 0, 1), (100, 100, 75), (101, 100, 76), (10**6, 10**6, 750_000)]
)
def test_each_request_is_rounded_up_to_a_micro_dollar(prompt: int, completion: int, micros: int) -> None:
    assert PRICE.micros(prompt, completion) == micros


async def test_a_stream_tells_usage_only_when_asked(sdk: openai.AsyncOpenAI) -> None:
    without = [chunk async for chunk in await sdk.chat.completions.create(**HELLO, max_tokens=2, stream=True)]
    options = {"include_usage": True}
    stream = await sdk.chat.completions.create(**HELLO, max_tokens=2, stream=True, stream_options=options)
    asked = [chunk async for chunk in stream]

    assert not any(chunk.usage for chunk in without)
    assert [bool(chunk.usage) for chunk in asked] == [False] * (len(asked) - 1) + [True]
    assert asked[-1].choices == []
    assert [chunk.choices[0].finish_reason for chunk in without] == [None, None, None, "length"]
    assert without[0].choices[0].delta.role == "assistant"
    assert len({chunk.system_fingerprint for chunk in asked}) == 1
    assert asked[0].system_fingerprint == "spillway-simulator"


async def test_every_byte_sent_is_recorded(cloud: RecordingCloud, http: ClientSession) -> None:
    url = cloud.base_url.removesuffix("/v1")
    await http.post(f"{url}/v1/unheard/of?q=1", data=b"to nowhere")
    await http.put(f"{url}/v1/models", data=b"wrong method")
    await http.post(f"{url}/v1/chat/completions", data=b"{not json", headers={"X-Seen": "yes"})
    await http.post(f"{url}/v1/chat/completions", data=json.dumps(HELLO), headers={"Authorization": "Bearer wrong"})
    host, port = url.removeprefix("https://").split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=trust(cloud))
    writer.write(b"this is\x00no HTTP at all, 078-05-1120\r\n\r\n")
    await writer.drain()
    await until(lambda: cloud.contains(b"078-05-1120"))
    writer.close()

    assert [(record.method, record.path, record.body[:12]) for record in cloud.requests] == [
        ("POST", "/v1/unheard/of?q=1", b"to nowhere"),
        ("PUT", "/v1/models", b"wrong method"),
        ("POST", "/v1/chat/completions", b"{not json"),
        ("POST", "/v1/chat/completions", b'{"model": "g'),
    ]
    assert cloud.requests[2].header("x-seen") == "yes"
    assert [record.time for record in cloud.requests] == sorted(record.time for record in cloud.requests)
    assert all(cloud.contains(needle) for needle in (b"to nowhere", b"X-Seen: yes", b"no HTTP at all"))
    assert not cloud.contains(b"nobody sent this")
    assert cloud.bill_micros == 0


async def test_a_search_finds_what_json_escapes_hide(cloud: RecordingCloud, http: ClientSession) -> None:
    body = b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "jane\\u0040doe.org \\u00e9\\"x"}]}'
    await http.post(f"{cloud.base_url}/chat/completions", data=body)

    assert cloud.contains(b"jane@doe.org")
    assert cloud.contains('é"x'.encode())


@pytest.mark.parametrize(
    ("change", "kind", "code"),
    [
        ({"model": "gpt-9"}, openai.NotFoundError, "model_not_found"),
        ({"max_tokens": 0}, openai.BadRequestError, "integer_below_min_value"),
        ({"max_tokens": 128_000}, openai.BadRequestError, "context_length_exceeded"),
        ({"messages": []}, openai.BadRequestError, None),
    ],
)
async def test_errors_have_openais_shape_and_cost_nothing(
    change: dict[str, object], kind: type[openai.APIStatusError], code: str | None,
    cloud: RecordingCloud, sdk: openai.AsyncOpenAI,
) -> None:  # fmt: skip
    with pytest.raises(kind) as error:
        await sdk.chat.completions.create(**(HELLO | change))

    assert error.value.code == code
    assert error.value.type == "invalid_request_error"
    assert cloud.bill == ()


async def test_a_wrong_key_is_refused(cloud: RecordingCloud) -> None:
    async with sdk_of(cloud, key="wrong") as sdk:
        with pytest.raises(openai.AuthenticationError) as error:
            await sdk.chat.completions.create(**HELLO)

    assert error.value.code == "invalid_api_key"
    assert cloud.bill == ()


async def test_only_its_own_authority_vouches_for_it(cloud: RecordingCloud) -> None:
    async with new_cloud() as other, http_of(other) as http:
        with pytest.raises(ClientConnectorCertificateError):
            await http.get(f"{cloud.base_url}/models")
    async with http_of(cloud) as http, http.get(cloud.base_url.replace("127.0.0.1", "localhost") + "/models") as answer:
        assert (await answer.json())["data"][0]["id"] == MODEL


async def test_a_client_that_leaves_midway_pays_for_what_was_generated() -> None:
    async with new_cloud(pace=Pace(0.02, 0.0, 100)) as cloud, http_of(cloud) as http:
        body = HELLO | {"stream": True, "max_tokens": 10_000}
        response = await http.post(f"{cloud.base_url}/chat/completions", json=body)
        await response.content.readany()
        response.close()
        await until(lambda: cloud.active == 0)
        (line,) = cloud.bill

    assert line.prompt_tokens == 7
    assert 1 <= line.completion_tokens < 5_000


@pytest.mark.parametrize("streams", [False, True])
async def test_a_client_that_leaves_before_the_first_token_pays_for_the_prompt(*, streams: bool) -> None:
    async with new_cloud(faults=Faults(silent=True)) as cloud, http_of(cloud) as http:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(
                http.post(f"{cloud.base_url}/chat/completions", json=HELLO | {"stream": streams}), 0.2
            )
        await until(lambda: cloud.active == 0)
        (line,) = cloud.bill

    assert (line.prompt_tokens, line.completion_tokens) == (7, 0)


async def test_too_many_at_once_are_told_to_come_back() -> None:
    async with new_cloud(max_concurrent_requests=1, faults=Faults(silent=True)) as cloud, sdk_of(cloud) as sdk:
        first = asyncio.create_task(sdk.chat.completions.create(**HELLO))
        await until(lambda: cloud.active == 1)
        with pytest.raises(openai.RateLimitError) as refused:
            await sdk.chat.completions.create(**HELLO)
        first.cancel()
        await until(lambda: cloud.active == 0)

    assert refused.value.response.headers["Retry-After"] == "1"
    assert len(cloud.bill) == 1


async def test_an_injected_status_costs_nothing(cloud: RecordingCloud, sdk: openai.AsyncOpenAI) -> None:
    cloud.faults = Faults(status=429, retry_after_seconds=7)
    with pytest.raises(openai.RateLimitError) as error:
        await sdk.chat.completions.create(**HELLO)
    cloud.faults = Faults()
    await sdk.chat.completions.create(**HELLO, max_tokens=1)

    assert error.value.response.headers["Retry-After"] == "7"
    assert len(cloud.bill) == 1


async def test_a_connection_dropped_before_the_headers_costs_the_prompt(
    cloud: RecordingCloud, http: ClientSession
) -> None:
    cloud.faults = Faults(drop_before_headers=True)
    with pytest.raises(ClientError):
        await http.post(f"{cloud.base_url}/chat/completions", json=HELLO)

    assert [(line.prompt_tokens, line.completion_tokens) for line in cloud.bill] == [(7, 0)]


async def test_a_stream_dropped_midway_costs_what_was_sent(cloud: RecordingCloud, http: ClientSession) -> None:
    cloud.faults = Faults(drop_after_tokens=3)
    body = HELLO | {"stream": True, "max_tokens": 50}
    with pytest.raises(ClientError):
        async with http.post(f"{cloud.base_url}/chat/completions", json=body) as response:
            await response.read()

    assert [line.completion_tokens for line in cloud.bill] == [3]


async def test_the_first_token_comes_when_the_pace_says() -> None:
    async with new_cloud(pace=Pace(0.4, 0.1, 1_000)) as cloud, http_of(cloud) as http:
        started = time.monotonic()
        async with http.post(f"{cloud.base_url}/chat/completions", json=HELLO | {"stream": True, "max_tokens": 2}) as r:
            await r.content.readany()
            assert 0.3 <= time.monotonic() - started < 0.9
            await r.read()


async def test_no_tokenizer_passes_the_bound_of_a_token_a_byte() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"maximum": 1e15}}}]
    async with new_cloud(bytes_per_token=1) as cloud, http_of(cloud) as http:
        for content in ("", "x", "naïve 日本語", "\x01" * 50):
            await http.post(f"{cloud.base_url}/chat/completions", json=HELLO | {
                "messages": [{"role": "user", "content": content}] * 3, "tools": tools, "max_tokens": 1,
            })  # fmt: skip
        pairs = list(zip(cloud.requests, cloud.bill, strict=True))

    assert len(pairs) == 4
    assert all(line.prompt_tokens <= len(record.body) + 3 * 4 for record, line in pairs)


async def test_what_is_billed_without_usage_is_on_the_bill_by_the_id_of_its_request(cloud: RecordingCloud) -> None:
    cloud.faults = Faults(without_usage=True)
    async with http_of(cloud) as http:
        for number, stream in enumerate((False, True)):
            body = HELLO | {"max_tokens": 3, "stream": stream}
            if stream:
                body |= {"stream_options": {"include_usage": True}}
            headers = {"x-request-id": f"r{number}"}
            async with http.post(f"{cloud.base_url}/chat/completions", json=body, headers=headers) as answer:
                assert answer.status == 200
                assert b'"usage"' not in await answer.read()
    assert [(line.request_id, line.completion_tokens) for line in cloud.bill] == [("r0", 3), ("r1", 3)]
