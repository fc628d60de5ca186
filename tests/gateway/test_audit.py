"""One line a request, whatever became of it, and never a word of what was said."""

from __future__ import annotations

import io
import os
import re
import secrets
import socket
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.rig import COMPLETION, Rig, chat, engine, unary
from spillway.gateway.audit import AuditLine
from spillway.gateway.server import MAX_BODY_BYTES

UNKNOWN = orjson.dumps(chat() | {"model": "nobody"})
PAGE = Path(__file__).parents[2] / "docs/audit.md"


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        pytest.param("POST", "/v1/chat/completions", b"{", (400, "TurnedAway"), id="malformed"),
        pytest.param("POST", "/v1/chat/completions", b"{}", (400, "TurnedAway"), id="no model"),
        pytest.param("POST", "/v1/chat/completions", UNKNOWN, (404, "TurnedAway"), id="unknown"),
        pytest.param("POST", "/v1/completions", b" " * (MAX_BODY_BYTES + 1), (413, "TurnedAway"), id="too large"),
        pytest.param("GET", "/v1/chat/completions", b"", (405, "TurnedAway"), id="another method"),
        pytest.param("POST", "/v1/embeddings", b"{}", (404, "TurnedAway"), id="a path that is not served"),
    ],
)
async def test_what_no_model_was_asked_has_its_line_too(
    rig: Rig, method: str, path: str, body: bytes, expected: tuple[int, str]
) -> None:
    async with rig.http.request(method, rig.url + path, data=io.BytesIO(body)) as answer:
        code = (await answer.json())["error"]["code"]
        request_id = answer.headers["x-spillway-request-id"]

    line = await rig.line()

    assert (line["status"], line["outcome"]) == (answer.status, expected[1])
    assert answer.status == expected[0]
    assert line["error"] == code or (code is None and line["error"] == "invalid_request")
    assert line["request_id"] == request_id
    assert line["endpoint"] == (path if path.startswith(("/v1/chat", "/v1/completions")) else None)
    assert (line["deployment"], line["model"], line["attempts"]) == (None, None, 0)


async def test_a_bug_has_its_line_too(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("spillway.gateway.handler.classify", bug)

    reply = await rig.post(chat())

    line = await rig.line()
    assert reply.status == line["status"] == 500
    assert (line["outcome"], line["error"]) == ("Failed", "internal_error")


async def test_a_caller_that_leaves_while_it_sends_has_its_line_too(rig: Rig) -> None:
    host, port = rig.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{")

    line = await rig.line()
    assert line["status"] in {499, 500}
    assert line["endpoint"] == "/v1/completions"


async def test_who_looks_at_the_gateway_leaves_no_line(rig: Rig) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/v1/models"):
        async with rig.http.get(rig.url + path) as answer:
            assert answer.status == 200
    assert not rig.lines


async def test_no_secret_of_a_caller_is_in_audit_log_or_metrics(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    hidden: list[str] = []

    def secret() -> str:
        hidden.append(secrets.token_urlsafe(12))
        return hidden[-1]

    bodies: list[Any] = [
        *(chat(secret()) for _ in range(5)),
        chat(secret(), user=secret(), metadata={secret(): secret()}),
        chat(secret(), tools=[{"type": "function", "function": {"name": "f", "description": secret()}}]),
        chat(secret()) | {"model": secret()},
        chat(secret(), max_tokens=secret()),
        chat(secret(), stream=secret()),
        {"model": "chat", "messages": secret()},
        {"model": "chat", "prompt": [secret(), secret()]},
        f'{{"model": "chat", "messages": "{secret()}'.encode(),
        secret().encode(),
    ]
    async with engine(unary(COMPLETION)) as fake:
        rig.replicas(fake.address)
        for body in bodies:
            for path in ("/v1/chat/completions", "/v1/completions", f"/v1/{secret()}?key={secret()}"):
                headers = {"x-spillway-data-class": secret(), "authorization": f"Bearer {secret()}"}
                await rig.post(body, path, **headers)
        async with rig.http.get(f"{rig.url}/metrics") as answer:
            metrics = await answer.text()

    assert len(rig.lines) == 3 * len(bodies)
    logged = "".join(capfd.readouterr())
    written = orjson.dumps(rig.lines).decode() + metrics + logged
    assert not [word for word in hidden if word in written]


def fields() -> str:
    """The table of the page, as the model says it."""
    rows = ["| field | |", "| --- | --- |"]
    for name, field in AuditLine.model_fields.items():
        assert field.description, f"{name} says nothing of itself"
        described = " ".join(field.description.split())
        rows.append(f"| `{name}` | {described} |")
    return "\n".join(rows)


def test_the_page_says_of_each_field_what_the_line_does() -> None:
    text = PAGE.read_text()
    if os.environ.get("SPILLWAY_UPDATE_GOLDEN") == "1":
        text = (
            re.sub(r"\| field \|.*?\n(?!\|)", lambda _: fields() + "\n", text + "\n", flags=re.DOTALL).rstrip() + "\n"
        )
        PAGE.write_text(text)
    assert fields() in text, "SPILLWAY_UPDATE_GOLDEN=1 pytest tests/gateway/test_audit.py writes it anew"
