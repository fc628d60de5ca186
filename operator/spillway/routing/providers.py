"""Whose API a target speaks, as a table: where it answers, how a key travels, what it takes of OpenAI's parameters.

What an answer owes to its caller is never dropped in silence: a parameter that a surface ignores, and whose effect the
caller would miss (several choices, log probabilities, a schema of the answer), makes its targets no candidate. One that
only steers (temperature, a penalty, a seed) is dropped where the surface would refuse the request for it.

Sources, read in November 2026:
- OpenAI: https://platform.openai.com/docs/api-reference/chat/create (`max_tokens` is deprecated in favour of
  `max_completion_tokens`, and reasoning models refuse it) and https://platform.openai.com/docs/guides/reasoning; which
  model refuses which parameter: https://community.openai.com/t/developer-role-not-accepted-for-o1-o1-mini-o3-mini/1110750/7
- Azure OpenAI, v1 surface: https://learn.microsoft.com/azure/ai-foundry/openai/latest: `model` is the name of a
  deployment, the key is in `api-key`, and `api-version` is `v1` when it is absent, so none is sent; it bills a prompt
  that its filter or its length refused, and what ran into a timeout:
  https://learn.microsoft.com/azure/ai-services/openai/how-to/manage-costs
- Anthropic: https://platform.claude.com/docs/en/api/openai-sdk: `n` must be 1, most other parameters are ignored;
  what its own words around tools cost: https://docs.anthropic.com/en/docs/tool-use-pricing-and-tokens
- Gemini: https://ai.google.dev/gemini-api/docs/openai; it refuses a parameter it does not know ("Unknown name"):
  https://github.com/n4ze3m/page-assist/issues/418, https://github.com/Vali-98/ChatterUI/issues/227
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from spillway.api.v1alpha1 import Provider
from spillway.routing.facts import Endpoint, Intake, Target

BOTH: Final = frozenset(Endpoint)
CHAT: Final = frozenset({Endpoint.CHAT})
SAMPLING: Final = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty"})
LOG_PROBABILITIES: Final = frozenset({"logprobs", "top_logprobs"})
CHAT_ONLY: Final = frozenset(
    {"messages", "parallel_tool_calls", "reasoning_effort", "response_format", "tool_choice", "tools", "top_logprobs"}
)
"""What only /v1/chat/completions has; the bound on the output has a rule of its own."""


@dataclass(frozen=True, slots=True)
class Quirk:
    """What models whose name matches `models` drop or owe beside what their surface does."""

    models: re.Pattern[str]
    dropped: frozenset[str] = frozenset()
    owed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Surface:
    """One provider's OpenAI-compatible surface.

    `base_url` is None where each customer has one of its own. A key travels in `key_header`, after `key_prefix`.
    `output_bound` is the name under which a chat's bound on generated tokens is sent; None: under the caller's name.
    `dropped` never crosses; a request that asks for something `owed` cannot be served there, nor one with a strict tool
    or a stop of nothing but white space where `owes_strict_tools` or `owes_blank_stops` says that these are ignored.
    `tool_tokens` is the most that the provider's own words around tools add to a prompt.
    `billed_codes` are those of refusals that are billed all the same.
    """

    base_url: str | None = None
    endpoints: frozenset[Endpoint] = BOTH
    key_header: str = "authorization"
    key_prefix: str = "Bearer "
    output_bound: str | None = None
    dropped: frozenset[str] = frozenset()
    owed: frozenset[str] = frozenset()
    owes_strict_tools: bool = False
    owes_blank_stops: bool = False
    keeps_reasoning: bool = False
    tool_tokens: int = 0
    billed_codes: frozenset[str] = frozenset()
    quirks: tuple[Quirk, ...] = ()


# A bias names tokens by their number in the vocabulary of the model here, which is not that of the provider's.
_OPENAI_QUIRKS: Final = (
    Quirk(
        re.compile(r"(ft:)?o\d"),
        dropped=SAMPLING | {"parallel_tool_calls"},
        owed=LOG_PROBABILITIES | {"stop"},
    ),
    Quirk(re.compile(r"(ft:)?gpt-5(?!.*chat)"), dropped=SAMPLING, owed=LOG_PROBABILITIES | {"stop"}),
    Quirk(re.compile(r"(ft:)?(gpt-[34]|gpt-5.*chat|chatgpt)"), dropped=frozenset({"reasoning_effort"})),
)

SURFACES: Final[Mapping[Provider, Surface]] = {
    Provider.OPENAI: Surface(
        base_url="https://api.openai.com/v1",
        output_bound="max_completion_tokens",
        owed=frozenset({"logit_bias"}),
        quirks=_OPENAI_QUIRKS,
    ),
    # A deployment has any name, but the portal proposes the model's, which is all that the quirks can go by.
    Provider.AZURE_OPENAI: Surface(
        key_header="api-key",
        key_prefix="",
        output_bound="max_completion_tokens",
        owed=frozenset({"logit_bias"}),
        billed_codes=frozenset({"content_filter", "context_length_exceeded"}),
        quirks=_OPENAI_QUIRKS,
    ),
    Provider.ANTHROPIC: Surface(
        base_url="https://api.anthropic.com/v1",
        endpoints=CHAT,
        output_bound="max_tokens",
        dropped=frozenset({"frequency_penalty", "presence_penalty", "reasoning_effort", "seed"}),
        owed=LOG_PROBABILITIES | {"logit_bias", "n", "response_format"},
        owes_strict_tools=True,
        owes_blank_stops=True,
        tool_tokens=1024,  # the documented most is 530, of a model that is gone
    ),
    Provider.GEMINI: Surface(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        endpoints=CHAT,
        output_bound="max_tokens",
        dropped=frozenset({"frequency_penalty", "presence_penalty", "seed"}),
        owed=LOG_PROBABILITIES | {"logit_bias", "n", "parallel_tool_calls"},
    ),
    # It may hand on to any of those above: what costs most among them counts.
    Provider.OPENAI_COMPATIBLE: Surface(
        keeps_reasoning=True, tool_tokens=1024, billed_codes=frozenset({"content_filter"})
    ),
}


def surface_of(target: Target) -> Surface:
    """The surface that `target` speaks."""
    return SURFACES[target.provider]


def url_of(target: Target, endpoint: Endpoint) -> str:
    """Where a request goes: the target's base URL holds the version that our own paths begin with."""
    return target.base_url + endpoint.value.removeprefix("/v1")


