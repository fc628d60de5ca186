"""How each provider's cloud behaves towards clients of OpenAI's API: where it answers, what it refuses, in which words.

Written from the providers' documentation and from what their users report, not from the gateway's own table, so that
the two check each other. Sources:
- OpenAI: https://platform.openai.com/docs/api-reference/chat/create, https://platform.openai.com/docs/guides/error-codes
- Azure: https://learn.microsoft.com/azure/ai-foundry/openai/latest
- Anthropic: https://platform.claude.com/docs/en/api/openai-sdk
- Gemini: https://ai.google.dev/gemini-api/docs/openai; its errors: https://github.com/n4ze3m/page-assist/issues/418;
  that thoughts count in the total alone: https://github.com/router-for-me/CLIProxyAPI/issues/5733
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from spillway.simulator.cloud.answers import error_body

REASONING_MODELS: Final = re.compile(r"o\d|gpt-5(?!.*chat)")


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a request is refused with 400."""

    message: str
    param: str | None = None
    code: str | None = None


Body = Mapping[str, object]


def _nothing(_body: Body) -> Iterator[Objection]:
    return iter(())


def _as_it_is(_status: int, body: bytes) -> bytes:
    return body


@dataclass(frozen=True, slots=True)
class Manners:
    """One provider's ways. `thought_tokens` are generated, billed, and counted in no more than the total."""

    prefix: str = "/v1"
    has_completions: bool = True
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    objections: Callable[[Body], Iterator[Objection]] = _nothing
    error: Callable[[int, bytes], bytes] = _as_it_is
    headers: Mapping[str, str] = field(default_factory=dict)
    thought_tokens: int = 0


# --- OpenAI and Azure ---

_OPENAI_PARAMETERS: Final = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt",
        "reasoning_effort",
        "response_format",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
    }
)
_MESSAGE_KEYS: Final = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal"})
_REFUSED_BY_REASONING: Final = ("max_tokens", "logprobs", "top_logprobs", "logit_bias", "stop")
_ONLY_DEFAULT_BY_REASONING: Final = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}


def _openai_objections(body: Body) -> Iterator[Objection]:
    for key in body:
        if key not in _OPENAI_PARAMETERS:
            yield Objection(f"Unrecognized request argument supplied: {key}")
    for key in _foreign_message_keys(body):
        yield Objection(f"Additional properties are not allowed ('{key}' was unexpected)", "messages")
    if body.get("tools") == []:
        yield Objection("[] is too short - 'tools'", "tools")
    for key in ("tool_choice", "parallel_tool_calls"):
        if key in body and not body.get("tools"):
            yield Objection(f"'{key}' is only allowed when 'tools' are specified.", key)
    if REASONING_MODELS.match(str(body.get("model"))):
        yield from _reasoning_objections(body)
    elif "reasoning_effort" in body:
        yield Objection("Unrecognized request argument supplied: reasoning_effort")


def _reasoning_objections(body: Body) -> Iterator[Objection]:
    for key in _REFUSED_BY_REASONING:
        if body.get(key) is not None:
            yield Objection(f"Unsupported parameter: '{key}' is not supported with this model.", key, _UNSUPPORTED)
    for key, default in _ONLY_DEFAULT_BY_REASONING.items():
        if body.get(key, default) != default:
            yield Objection(f"Unsupported value: '{key}' does not support {body[key]} with this model.", key)


_UNSUPPORTED: Final = "unsupported_parameter"


def _foreign_message_keys(body: Body) -> Iterator[str]:
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        yield from sorted(set(message) - _MESSAGE_KEYS)


def _azure_error(status: int, body: bytes) -> bytes:
    told = orjson.loads(body)["error"]
    code = told["code"] or ("DeploymentNotFound" if status == 404 else str(status))
    return orjson.dumps({"error": {"code": code, "message": told["message"], "innererror": {"trace": "westeurope-7"}}})


# --- Anthropic ---


def _anthropic_objections(body: Body) -> Iterator[Objection]:
    if body.get("n", 1) != 1:
        yield Objection("n: must be exactly 1", "n")
    stop = body.get("stop")
    if any(isinstance(text, str) and text.isspace() for text in (stop if isinstance(stop, list) else [stop])):
        yield Objection("stop_sequences: each stop sequence must contain non-whitespace")


def _anthropic_error(status: int, body: bytes) -> bytes:
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "api_error")
    told = orjson.loads(body)["error"]
    return orjson.dumps({"error": {"code": kind, "message": told["message"], "type": kind, "param": None}})


# --- Gemini ---

_GEMINI_PARAMETERS: Final = frozenset(
    {
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "n",
        "reasoning_effort",
        "response_format",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
    }
)


def _gemini_objections(body: Body) -> Iterator[Objection]:
    foreign = [key for key in body if key not in _GEMINI_PARAMETERS]
    for key in (*foreign, *_foreign_message_keys(body)):
        yield Objection(f'Invalid JSON payload received. Unknown name "{key}": Cannot find field.')


def _gemini_error(status: int, body: bytes) -> bytes:
    words = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
    message = orjson.loads(body)["error"]["message"]
    told = {"code": status, "message": message, "status": words.get(status, "UNAVAILABLE"), "details": []}
    return orjson.dumps([{"error": told}])


ANY: Final = Manners()
"""Whatever it is sent, it takes: a server of somebody's own."""
OPENAI: Final = Manners(
    objections=_openai_objections,
    headers={
        "openai-organization": "org-of-the-owner",
        "openai-processing-ms": "12",
        "x-request-id": "req_of_the_cloud",
        "x-ratelimit-remaining-requests": "4999",
        "set-cookie": "__cf_bm=of-the-cloud; path=/; HttpOnly",
    },
)
AZURE: Final = Manners(
    prefix="/openai/v1",
    key_header="api-key",
    key_prefix="",
    objections=_openai_objections,
    error=_azure_error,
    headers={"apim-request-id": "apim-of-the-cloud", "x-ms-region": "West Europe", "x-ms-deployment-name": "ours"},
)
ANTHROPIC: Final = Manners(
    has_completions=False,
    objections=_anthropic_objections,
    error=_anthropic_error,
    headers={"anthropic-organization-id": "org-of-the-owner", "request-id": "req_of_the_cloud"},
)
GEMINI: Final = Manners(
    prefix="/v1beta/openai",
    has_completions=False,
    objections=_gemini_objections,
    error=_gemini_error,
    headers={"server-timing": "gfet4t7; dur=12", "alt-svc": 'h3=":443"'},
    thought_tokens=3,
)


def objection_body(objection: Objection) -> bytes:
    """A refusal in OpenAI's shape, which `Manners.error` then puts into the provider's own."""
    return error_body(objection.message, "invalid_request_error", objection.code, objection.param)
