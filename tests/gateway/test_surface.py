"""The HTTP surface: what is served, what is refused and how, and that nothing else gets through."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from gateway.rig import COMPLETION, Rig, chat, engine, eventually, manifest, unary
from spillway.gateway.server import MAX_BODY_BYTES


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        (b"", 400, None),
        (b"[]", 400, None),
        ({"messages": []}, 400, "model"),
        ({"model": "chat"}, 400, "messages"),
        ({"model": "chat", "messages": []}, 400, "messages"),
        ({"model": "chat", "messages": ["hi"]}, 400, "messages[0]"),
        (chat(stream="yes"), 400, "stream"),
        (chat(max_tokens=0), 400, "max_tokens"),
        (chat(max_tokens="many"), 400, "max_tokens"),
        (chat(n=True), 400, "n"),
        (chat() | {"model": "other"}, 404, "model"),
    ],
)
async def test_a_request_that_cannot_be_served_is_told_so_before_any_engine_sees_it(
    body: Any, status: int, param: str | None, rig: Rig
) -> None:
    async with engine(unary(COMPLETION)) as fake:
        rig.replicas(fake.address)

        reply = await rig.post(body)

        assert not fake.requests
    assert reply.status == status
    assert reply.error["param"] == param
    assert reply.headers["x-spillway-request-id"]


async def test_an_unknown_model_is_answered_with_those_that_there_are(rig: Rig) -> None:
    rig.apply(manifest(name="code"))

    reply = await rig.post(chat() | {"model": "chatt"})

    assert reply.error["message"] == "The model 'chatt' does not exist. Models: chat, code."
    assert reply.error["code"] == "model_not_found"


async def test_a_body_that_is_too_large_is_413(rig: Rig) -> None:
    reply = await rig.post(b" " * (MAX_BODY_BYTES + 1))

    assert (reply.status, reply.error["code"]) == (413, "request_too_large")


async def test_a_body_that_is_not_encoded_as_it_says_is_400(rig: Rig) -> None:
    reply = await rig.post(b"no gzip, this", **{"content-encoding": "gzip"})

    assert (reply.status, reply.error["code"]) == (400, "unreadable_body")
    assert (await rig.line())["error"] == "unreadable_body"


async def test_a_label_that_is_no_class_is_400(rig: Rig) -> None:
    reply = await rig.post(chat(), **{"x-spillway-data-class": "secret"})

    assert (reply.status, reply.error["param"]) == (400, "x-spillway-data-class")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/invocations", 404),
        ("POST", "/v1/embeddings", 404),
        ("POST", "/v1/responses", 404),
        ("POST", "/v1/chat/completions/", 404),
        ("POST", "/v1//chat/completions", 404),
        ("POST", "/v1/x/../chat/completions%2f", 404),
        ("POST", "/sleep", 404),
        ("GET", "/v1/models/chat", 404),
        ("GET", "/v1/chat/completions", 405),
        ("OPTIONS", "/v1/chat/completions", 405),
        ("DELETE", "/v1/completions", 405),
        ("POST", "/v1/models", 405),
        ("POST", "/metrics", 405),
    ],
)
async def test_nothing_else_is_served_or_forwarded(method: str, path: str, status: int, rig: Rig) -> None:
    async with engine(unary(COMPLETION)) as fake:
        rig.replicas(fake.address)

        async with rig.http.request(method, rig.url + path, json=chat()) as answer:
            body = orjson.loads(await answer.read())

        assert not fake.requests
    assert answer.status == status
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-spillway-request-id"]
    if status == 405:
        assert answer.headers["allow"]


async def test_completions_are_served_like_chat(rig: Rig) -> None:
    async with engine(unary(COMPLETION)) as fake:
        rig.replicas(fake.address)

        reply = await rig.post({"model": "chat", "prompt": "once upon"}, "/v1/completions")

        assert fake.requests[0][0] == "/v1/completions"
    assert (reply.status, reply.json) == (200, COMPLETION)


async def test_an_answer_says_who_and_not_with_which_versions(rig: Rig) -> None:
    for path in ("/healthz", "/v1/models", "/nothing"):
        async with rig.http.get(rig.url + path) as answer:
            assert answer.headers.getall("server") == ["spillway"]


async def test_models_are_listed(rig: Rig) -> None:
    rig.apply(manifest(name="code"))

    async with rig.http.get(rig.url + "/v1/models") as answer:
        listed = await answer.json()

    assert [model["id"] for model in listed["data"]] == ["chat", "code"]


async def test_ready_says_whether_to_send_requests(rig: Rig) -> None:
    async def status(path: str) -> int:
        async with rig.http.get(rig.url + path) as answer:
            return answer.status

    assert [await status("/healthz"), await status("/readyz")] == [200, 200]
    rig.gateway.readiness.synced = False
    assert [await status("/healthz"), await status("/readyz")] == [200, 503]
    rig.gateway.readiness.synced = rig.gateway.readiness.draining = True
    assert [await status("/healthz"), await status("/readyz")] == [200, 503]


async def test_without_replicas_a_request_waits_and_is_then_told_when_to_come_back(rig: Rig) -> None:
    rig.apply(manifest(queue={"maxRequests": 1, "maxWaitSeconds": 1}))

    reply = await rig.post(chat())

    assert reply.status == 503
    assert int(reply.headers["retry-after"]) > 0
    assert reply.error["code"] == "NoEndpoints"
    assert reply.headers["x-spillway-reason"] == "NoEndpoints"
    line = await rig.line()
    assert (line["outcome"], line["place"], line["status"]) == ("Refused", "none", 503)


async def test_a_request_that_waits_is_served_when_a_replica_becomes_ready(rig: Rig) -> None:
    rig.replicas(loading=1)
    async with engine(unary(COMPLETION)) as fake:
        asking = asyncio.create_task(rig.post(chat()))
        await eventually(lambda: rig.pool.held == 1, "it waits")

        rig.replicas(fake.address)

        assert (await asking).status == 200


async def test_metrics_count_by_bounded_labels(rig: Rig) -> None:
    async with engine(unary(COMPLETION)) as fake:
        rig.replicas(fake.address)
        await rig.post(chat())
    await rig.line()

    async with rig.http.get(rig.url + "/metrics") as answer:
        text = await answer.text()

    labels = 'data_class="Sensitive",deployment="chat",outcome="Completed",place="local",reason="Default"'
    assert f"spillway_requests_total{{{labels}}} 1.0" in text
    assert 'spillway_in_flight_requests{deployment="chat"} 0.0' in text
    assert 'spillway_held_requests{deployment="chat"} 0.0' in text
    assert 'spillway_time_to_first_token_seconds_count{deployment="chat",place="local"} 1.0' in text
    assert 'spillway_tokens_total{deployment="chat",kind="completion",place="local"} 2.0' in text


async def test_an_audit_line_holds_the_facts_and_no_word_of_the_prompt(rig: Rig) -> None:
    async with engine(unary(COMPLETION)) as fake:
        rig.replicas(fake.address)

        await rig.post(chat("mary had a little lamb 123-45-6789", user="mary"))

    line = await rig.line()
    assert "lamb" not in str(line)
    assert "mary" not in str(line)
    assert "6789" not in str(line)
    assert line["data_class"] == "Sensitive"
    assert (line["prompt_tokens"], line["completion_tokens"], line["attempts"]) == (14, 2, 1)
    assert line["total_seconds"] >= line["time_to_first_token_seconds"] >= line["waited_seconds"] >= 0


async def test_a_bug_stops_its_own_request_with_a_500_and_leaves_no_slot_behind(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine(unary(COMPLETION)) as fake:
        rig.replicas(fake.address)

        def broken(*_: object) -> bytes:
            raise ZeroDivisionError("a bug")

        with monkeypatch.context() as patch:
            patch.setattr("spillway.gateway.attempt.local_body", broken)
            reply = await rig.post(chat())

        assert (reply.status, reply.error["code"]) == (500, "internal_error")
        assert rig.pool.in_flight == 0
        assert (await rig.line())["status"] == 500
        assert (await rig.post(chat())).status == 200
