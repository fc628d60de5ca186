"""What a cloud says when it refuses a request, in OpenAI's shape: its callers' client libraries read no other.

OpenAI and Azure put `message`, `param` and `code` under `error`; so does Anthropic on its surface for OpenAI's clients,
and under `{"type": "error"}` elsewhere (https://docs.claude.com/en/api/errors). Gemini sends a list of one, with a
number for `code` and a word in `status` (https://ai.google.dev/gemini-api/docs/troubleshooting). What else they send
(ids of organisations and requests, details) is between us and them.
"""

from __future__ import annotations

from typing import Final

import orjson

from spillway.gateway.answers import Answer, error
from spillway.routing.faults import TIMED_OUT

MESSAGE_CHARACTERS: Final = 2000


def in_openai_shape(status: int, body: bytes) -> Answer:
    """The answer to relay for a refusal with `status` and `body`, whichever provider sent it."""
    told = _told(body)
    message = told.get("message")
    if not isinstance(message, str) or not message:
        return error(status, f"The backend refused the request with status {status}.")
    param = told.get("param")
    words = (told.get("code"), told.get("status"), told.get("type"))
    code = next((word for word in words if isinstance(word, str) and word and not word.isdigit()), None)
    return error(status, message[:MESSAGE_CHARACTERS], param=param if isinstance(param, str) else None, code=code)


def is_billed(status: int, body: bytes, codes: frozenset[str]) -> bool:
    """Whether a refusal may be on the bill: what timed out may have run; of others, those with one of `codes`."""
    code = _told(body).get("code")
    return status in TIMED_OUT or (isinstance(code, str) and code in codes)


def _told(body: bytes) -> dict[str, object]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if isinstance(value, list) and value:
        value = value[0]
    told = value.get("error") if isinstance(value, dict) else None
    return told if isinstance(told, dict) else {}
