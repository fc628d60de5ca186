"""What each provider is sent, and which requests it cannot serve as they were asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from routing_values import PRICE, TARGET, chat, intake, route
from spillway.api.v1alpha1 import Provider
from spillway.routing.budget import reservation_micros
from spillway.routing.facts import Endpoint, Target
from spillway.routing.intake import parse
from spillway.routing.outgoing import cloud_body
from spillway.routing.providers import SURFACES, key_headers, unsuited_because, url_of

OPENAI, AZURE, ANTHROPIC, GEMINI = Provider.OPENAI, Provider.AZURE_OPENAI, Provider.ANTHROPIC, Provider.GEMINI
COMPATIBLE = Provider.OPENAI_COMPATIBLE
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
STRICT = {"type": "function", "function": {"name": "f", "strict": True}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}


def at(provider: Provider, model: str = "some-model") -> Target:
    base_url = SURFACES[provider].base_url or "https://chat.openai.azure.com/openai/v1"
    return replace(TARGET, provider=provider, model=model, base_url=base_url)


def sent(target: Target, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(cloud_body(intake("hi", **fields), target, route()))
    return body


def test_every_provider_is_in_the_table() -> None:
    assert set(SURFACES) == set(Provider)


@pytest.mark.parametrize(
    ("provider", "url", "headers"),
    [
        (OPENAI, "https://api.openai.com/v1/chat/completions", {"authorization": "Bearer k"}),
        (AZURE, "https://chat.openai.azure.com/openai/v1/chat/completions", {"api-key": "k"}),
        (ANTHROPIC, "https://api.anthropic.com/v1/chat/completions", {"authorization": "Bearer k"}),
        (
            GEMINI,
            "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
            {"authorization": "Bearer k"},
        ),
    ],
)
def test_where_a_provider_answers_and_how_a_key_travels(provider: Provider, url: str, headers: dict[str, str]) -> None:
    assert url_of(at(provider), Endpoint.CHAT) == url
    assert key_headers(at(provider), "k") == headers
    assert key_headers(at(provider), None) == {}


@pytest.mark.parametrize("asked", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(
    ("provider", "name"),
    [
        (OPENAI, "max_completion_tokens"),
        (AZURE, "max_completion_tokens"),
        (ANTHROPIC, "max_tokens"),
        (GEMINI, "max_tokens"),
        (COMPATIBLE, None),
    ],
)
def test_output_is_bounded_under_the_name_that_the_provider_knows(
    provider: Provider, name: str | None, asked: str
) -> None:
    body = sent(at(provider), **{asked: 7})
    assert {key: value for key, value in body.items() if key.startswith("max_")} == {name or asked: 7}


HINTS = {"temperature": 0.1, "top_p": 0.9, "presence_penalty": 1, "frequency_penalty": 1, "seed": 7}


@pytest.mark.parametrize(
    ("provider", "model", "left"),
    [
        (OPENAI, "gpt-4o", set(HINTS)),
        (OPENAI, "gpt-5-chat-latest", set(HINTS)),
        (OPENAI, "gpt-5-mini", {"seed", "reasoning_effort"}),
        (OPENAI, "o4-mini", {"seed", "reasoning_effort"}),
        (OPENAI, "ft:o4-mini:org", {"seed", "reasoning_effort"}),
        (AZURE, "gpt-5-mini", {"seed", "reasoning_effort"}),
        (AZURE, "our-own-name", {*HINTS, "reasoning_effort"}),
        (ANTHROPIC, "claude-sonnet-4-5", {"temperature", "top_p"}),
        (GEMINI, "gemini-2.5-flash", {"temperature", "top_p", "reasoning_effort"}),
        (COMPATIBLE, "o4-mini", {*HINTS, "reasoning_effort"}),
    ],
)
def test_what_only_steers_is_dropped_where_it_would_be_refused(provider: Provider, model: str, left: set[str]) -> None:
    body = sent(at(provider, model), reasoning_effort="low", **HINTS)
    assert set(body) & {*HINTS, "reasoning_effort"} == left


@pytest.mark.parametrize(
    ("provider", "model", "fields", "because"),
    [
        (OPENAI, "gpt-4o", {"n": 3, "logprobs": True, "response_format": SCHEMA, "stop": "x"}, None),
        (OPENAI, "gpt-4o", {"logit_bias": {"50256": -100}}, "logit_bias"),
        (OPENAI, "gpt-4o", {"logit_bias": {}}, None),
        (OPENAI, "o3", {"logprobs": True}, "logprobs"),
        (OPENAI, "gpt-5", {"stop": ["x"]}, "stop"),
        (OPENAI, "gpt-5", {"stop": []}, None),
        (AZURE, "gpt-5", {"top_logprobs": 3}, "top_logprobs"),
        (ANTHROPIC, "claude", {"n": 1, "logprobs": False, "response_format": {"type": "text"}}, None),
        (ANTHROPIC, "claude", {"n": 2}, "n"),
        (ANTHROPIC, "claude", {"response_format": SCHEMA}, "response_format"),
        (ANTHROPIC, "claude", {"response_format": {"type": "json_object"}}, "response_format"),
        (ANTHROPIC, "claude", {"tools": [TOOL]}, None),
        (ANTHROPIC, "claude", {"tools": [TOOL, STRICT]}, "tools"),
        (ANTHROPIC, "claude", {"stop": ["a", "\n\n"]}, "stop"),
        (ANTHROPIC, "claude", {"stop": "a b"}, None),
        (GEMINI, "gemini", {"n": 2}, "n"),
        (GEMINI, "gemini", {"logprobs": True}, "logprobs"),
        (GEMINI, "gemini", {"response_format": SCHEMA}, None),
        (GEMINI, "gemini", {"parallel_tool_calls": False, "tools": [TOOL]}, "parallel_tool_calls"),
        (COMPATIBLE, "any", {"n": 3, "logprobs": True, "logit_bias": {"1": 1}, "stop": "\n"}, None),
    ],
)
def test_what_the_answer_owes_keeps_a_request_from_who_would_ignore_it(
    provider: Provider, model: str, fields: dict[str, Any], because: str | None
) -> None:
    assert unsuited_because(intake("hi", **fields), at(provider, model)) == because


@pytest.mark.parametrize("provider", list(Provider))
def test_only_who_has_completions_is_a_candidate_for_them(provider: Provider) -> None:
    asked = parse(Endpoint.COMPLETIONS, orjson.dumps({"model": "chat", "prompt": "hi", "max_tokens": 5, "logprobs": 0}))
    has_them = provider in {OPENAI, AZURE, COMPATIBLE}
    assert unsuited_because(asked, at(provider)) == (None if has_them else "/v1/completions")
    if has_them:
        assert orjson.loads(cloud_body(asked, at(provider), route())) == {
            "model": "some-model",
            "prompt": "hi",
            "max_tokens": 5,
            "logprobs": 0,
        }


def test_a_completion_in_a_schema_is_for_engines_alone() -> None:
    body = {"model": "chat", "prompt": "hi", "response_format": {"type": "json_object"}}
    assert unsuited_because(parse(Endpoint.COMPLETIONS, orjson.dumps(body)), at(COMPATIBLE)) == "response_format"


@pytest.mark.parametrize("provider", list(Provider))
def test_what_means_nothing_there_stays_away(provider: Provider) -> None:
    body = sent(
        at(provider),
        tools=[],
        tool_choice="none",
        parallel_tool_calls=True,
        stop=None,
        stream=True,
        stream_options={"include_usage": False, "continuous_usage_stats": True},
    )
    assert set(body) - {"max_tokens", "max_completion_tokens"} == {"messages", "model", "stream", "stream_options"}
    assert body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("provider", list(Provider))
def test_the_reasoning_of_earlier_answers_goes_only_where_it_is_known(provider: Provider) -> None:
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho", "reasoning_content": "hm", "reasoning": "hm"},
    ]
    asked = parse(Endpoint.CHAT, orjson.dumps({"model": "chat", "messages": messages}))
    crossed = orjson.loads(cloud_body(asked, at(provider), route()))["messages"]
    assert crossed == (messages if provider is COMPATIBLE else [messages[0], {"role": "assistant", "content": "ho"}])
    assert asked.payload["messages"] == messages


@pytest.mark.parametrize("provider", list(Provider))
def test_no_cache_is_asked_for_as_no_price_says_what_it_costs(provider: Provider) -> None:
    cached = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    part = {"type": "text", "text": "hi"}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": cached}}}
    marked = tool | cached | {"function": tool["function"] | cached}  # type: ignore[operator]  # both are dicts
    messages = [{"role": "user", "content": [part | cached]}]
    body = {"model": "chat", "messages": messages, "tools": [marked]}
    crossed = orjson.loads(cloud_body(parse(Endpoint.CHAT, orjson.dumps(body)), at(provider), route()))
    assert crossed["messages"] == [{"role": "user", "content": [part]}]
    assert crossed["tools"] == [tool], "a property of that name is the caller's own"


@pytest.mark.parametrize("provider", list(Provider))
def test_the_words_that_a_provider_puts_around_tools_are_reserved(provider: Provider) -> None:
    target = at(provider)
    plain, with_tool = intake("hi"), intake("hi", tools=[TOOL])
    body_bytes = len(cloud_body(with_tool, target, route())) - len(cloud_body(plain, target, route()))
    more_micros = reservation_micros(with_tool, target, route()) - reservation_micros(plain, target, route())
    more_tokens = body_bytes + SURFACES[provider].tool_tokens
    exact = more_tokens * PRICE.input_micros_per_million / 1_000_000
    assert exact - 1 <= more_micros <= exact + 1


def test_a_letter_that_grows_under_a_tokenizer_is_reserved_as_grown() -> None:
    ligature = "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 1000  # 3 bytes each, and 33 in the form NFKC
    asked = parse(Endpoint.CHAT, chat(ligature, max_tokens=1))
    grown_micros = 33 * 1000 * PRICE.input_micros_per_million // 1_000_000
    assert reservation_micros(asked, TARGET, route()) > grown_micros
