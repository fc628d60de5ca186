"""Bodies: what is refused before any upstream sees it, and what each upstream is sent."""

from __future__ import annotations

import orjson
import pytest

from routing_values import TARGET, chat, intake, route
from spillway.errors import BadRequest
from spillway.routing.facts import Endpoint
from spillway.routing.intake import MAX_DEPTH, parse
from spillway.routing.outgoing import MAX_CLOUD_OUTPUT_TOKENS, cloud_body, local_body

MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'


@pytest.mark.parametrize(
    ("body", "says", "param"),
    [
        (b"", "not valid JSON", None),
        (b'{"model":', "not valid JSON", None),
        (b"[]", "must be a JSON object", None),
        (b"{" + MESSAGES + b"}", "'model' must be", "model"),
        (b'{"model":7,' + MESSAGES + b"}", "'model' must be", "model"),
        (b'{"model":"m"}', "'messages' must be", "messages"),
        (b'{"model":"m","messages":[]}', "'messages' must be", "messages"),
        (b'{"model":"m","messages":["hi"]}', "'messages[0]' must be an object", "messages[0]"),
        (b'{"model":"m","messages":[{"content":"hi"}]}', "role' must be a string", "messages[0].role"),
        (
            b'{"model":"m","messages":[{"role":"user","content":7}]}',
            "must be a string or an array",
            "messages[0].content",
        ),
        (
            b'{"model":"m","messages":[{"role":"user","content":[{}]}]}',
            "an object with a type",
            "messages[0].content[0]",
        ),
        (b'{"model":"m","stream":"yes",' + MESSAGES + b"}", "'stream' must be true or false", "stream"),
        (
            b'{"model":"m","stream_options":{},' + MESSAGES + b"}",
            "only allowed when 'stream' is true",
            "stream_options",
        ),
        (b'{"model":"m","max_tokens":0,' + MESSAGES + b"}", "'max_tokens' must be an integer from 1", "max_tokens"),
        (b'{"model":"m","max_tokens":true,' + MESSAGES + b"}", "'max_tokens' must be an integer", "max_tokens"),
        (b'{"model":"m","max_tokens":1.5,' + MESSAGES + b"}", "'max_tokens' must be an integer", "max_tokens"),
        (b'{"model":"m","n":0,' + MESSAGES + b"}", "'n' must be an integer from 1 to 128", "n"),
    ],
)
def test_a_malformed_body_is_refused_with_the_field_that_is_wrong(body: bytes, says: str, param: str | None) -> None:
    with pytest.raises(BadRequest, match=says.replace("[", r"\[").replace("]", r"\]")) as caught:
        parse(Endpoint.CHAT, body)
    assert caught.value.param == param
    assert caught.value.status == 400


@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_body_that_is_nested_too_deep_to_be_written_again_is_refused(opened: bytes, closed: bytes) -> None:
    def body(depth: int) -> bytes:
        return b'{"model":"chat",' + MESSAGES + b',"tools":' + opened * depth + b"7" + closed * depth + b"}"

    with pytest.raises(BadRequest, match="nested"):
        parse(Endpoint.CHAT, body(MAX_DEPTH))
    assert cloud_body(parse(Endpoint.CHAT, body(MAX_DEPTH - 1)), TARGET, route())
    flat = b'{"model":"chat",' + MESSAGES + b',"tools":[' + b",".join([b"[]"] * 1000) + b"]}"
    assert parse(Endpoint.CHAT, flat)


def test_an_engine_gets_the_callers_own_bytes_when_nothing_has_to_change() -> None:
    body = b'{ "model": "chat", "messages": [{"role": "user", "content": "hi"}], "top_k": 3 }'
    assert local_body(parse(Endpoint.CHAT, body), body, route()) is body


def test_a_stream_is_asked_for_its_usage_and_keeps_the_callers_options() -> None:
    body = chat("hi", stream=True, stream_options={"include_usage": False, "continuous_usage_stats": False})
    sent = orjson.loads(local_body(parse(Endpoint.CHAT, body), body, route()))
    assert sent["stream_options"] == {"include_usage": True, "continuous_usage_stats": False}


def test_a_cloud_gets_its_own_model_name_a_bound_and_no_other_parameter() -> None:
    sent = orjson.loads(
        cloud_body(intake("hi", store=True, user="u-1", service_tier="priority", temperature=0.1), TARGET, route())
    )
    assert sent == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.1,
        "max_tokens": MAX_CLOUD_OUTPUT_TOKENS,
    }


@pytest.mark.parametrize(
    ("fields", "name", "bound"),
    [
        ({}, "max_tokens", 4096),
        ({"max_tokens": 10}, "max_tokens", 10),
        ({"max_completion_tokens": 10}, "max_completion_tokens", 10),
        ({"max_tokens": 20, "max_completion_tokens": 10}, "max_completion_tokens", 10),
        ({"max_tokens": 100_000}, "max_tokens", 8192),
    ],
)
def test_output_in_the_cloud_is_always_bounded(fields: dict[str, object], name: str, bound: int) -> None:
    sent = orjson.loads(cloud_body(intake("hi", **fields), TARGET, route()))
    assert {key: value for key, value in sent.items() if key.startswith("max_")} == {name: bound}


@pytest.mark.parametrize(
    ("fields", "stays_for"),
    [
        ({}, ()),
        ({"user": "u", "metadata": {"a": "b"}}, ()),
        ({"top_k": 3, "best_of": 2}, ("best_of", "top_k")),
        ({"top_k": None}, ()),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, ()),
        ({"tools": [{"type": "web_search"}]}, ("tools",)),
        ({"modalities": ["audio"]}, ("modalities",)),
    ],
)
def test_a_parameter_that_no_cloud_may_see_keeps_the_request_here(
    fields: dict[str, object], stays_for: tuple[str, ...]
) -> None:
    assert intake("hi", **fields).stays_for == stays_for


def test_parsing_never_changes_the_payload() -> None:
    body = chat("hi", stream=True, max_tokens=9, store=True)
    parsed = parse(Endpoint.CHAT, body)
    cloud_body(parsed, TARGET, route())
    local_body(parsed, body, route())
    assert parsed.payload == orjson.loads(body)


PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    ("endpoint", "fields", "other"),
    [
        (Endpoint.CHAT, {"messages": [{"role": "user", "content": "hi"}], "prompt": "hi"}, "prompt"),
        (Endpoint.COMPLETIONS, {"prompt": "hi", "messages": [{"role": "user", "content": [PICTURE]}]}, "messages"),
    ],
)
def test_the_prompt_of_the_other_endpoint_keeps_a_request_here(
    endpoint: Endpoint, fields: dict[str, object], other: str
) -> None:
    assert parse(endpoint, orjson.dumps({"model": "chat", **fields})).stays_for == (other,)
