"""Facts become the body for one upstream. Values in, bytes out; no I/O.

Parameters are OpenAI's: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from typing import Final

import orjson

from spillway.api.v1alpha1 import EngineType
from spillway.routing import ollama
from spillway.routing.facts import Intake, Route, Target
from spillway.routing.providers import dropped_for, output_bound, surface_of

# What goes to a cloud as it is. Everything else is either dropped, because an answer without it is the same answer, or
# keeps the request here: an allow-list, so that a parameter nobody thought of can neither cost nor leak.
CLOUD_PARAMETERS: Final = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
    }
)
# `store` would keep the prompt at the provider and `service_tier` change its price; the others only label the caller.
DROPPED_PARAMETERS: Final = frozenset(
    {
        "background",
        "cache_salt",
        "metadata",
        "priority",
        "prompt_cache_key",
        "request_id",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)
OUTPUT_BOUNDS: Final = frozenset({"max_tokens", "max_completion_tokens"})
CACHE_KEYS: Final = frozenset({"cache_control"})
"""Asks for a cache of the prompt, whose writing costs up to twice an input token, which no price of a target states
(https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching#pricing)."""
REASONING_KEYS: Final = frozenset({"reasoning", "reasoning_content"})
MAX_CLOUD_OUTPUT_TOKENS: Final = 4096
"""What an answer may hold at most in the cloud when the caller named no bound: a reservation needs one."""


def local_body(intake: Intake, original: bytes, route: Route) -> bytes:
    """The body for an engine: the caller's own bytes wherever nothing has to change.

    A stream is asked for its usage, which the relay strips again when the caller did not ask.
    """
    changes: dict[str, object] = {}
    if intake.model != route.model_name:
        changes["model"] = route.model_name
    if intake.stream and not intake.include_usage:
        changes["stream_options"] = _with_usage(intake)
    if route.engine is EngineType.OLLAMA:
        changes |= ollama.changes(intake, route)
    return orjson.dumps(intake.payload | changes) if changes else original


def cloud_body(intake: Intake, target: Target, route: Route) -> bytes:
    """The body for a cloud target: its model name, a bound on the output, no parameter outside the allow-list.

    What is absent by being null stays away, and so does what the target's surface does not take.
    """
    dropped = dropped_for(intake, target)
    kept = {
        key: value
        for key, value in intake.payload.items()
        if value is not None and key in CLOUD_PARAMETERS and key not in dropped and key not in OUTPUT_BOUNDS
    }
    kept["model"] = target.model
    kept[output_bound(intake, target)] = cloud_output_tokens(intake, route)
    if intake.stream:
        kept["stream_options"] = {"include_usage": True}
    else:
        kept.pop("stream_options", None)
    if isinstance(messages := kept.get("messages"), list):
        unknown = frozenset[str]() if surface_of(target).keeps_reasoning else REASONING_KEYS
        kept["messages"] = [_sent_message(message, unknown) for message in messages]
    if isinstance(tools := kept.get("tools"), list):
        kept["tools"] = [_sent_tool(tool) for tool in tools]
    return orjson.dumps(kept)


def cloud_output_tokens(intake: Intake, route: Route) -> int:
    """The most tokens that one choice may generate in the cloud: never more than the model would hold here."""
    asked = intake.max_output_tokens or MAX_CLOUD_OUTPUT_TOKENS
    return min(asked, route.context_length)


def _sent_message(message: object, unknown: frozenset[str]) -> object:
    """What engines call the reasoning of an earlier answer is no key of OpenAI's messages: some refuse it."""
    message = _without(message, unknown)
    if isinstance(message, dict) and isinstance(parts := message.get("content"), list):
        return message | {"content": [_without(part, CACHE_KEYS) for part in parts]}
    return message


def _sent_tool(tool: object) -> object:
    tool = _without(tool, CACHE_KEYS)
    if isinstance(tool, dict) and "function" in tool:
        return tool | {"function": _without(tool["function"], CACHE_KEYS)}
    return tool


def _without(value: object, keys: frozenset[str]) -> object:
    if not isinstance(value, dict) or keys.isdisjoint(value):
        return value
    return {key: inner for key, inner in value.items() if key not in keys}


def _with_usage(intake: Intake) -> dict[str, object]:
    options = intake.payload.get("stream_options")
    kept: dict[str, object] = dict(options) if isinstance(options, dict) else {}
    return kept | {"include_usage": True}
