"""The event parser, fed whole, byte by byte and with a tail: events and bytes are the same."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rig import DONE, chunk, usage_chunk
from spillway.errors import StreamBroken
from spillway.gateway import sse
from spillway.gateway.sse import Event, Kind, Parser, unary_usage
from spillway.routing.facts import Usage

TAIL = b'data: {"choices": [{"ind'


def read(stream: bytes, cuts: list[int] | None = None, *, attentive: bool = True) -> list[Event]:
    """All events; nothing is lost, whatever the cuts, and a tail stays a tail."""
    parser = Parser(attentive=attentive)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts or [])})
    events = [event for start, end in pairwise(places) for event in parser.feed(stream[start:end])]
    assert b"".join(event.raw for event in events) + parser.rest == stream
    return events


def kinds(stream: bytes) -> list[Kind]:
    """The same fed whole, byte by byte, and with a tail."""
    found = [event.kind for event in read(stream)]
    assert [event.kind for event in read(stream, list(range(len(stream))))] == found
    assert [event.kind for event in read(stream + TAIL)] == found
    return found


CASES = [
    ("a comment answers nothing", b": keep-alive\n\n", [Kind.COMMENT]),
    ("fields other than data answer nothing", b"event: ping\nid: 4\n\n", [Kind.COMMENT]),
    ("a role alone is no content", chunk(), [Kind.PREAMBLE]),
    ("text is content", chunk("a"), [Kind.CONTENT]),
    ("lines may end in CRLF", chunk("a").replace(b"\n", b"\r\n") + DONE, [Kind.CONTENT, Kind.DONE]),
    ("two events in one read", chunk("a") + DONE, [Kind.CONTENT, Kind.DONE]),
    ("an end without text is an answer", chunk("", "stop"), [Kind.CONTENT]),
    ("an abort is none", chunk("", "abort"), [Kind.ABORTED]),
    (
        "a tool call is content",
        b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]},"finish_reason":null}]}\n\n',
        [Kind.CONTENT],
    ),
    ("reasoning is content", b'data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n\n', [Kind.CONTENT]),
    ("a refusal is content", b'data: {"choices":[{"delta":{"refusal":"no"}}]}\n\n', [Kind.CONTENT]),
    ("completions have text", b'data: {"choices":[{"text":"a","finish_reason":null}]}\n\n', [Kind.CONTENT]),
    ("completions may be empty so far", b'data: {"choices":[{"text":"","finish_reason":null}]}\n\n', [Kind.PREAMBLE]),
    ("usage without choices", usage_chunk(), [Kind.USAGE]),
    ("usage beside content is content", chunk("a", usage={"prompt_tokens": 1, "completion_tokens": 1}), [Kind.CONTENT]),
    ("usage null is none", chunk("a", usage=None), [Kind.CONTENT]),
    ("no choices and no usage", b'data: {"choices":[],"usage":null}\n\n', [Kind.PREAMBLE]),
    ("an error is a refusal", b'data: {"error":{"message":"m","code":503}}\n\n', [Kind.ERROR]),
    ("an error may be a string", b'data: {"error":"Unauthorized"}\n\n', [Kind.ERROR]),
    ("data may follow without a blank", b'data:{"choices":[{"text":"a"}]}\n\n', [Kind.CONTENT]),
    ("data over two lines is one event", b'data: {"choices":\ndata: [{"text":"a"}]}\n\n', [Kind.CONTENT]),
    ("what is no JSON is no content", b"data: <html>\n\n", [Kind.PREAMBLE]),
    ("DONE in a text is not DONE", chunk("[DONE]"), [Kind.CONTENT]),
]


@pytest.mark.parametrize(("stream", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_an_event_means(stream: bytes, expected: list[Kind]) -> None:
    assert kinds(stream) == expected


WORDS = st.sampled_from(
    [chunk(), chunk("a"), chunk('say "usage" and "error", \\n\n'), chunk("x", "stop"), usage_chunk(), DONE, b": c\n\n"]
)


@given(st.lists(WORDS, max_size=6), st.lists(st.integers(0, 400), max_size=12), st.booleans())
def test_wherever_the_network_cuts_the_events_are_the_same(
    parts: list[bytes], cuts: list[int], attentive: bool
) -> None:
    stream = b"".join(parts)
    assert read(stream, cuts, attentive=attentive) == read(stream, attentive=attentive)


@given(st.lists(WORDS, max_size=6))
def test_a_parser_that_skips_content_sees_the_same_usage_errors_and_ends(parts: list[bytes]) -> None:
    notable = {Kind.USAGE, Kind.DONE, Kind.ERROR, Kind.ABORTED, Kind.COMMENT}
    seen, skimmed = (read(b"".join(parts), attentive=attentive) for attentive in (True, False))
    assert [event for event in seen if event.kind in notable] == [event for event in skimmed if event.kind in notable]


def test_usage_is_read_from_streams_and_whole_answers_alike() -> None:
    usage = b'{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}}'
    (event,) = read(b'data: {"choices":[],"usage":' + usage + b"}\n\n")

    assert event.usage == Usage(3, 2, 1)
    assert sse.unary_usage(b'{"usage":' + usage + b"}") == Usage(3, 2, 1)


@pytest.mark.parametrize(
    "usage",
    [
        b"null",
        b'{"prompt_tokens":-1}',
        b'{"prompt_tokens":"3"}',
        b"{}",
        b"[1]",
        b'{"prompt_tokens":9223372036854775807}',
        b'{"prompt_tokens":1,"total_tokens":9223372036854775807}',
    ],
)
def test_usage_that_cannot_be_a_bill_is_none(usage: bytes) -> None:
    assert sse.unary_usage(b'{"usage":' + usage + b"}") is None


def test_an_event_without_end_is_given_up() -> None:
    parser = Parser()
    with pytest.raises(StreamBroken):
        parser.feed(b"data: " + b"x" * sse.MAX_EVENT_BYTES)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}, Usage(20, 603)),
        ({"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 218}, Usage(20, 198)),
        ({"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 20}, Usage(20, 198)),
        ({"prompt_tokens": 20, "completion_tokens": 198}, Usage(20, 198)),
    ],
)
def test_what_a_model_thought_counts_as_generated_though_only_the_total_says_so(
    usage: dict[str, int], expected: Usage
) -> None:
    assert unary_usage(orjson.dumps({"choices": [], "usage": usage})) == expected


def test_an_error_in_a_list_of_one_is_an_error() -> None:
    (event,) = Parser().feed(b'data: [{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}]\n\n')
    assert (event.kind, event.status) == (Kind.ERROR, 503)
