"""A request's body becomes facts. Bytes in, values out; no I/O.

Parameters are OpenAI's: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import orjson

from spillway.errors import BadRequest
from spillway.routing.facts import Endpoint, Intake
from spillway.routing.outgoing import CLOUD_PARAMETERS, DROPPED_PARAMETERS

TEXT_PART_TYPES: Final = frozenset({"text", "refusal"})
TEXT_PART_KEYS: Final = frozenset({"type", "text", "refusal", "cache_control"})
MESSAGE_KEYS: Final = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "reasoning", "reasoning_content"}
)
MAX_CHOICES: Final = 128
MAX_DEPTH: Final = 128
"""Of objects and arrays in one another: below what the readers and writers of JSON on the way take."""


def parse(endpoint: Endpoint, body: bytes) -> Intake:
    """Check a body and take its facts out.

    Raises:
        BadRequest: the body is no JSON object, or a field that this gateway reads has the wrong type or range.
    """
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(payload, dict):
        raise BadRequest("The body must be a JSON object.", code="invalid_json")
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _is_deep(payload):
        raise BadRequest(f"The body's objects and arrays are nested more than {MAX_DEPTH} deep.", code="invalid_json")
    model = payload.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("'model' must be the name of a model; GET /v1/models lists them.", param="model")
    stream = _flag(payload, "stream")
    options = payload.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise BadRequest("'stream_options' must be an object.", param="stream_options")
    if options is not None and not stream:
        raise BadRequest("'stream_options' is only allowed when 'stream' is true.", param="stream_options")
    inspectable, message_count = _check_prompt(endpoint, payload)
    return Intake(
        endpoint=endpoint,
        model=model,
        stream=stream,
        include_usage=options is not None and _flag(options, "include_usage", "stream_options."),
        choices=_count(payload, "n", 1, MAX_CHOICES) or 1,
        max_output_tokens=_max_output_tokens(payload),
        body_bytes=len(body),
        message_count=message_count,
        prompt_bytes=sum(len(part.encode()) for part in _strings(payload.get("messages", payload.get("prompt")))),
        inspectable=inspectable,
        stays_for=tuple(sorted(_stays_for(endpoint, payload))),
        payload=payload,
    )


def _is_deep(payload: dict[str, object]) -> bool:
    level: list[dict[str, object] | list[object]] = [payload]
    for _ in range(MAX_DEPTH):
        insides = (value.values() if isinstance(value, dict) else value for value in level)
        level = [inner for inside in insides for inner in inside if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _flag(payload: dict[str, object], key: str, prefix: str = "") -> bool:
    value = payload.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise BadRequest(f"'{prefix}{key}' must be true or false.", param=f"{prefix}{key}")
    return value


def _count(payload: dict[str, object], key: str, least: int, most: int) -> int | None:
    value = payload.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadRequest(f"'{key}' must be an integer from {least} to {most}.", param=key)
    return value


def _max_output_tokens(payload: dict[str, object]) -> int | None:
    bounds = [_count(payload, key, 1, 10_000_000) for key in ("max_tokens", "max_completion_tokens")]
    stated = [bound for bound in bounds if bound is not None]
    return min(stated) if stated else None


def _check_prompt(endpoint: Endpoint, payload: dict[str, object]) -> tuple[bool, int]:
    """Whether all of the prompt is text that can be read here, and how many messages or prompts there are."""
    if endpoint is Endpoint.COMPLETIONS:
        return _check_completion_prompt(payload.get("prompt"))
    messages = payload.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("'messages' must be a non-empty array.", param="messages")
    inspectable = True
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise BadRequest(f"'{where}' must be an object.", param=where)
        if not isinstance(message.get("role"), str):
            raise BadRequest(f"'{where}.role' must be a string.", param=f"{where}.role")
        inspectable &= MESSAGE_KEYS.issuperset(message) and _is_text(message.get("content"), f"{where}.content")
    return inspectable, len(messages)


def _check_completion_prompt(prompt: object) -> tuple[bool, int]:
    if isinstance(prompt, str):
        return True, 1
    if not isinstance(prompt, list) or not prompt:
        raise BadRequest("'prompt' must be a string or a non-empty array.", param="prompt")
    # An array of token ids is a prompt that no detector can read.
    return all(isinstance(part, str) for part in prompt), len(prompt)


def _is_text(content: object, where: str) -> bool:
    if content is None or isinstance(content, str):
        return True
    if not isinstance(content, list):
        raise BadRequest(f"'{where}' must be a string or an array of parts.", param=where)
    for index, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise BadRequest(f"'{where}[{index}]' must be an object with a type.", param=f"{where}[{index}]")
    return all(part["type"] in TEXT_PART_TYPES and TEXT_PART_KEYS.issuperset(part) for part in content)


def _stays_for(endpoint: Endpoint, payload: dict[str, object]) -> Iterator[str]:
    other = "prompt" if endpoint is Endpoint.CHAT else "messages"
    if payload.get(other) is not None:
        yield other  # nobody checked that all of it can be read: it is not what this endpoint answers
    for key, value in payload.items():
        if value is not None and key not in CLOUD_PARAMETERS and key not in DROPPED_PARAMETERS:
            yield key
    tools = payload.get("tools")
    if isinstance(tools, list) and any(not isinstance(tool, dict) or tool.get("type") != "function" for tool in tools):
        # A tool that the provider runs itself is billed beside the tokens, so no bound of ours would be true.
        yield "tools"


def _strings(value: object) -> Iterator[str]:
    """Every string inside a JSON value, keys included, in the order of the body."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            for key, inner in reversed(item.items()):
                stack.append(inner)
                stack.append(key)
        elif isinstance(item, list):
            stack.extend(reversed(item))