def key_headers(target: Target, key: str | None) -> dict[str, str]:
    """The header that carries `key`, or none without one."""
    surface = surface_of(target)
    return {} if key is None else {surface.key_header: surface.key_prefix + key}


def output_bound(intake: Intake, target: Target) -> str:
    """Under which name the bound on generated tokens is sent."""
    if intake.endpoint is Endpoint.COMPLETIONS:
        return "max_tokens"
    own = "max_completion_tokens" if "max_completion_tokens" in intake.payload else "max_tokens"
    return surface_of(target).output_bound or own


def dropped_for(intake: Intake, target: Target) -> frozenset[str]:
    """Parameters that `target` is not sent: it would refuse them, or they mean nothing without others."""
    dropped = _dropped(target.provider, target.model)
    if not intake.payload.get("tools"):
        dropped |= {"tools", "tool_choice", "parallel_tool_calls"}  # refused without tools to choose from
    return dropped | CHAT_ONLY if intake.endpoint is Endpoint.COMPLETIONS else dropped


def unsuited_because(intake: Intake, target: Target) -> str | None:
    """The endpoint or parameter for which `target` cannot serve this request as it was asked; None when it can."""
    surface = surface_of(target)
    if intake.endpoint not in surface.endpoints:
        return intake.endpoint.value
    payload = intake.payload
    owed = _owed(target.provider, target.model)
    if intake.endpoint is Endpoint.COMPLETIONS:
        owed |= {"response_format", "tools"}
    asked = [key for key in payload if key in owed and _is_asked(key, payload[key])]
    if asked:
        return min(asked)
    if surface.owes_strict_tools and _has_strict_tool(payload.get("tools")):
        return "tools"
    if surface.owes_blank_stops and _has_blank_stop(payload.get("stop")):
        return "stop"
    return None


def _quirks(provider: Provider, model: str) -> tuple[Quirk, ...]:
    return tuple(quirk for quirk in SURFACES[provider].quirks if quirk.models.match(model))


@lru_cache(maxsize=1024)  # asked for every request and target; there are as many answers as models in use
def _owed(provider: Provider, model: str) -> frozenset[str]:
    return SURFACES[provider].owed.union(*(quirk.owed for quirk in _quirks(provider, model)))


@lru_cache(maxsize=1024)
def _dropped(provider: Provider, model: str) -> frozenset[str]:
    """What is owed as well: a request that asks for it goes elsewhere, and what is left of it asks for nothing."""
    dropped = SURFACES[provider].dropped.union(*(quirk.dropped for quirk in _quirks(provider, model)))
    return dropped | _owed(provider, model)


def _is_asked(key: str, value: object) -> bool:
    """Whether a value asks for anything: what is absent, off or the default owes nobody anything."""
    match key:
        case "logprobs":  # /v1/completions counts them: 0 asks for the chosen token's own
            return value is not None and value is not False
        case "n":
            return value is not None and value != 1
        case "response_format":
            return value is not None and value != {"type": "text"}
        case "parallel_tool_calls":
            return value is False
        case _:
            return bool(value)


def _has_strict_tool(tools: object) -> bool:
    functions = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return any(isinstance(function, dict) and bool(function.get("strict")) for function in functions)


def _has_blank_stop(stop: object) -> bool:
    texts = stop if isinstance(stop, list) else [stop]
    return any(isinstance(text, str) and text and text.isspace() for text in texts)
