"""Bytes from an engine to a caller: what arrives is what was sent, and only what is whole looks whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
from aiohttp import ClientPayloadError, web

from gateway.rig import (
    COMPLETION,
    DONE,
    WHOLE,
    Rig,
    chat,
    chunk,
    engine,
    eventually,
    silence,
    streams,
    unary,
    usage_chunk,
)
from spillway.gateway.credentials import Credentials
from spillway.gateway.relay import Plan, Relay
from spillway.gateway.upstream import Call, Upstreams
from spillway.routing import messages

ASKED = {"stream": True, "stream_options": {"include_usage": True}}


async def test_a_stream_is_relayed_byte_for_byte(rig: Rig) -> None:
    async with engine(streams(*WHOLE)) as fake:
        rig.replicas(fake.address)

        reply = await rig.post(chat(**ASKED))

    assert reply.status == 200
    assert reply.body == b"".join(WHOLE)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_of_a_stream_only_the_usage_chunk_that_was_not_asked_for_is_missing(rig: Rig) -> None:
    async with engine(streams(*WHOLE)) as fake:
        rig.replicas(fake.address)

        reply = await rig.post(chat(stream=True))

        assert orjson.loads(fake.requests[0][2])["stream_options"] == {"include_usage": True}
    assert reply.body == b"".join(part for part in WHOLE if part != usage_chunk())
    assert (await rig.line())["prompt_tokens"] == 14


async def test_a_whole_answer_is_relayed_byte_for_byte(rig: Rig) -> None:
    odd = b'{ "choices" : [],\n "usage":null , "x": 1.50}'
    async with engine(unary(odd)) as fake:
        rig.replicas(fake.address)
        body = orjson.dumps(chat()) + b" \n"

        reply = await rig.post(body)

        assert fake.requests[0][2] == body
    assert reply.body == odd
    assert reply.headers["content-length"] == str(len(odd))


async def test_an_answer_carries_what_was_decided_and_none_of_the_engines_headers(rig: Rig) -> None:
    async with engine(unary(COMPLETION, **{"set-cookie": "a=b", "x-engine": "secret"})) as fake:
        rig.replicas(fake.address)

        reply = await rig.post(chat())

    line = await rig.line()
    assert reply.headers["x-spillway-request-id"] == line["request_id"]
    assert reply.headers["x-spillway-backend"] == "local/chat-0"
    assert reply.headers["x-spillway-reason"] == "Default"
    assert reply.headers["x-spillway-data-class"] == "Sensitive"
    assert not {"set-cookie", "x-engine", "x-spillway-cost"} & set(reply.headers)


@pytest.mark.parametrize(
    ("failing", "why"),
    [
        (
            streams(b": keep-alive\n\n", b'data: {"error": {"message": "busy", "code": 503}}\n\n', DONE),
            "refused in band",
        ),
        (streams(chunk(), usage_chunk(9, 0), DONE), "aborted while it queued: a role, no tokens, and [DONE]"),
        (streams(chunk(), chunk("", "abort"), DONE), "aborted before any content"),
        (streams(b": keep-alive\n\n", chunk(), cut=True), "cut before any content"),
        (streams(chunk()), "ended before any content"),
        (unary({"error": {"message": "busy"}}, 503), "refused by status"),
        (unary({"error": {"message": "broken"}}, 500), "failed by status"),
        (unary("moved", 302, location="http://127.0.0.1:1/"), "redirected"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
async def test_before_the_first_content_another_replica_takes_over(failing: object, why: str, rig: Rig) -> None:
    async with engine(failing) as bad, engine(streams(*WHOLE)) as good:  # type: ignore[arg-type]
        rig.replicas(bad.address, good.address)

        reply = await rig.post(chat(**ASKED))

        assert [len(bad.requests), len(good.requests)] == [1, 1]
    assert reply.body == b"".join(WHOLE)
    line = await rig.line()
    assert (line["outcome"], line["backend"], line["attempts"]) == ("Completed", "chat-1", 2)
    assert rig.pool.in_flight == 0


@pytest.mark.parametrize(
    ("breaking", "relayed"),
    [
        (streams(chunk(), chunk("Hel"), cut=True, pause=0.05), b"".join((chunk(), chunk("Hel")))),
        (streams(chunk(), chunk("Hel")), b"".join((chunk(), chunk("Hel")))),
        (streams(chunk("Hel"), chunk("", "abort"), usage_chunk(), DONE), chunk("Hel") + chunk("", "abort")),
        (
            streams(chunk("Hel"), b'data: {"error": {"message": "died", "code": 500}}\n\n', DONE),
            chunk("Hel") + b'data: {"error": {"message": "died", "code": 500}}\n\n',
        ),
    ],
    ids=["connection-lost", "ends-without-done", "aborted-by-the-engine", "error-in-band"],
)
async def test_after_the_first_content_a_broken_stream_is_cut_and_never_looks_whole(
    breaking: object, relayed: bytes, rig: Rig
) -> None:
    async with engine(breaking) as bad, engine(streams(*WHOLE)) as good:  # type: ignore[arg-type]
        rig.replicas(bad.address, good.address)
        got = b""

        async with rig.http.post(rig.url + "/v1/chat/completions", json=chat(**ASKED)) as answer:
            broken = False
            while not broken:
                try:
                    data = await answer.content.readany()
                except ClientPayloadError:
                    broken = True
                else:
                    assert data, "it looked whole"
                    got += data

        assert not good.requests
    assert got == relayed
    assert (await rig.line())["outcome"] == "Broken"
    assert rig.pool.in_flight == 0


async def test_a_callers_mistake_is_told_in_the_engines_words_and_tried_nowhere_else(rig: Rig) -> None:
    words = {"error": {"message": "too long", "type": "BadRequestError", "param": "input_tokens", "code": 400}}
    async with engine(unary(words, 400)) as first, engine(unary(COMPLETION)) as second:
        rig.replicas(first.address, second.address)

        reply = await rig.post(chat())

        assert not second.requests
    assert (reply.status, reply.json) == (400, words)
    assert (await rig.line())["outcome"] == "Rejected"


async def test_a_caller_who_leaves_while_it_is_answered_frees_the_slot_and_the_engine(rig: Rig) -> None:
    async with engine(streams(*([chunk("word ")] * 1000), pause=0.02)) as fake:
        rig.replicas(fake.address)
        async with rig.http.post(rig.url + "/v1/chat/completions", json=chat(stream=True)) as answer:
            await answer.content.readany()
            assert rig.pool.in_flight == 1
            answer.close()

        await eventually(lambda: rig.pool.in_flight == 0 and fake.active == 0, "engine and slot are free")
    assert (await rig.line())["outcome"] == "ClientGone"


async def test_a_caller_who_leaves_before_the_first_token_frees_the_slot_and_the_engine(rig: Rig) -> None:
    async with engine(silence) as fake:
        rig.replicas(fake.address)
        asking = asyncio.create_task(rig.post(chat()))
        await eventually(lambda: fake.active == 1, "the engine has it")
        asking.cancel()

        await eventually(lambda: rig.pool.in_flight == 0 and fake.active == 0, "engine and slot are free")
    line = await rig.line()
    assert (line["outcome"], line["status"]) == ("ClientGone", 499)


async def test_a_caller_who_leaves_the_queue_is_forgotten(rig: Rig) -> None:
    asking = asyncio.create_task(rig.post(chat()))
    await eventually(lambda: rig.pool.held == 1, "it waits")
    asking.cancel()

    await eventually(lambda: rig.pool.held == 0, "the queue is empty")
    assert (await rig.line())["outcome"] == "ClientGone"


async def test_a_slow_caller_slows_the_engine_down_and_memory_stays_bounded(rig: Rig) -> None:
    written = 0
    part = chunk("x" * 65536)

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(part)
            written += len(part)

    async with engine(endless) as fake:
        rig.replicas(fake.address)
        async with rig.http.post(rig.url + "/v1/chat/completions", json=chat(stream=True)) as answer:
            await answer.content.readexactly(len(part))
            before = -1
            while before != written:  # until all buffers on the way are full
                before = written
                await asyncio.sleep(0.2)

            assert written < 40 * 2**20
            for _ in range(200):  # and on it goes when the caller reads again
                await answer.content.readexactly(len(part))
            assert written > before
            answer.close()
        await eventually(lambda: fake.active == 0, "the engine is let go")


async def test_the_callers_credentials_reach_no_engine(rig: Rig) -> None:
    async with engine(unary(COMPLETION)) as fake:
        rig.replicas(fake.address)

        await rig.post(
            chat(), Authorization="Bearer callers-own", Cookie="session=callers-own", Origin="https://callers-own"
        )

        _, headers, _ = fake.requests[0]
    assert set(headers) <= {
        "host",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
        "user-agent",
        "x-request-id",
    }
    assert "callers-own" not in repr(headers)
    assert headers["x-request-id"] == (await rig.line())["request_id"]


class Heard:
    """A session and a caller that only listen."""

    def __init__(self) -> None:
        self.events: list[messages.Event] = []

    def feed(self, event: messages.Event) -> None:
        self.events.append(event)

    def committed(self, attempt: int) -> bool:
        return attempt == 1

    def headers(self) -> dict[str, str]:
        return {}

    async def begin(self, *_: object) -> None: ...

    async def write(self, _: bytes) -> None: ...

    async def finish(self) -> None: ...


FAILED = b'data: {"error":{"message":"no","code":503}}\n\n'
FILTERED = b'data: {"error":{"message":"no","code":"content_filter"}}\n\n'


@pytest.mark.parametrize(
    ("parts", "last"),
    [
        ((b": queued\n\n", FAILED), messages.UpstreamRefused(1, 503, billed=False)),
        ((chunk(), FAILED), messages.UpstreamRefused(1, 503, billed=True)),
        ((FILTERED,), messages.UpstreamRefused(1, 502, billed=True)),
        ((chunk("Hello"), usage_chunk()), messages.StreamEnded(1, complete=False)),
    ],
    ids=["an error before all", "an error after the role", "an error that is billed", "usage, and no proof of the end"],
)
async def test_of_a_stream_that_fails_the_bill_is_what_it_may_have_cost(
    parts: tuple[bytes, ...], last: messages.Event, tmp_path: Path
) -> None:
    heard = Heard()
    async with engine(streams(*parts)) as fake, Upstreams(Credentials(tmp_path, tmp_path), frozenset()) as upstreams:
        call = Call(f"http://{fake.address}/", b"{}", {}, 5.0, billed_codes=frozenset({"content_filter"}))
        plan = Plan(1, call, stream=True, strip_usage=False)
        await Relay(plan, upstreams, heard, heard).run()  # type: ignore[arg-type]  # a caller in three methods
    assert heard.events[-1] == last
    assert not any(isinstance(event, messages.UsageReported) for event in heard.events)
