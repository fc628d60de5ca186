"""What the gateway itself says to a caller: OpenAI's error shape, and the x-spillway-* headers of every answer.

The shape: https://platform.openai.com/docs/guides/error-codes and `vllm serve`, which both put `message`, `type`,
`param` and `code` under `error`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import orjson

from spillway.errors import BadRequest
from spillway.routing.budget import usd
from spillway.routing.outcomes import Reason

REQUEST_ID: Final = "x-spillway-request-id"
BACKEND: Final = "x-spillway-backend"
REASON: Final = "x-spillway-reason"
DATA_CLASS: Final = "x-spillway-data-class"
COST: Final = "x-spillway-cost"
COST_RESERVED: Final = "x-spillway-cost-reserved"
JSON: Final = "application/json"

_TYPES: Final = {
    400: "invalid_request_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    503: "service_unavailable_error",
}
REFUSALS: Final = {
    Reason.SATURATED: "All replicas are busy, and the queue is full or its time is over.",
    Reason.NO_ENDPOINTS: "No replica of this model is running.",
    Reason.LOADING: "The model is still loading.",
    Reason.BACKEND_ERROR: "Every backend that may serve this request failed.",
    Reason.SENSITIVE: "This request is sensitive and may not leave; no replica can take it in time.",
    Reason.BUDGET_EXHAUSTED: "The cloud budget gives no more money now, and no replica can take the request in time.",
    Reason.LEDGER_UNAVAILABLE: "The cloud budget cannot be read or written now, so nothing may be spent, "
    "and no replica can take the request in time.",
    Reason.POLICY_DENIED: "This request may not leave by policy; no replica can take it in time.",
    Reason.DEFAULT: "No replica can take this request in time.",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: status, body, and headers beside content-type and content-length."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def error(status: int, message: str, *, param: str | None = None, code: str | None = None) -> Answer:
    """An error in OpenAI's shape."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return Answer(status, orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}}))


def bad_request(problem: BadRequest) -> Answer:
    """The answer to a request that cannot be served as it is."""
    return error(problem.status, problem.message, param=problem.param, code=problem.code)


def refusal(status: int, reason: Reason, retry_after_seconds: int | None) -> Answer:
    """The answer when nobody serves a request: 503 with Retry-After, or 502."""
    answer = error(status, REFUSALS[reason], code=reason.value)
    headers = {} if retry_after_seconds is None else {"retry-after": str(retry_after_seconds)}
    return Answer(answer.status, answer.body, answer.content_type, headers)


def unknown_model(model: str, known: list[str]) -> BadRequest:
    """404 for a model that this namespace has not, with those that it has."""
    names = ", ".join(known) or "none"
    return BadRequest(
        f"The model {model[:200]!r} does not exist. Models: {names}.",
        status=404,
        param="model",
        code="model_not_found",
    )


def dollars(micros: int) -> str:
    """Micro-dollars as a decimal string with six places."""
    return format(usd(micros).quantize(Decimal("0.000001")), "f")
