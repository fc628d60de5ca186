"""Our own log: nothing of a request's text gets into it, in nobody's words."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

import orjson
import pytest
from structlog.testing import capture_logs

from gateway.rig import Rig, chat, manifest
from spillway.api.v1alpha1 import LLMDeployment
from spillway.gateway.admission import Facts, admit
from spillway.gateway.retold import Retold
from spillway.routing.compile import compile_route
from spillway.routing.facts import CompileSettings, Endpoint
from spillway.routing.intake import parse
from spillway.routing.sensitivity import classify

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
LIBRARY = """
import logging
from spillway.gateway.start import configure_log
configure_log()
try:
    raise ValueError("my pigeon")
except ValueError:
    logging.getLogger("aiohttp.server").exception("Error handling request from %s", "a pigeon")
"""


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b'Transfer-Encoding: chunked\r\n\r\n{"messages": "my pigeon"}\r\n0\r\n\r\n',
        HEAD + b"Authorization: Bearer pigeon\x01\r\n\r\n",
        HEAD + b"X: " + b"pigeon" * 10_000 + b"\r\n\r\n",
    ],
    ids=["no chunk", "a control character", "a long header"],
)
async def test_a_request_that_is_no_http_is_not_quoted_in_the_log(
    request_bytes: bytes, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = logging.getLogger("aiohttp.server")
    monkeypatch.setattr(server, "handlers", [Retold()])
    monkeypatch.setattr(server, "propagate", False)
    host, port = rig.url.removeprefix("http://").split(":")
    with capture_logs() as logs:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request_bytes)
        answer = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        await writer.wait_closed()

    assert b" 400 " in answer
    told = [entry for entry in logs if entry.get("logger") == "aiohttp.server"]
    assert told
    assert told[0]["problem"].startswith(("Bad", "LineTooLong"))
    assert "pigeon" not in str(logs)


def test_what_libraries_log_is_told_in_our_form_and_without_their_words() -> None:
    ran = subprocess.run([sys.executable, "-c", LIBRARY], capture_output=True, check=True, timeout=60)

    (line,) = map(orjson.loads, ran.stderr.splitlines())
    assert line["event"] == "Error handling request from %s"
    assert (line["level"], line["problem"]) == ("error", "ValueError")
    assert "pigeon" not in str(line).replace('raise ValueError("my pigeon")', "")


def test_no_repr_of_a_request_holds_its_text() -> None:
    asked = orjson.dumps(chat("my pigeon"))
    intake = parse(Endpoint.CHAT, asked)
    route = compile_route(LLMDeployment.model_validate(manifest()), None, CompileSettings(frozenset(), "None"))
    classified = classify(intake, None, route)

    facts = Facts(admit("r", intake, classified, route, lambda _: True), route, intake, classified, asked, 0.0)

    assert "pigeon" not in repr(facts)
