"""Refusals of every provider, as a client of OpenAI's library reads them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from spillway.gateway.cloud_errors import in_openai_shape

GEMINI = [{"error": {"code": 400, "message": "Unknown name", "status": "INVALID_ARGUMENT", "details": [{"x": 1}]}}]
AZURE = {
    "error": {"message": "filtered", "param": "prompt", "code": "content_filter", "status": 400, "innererror": {"a": 1}}
}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            {"error": {"message": "no", "type": "invalid_request_error", "param": "n", "code": "integer_above_max"}},
            {"message": "no", "param": "n", "code": "integer_above_max"},
        ),
        (AZURE, {"message": "filtered", "param": "prompt", "code": "content_filter"}),
        ({"error": {"code": "404", "message": "gone"}}, {"message": "gone", "param": None, "code": None}),
        (
            {"type": "error", "error": {"type": "invalid_request_error", "message": "n"}, "request_id": "req_1"},
            {"message": "n", "param": None, "code": "invalid_request_error"},
        ),
        (GEMINI, {"message": "Unknown name", "param": None, "code": "INVALID_ARGUMENT"}),
        ({"error": {"message": "x" * 9000}}, {"message": "x" * 2000, "param": None, "code": None}),
        ({"error": "words"}, None),
        ([], None),
        ({"message": "elsewhere"}, None),
        (b"<html>", None),
    ],
)
def test_a_refusal_has_openais_shape_and_nothing_else_of_the_clouds(body: Any, error: dict[str, Any] | None) -> None:
    answer = in_openai_shape(400, body if isinstance(body, bytes) else orjson.dumps(body))
    unreadable = {"message": "The backend refused the request with status 400.", "param": None, "code": None}
    assert answer.status == 400
    assert orjson.loads(answer.body) == {"error": {"type": "invalid_request_error"} | (error or unreadable)}
