"""Refusals of every provider, as a client of OpenAI's library reads them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from spillway.api.v1alpha1 import Provider
from spillway.gateway.cloud_errors import in_openai_shape, is_billed
from spillway.routing.providers import SURFACES

GEMINI = [{"error": {"code": 400, "message": "Unknown name", "status": "INVALID_ARGUMENT", "details": [{"x": 1}]}}]
AZURE = {
    "error": {"message": "filtered", "param": "prompt", "code": "content_filter", "status": 400, "innererror": {"a": 1}}
}


@pytest.mark.parametrize(
    ("provider", "status", "code", "billed"),
    [
        (Provider.AZURE_OPENAI, 400, "content_filter", True),
        (Provider.AZURE_OPENAI, 400, "context_length_exceeded", True),
        (Provider.AZURE_OPENAI, 400, "invalid_value", False),
        (Provider.AZURE_OPENAI, 400, ["content_filter"], False),
        (Provider.AZURE_OPENAI, 429, "429", False),
        (Provider.OPENAI_COMPATIBLE, 400, "content_filter", True),
        (Provider.OPENAI, 400, "context_length_exceeded", False),
        *((provider, status, None, True) for provider in Provider for status in (408, 504, 524)),
        *((provider, status, None, False) for provider in Provider for status in (401, 429, 500, 503)),
    ],
)
def test_a_refusal_for_which_the_provider_did_something_may_be_billed(
    provider: Provider, status: int, code: object, billed: bool
) -> None:
    body = orjson.dumps({"error": {"message": "no", "code": code}})
    assert is_billed(status, body, SURFACES[provider].billed_codes) is billed


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
