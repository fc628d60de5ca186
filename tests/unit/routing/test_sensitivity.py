"""What makes a request sensitive: labels, defaults, detectors, and what no detector can read."""

from __future__ import annotations

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_values import intake, route
from spillway.api.v1alpha1 import DataClass
from spillway.errors import BadRequest
from spillway.routing.facts import Endpoint
from spillway.routing.intake import parse
from spillway.routing.sensitivity import RANK, classify, detect_pii


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("my number is 123-45-6789.", "ssn"),
        ("123 45 6789", "ssn"),
        ("123.45.6789", "ssn"),
        ("123\u201145\u20116789", "ssn"),
        ("123\u00a045\u00a06789", "ssn"),
        ("(123-45-6789)", "ssn"),
        ("000-12-3456 123-45-6789", "ssn"),
        ("SSN: 123456789", "ssn"),
        ("social security number 123456789", "ssn"),
        ("write to jane.doe+x@example.co.uk today", "email"),
        ("<a@b.io>", "email"),
        ("000-45-6789", None),
        ("666-45-6789", None),
        ("900-45-6789", None),
        ("123-00-6789", None),
        ("123-45-0000", None),
        ("1234-45-6789", None),
        ("123-45-67890", None),
        ("order 123456789", None),
        ("call 555-0123 or 2024-01-15", None),
        ("user@localhost", None),
        ("@decorator", None),
        ("a @ b.com", None),
        ("", None),
    ],
)
def test_detectors_find_what_is_personal_and_leave_what_is_not(text: str, found: str | None) -> None:
    assert detect_pii(text) == found


@pytest.mark.parametrize(
    ("default", "label", "expected"),
    [
        (DataClass.INTERNAL, None, DataClass.INTERNAL),
        (DataClass.INTERNAL, "Sensitive", DataClass.SENSITIVE),
        (DataClass.INTERNAL, "sensitive", DataClass.SENSITIVE),
        (DataClass.INTERNAL, "Public", DataClass.INTERNAL),
        (DataClass.PUBLIC, "Internal", DataClass.INTERNAL),
        (DataClass.SENSITIVE, "Public", DataClass.SENSITIVE),
    ],
)
def test_a_label_raises_the_class_and_never_lowers_it(
    default: DataClass, label: str | None, expected: DataClass
) -> None:
    assert classify(intake("hello"), label, route(default_class=default)).data_class is expected


def test_an_unknown_label_is_refused_with_the_choices() -> None:
    with pytest.raises(BadRequest, match="Sensitive, Internal, Public"):
        classify(intake("hello"), "secret", route())


HIDING_PLACES = [
    {"messages": [{"role": "user", "content": "HERE"}]},
    {"messages": [{"role": "system", "content": "HERE"}, {"role": "user", "content": "hi"}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "HERE"}]}]},
    {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "HERE"}}]}]},
    {"messages": [{"role": "tool", "tool_call_id": "1", "content": "HERE"}]},
    {"messages": [{"role": "user", "content": "hi", "name": "HERE"}]},
    {
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"description": "HERE"}}],
    },
    {"messages": [{"role": "user", "content": "hi"}], "response_format": {"json_schema": {"HERE": 1}}},
    {"messages": [{"role": "user", "content": "hi"}], "stop": ["HERE"]},
    {"messages": [{"role": "user", "content": "hi"}], "user": "HERE"},
]


@pytest.mark.parametrize("secret", ["123-45-6789", "jane@example.com"])
@pytest.mark.parametrize("place", HIDING_PLACES, ids=lambda place: orjson.dumps(place).decode()[:60])
def test_no_place_of_the_body_hides_a_match(place: dict[str, object], secret: str) -> None:
    body = orjson.dumps({"model": "m", **place}).replace(b"HERE", secret.encode())
    assert classify(parse(Endpoint.CHAT, body), None, route()).data_class is DataClass.SENSITIVE


def test_json_escapes_hide_nothing() -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in "123-45-6789")
    body = b'{"model":"m","messages":[{"role":"user","content":"' + escaped.encode() + b'"}]}'
    assert classify(parse(Endpoint.CHAT, body), None, route()).rule == "detector:ssn"


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}],
        [{"type": "input_audio", "input_audio": {"data": base64.b64encode(b"x").decode()}}],
        [{"type": "file", "file": {"file_id": "file-1"}}],
    ],
)
def test_what_cannot_be_read_counts_as_sensitive(content: object) -> None:
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": content}]})
    classified = classify(parse(Endpoint.CHAT, body), "Public", route(default_class=DataClass.PUBLIC))
    assert classified.data_class is DataClass.SENSITIVE


def test_a_prompt_of_token_ids_counts_as_sensitive() -> None:
    parsed = parse(Endpoint.COMPLETIONS, b'{"model":"m","prompt":[1,2,3]}')
    assert classify(parsed, None, route(default_class=DataClass.PUBLIC)).data_class is DataClass.SENSITIVE


@given(st.text(max_size=200), st.sampled_from([None, *DataClass]), st.sampled_from(list(DataClass)))
def test_no_text_lowers_a_class(text: str, label: DataClass | None, default: DataClass) -> None:
    got = classify(intake(text), label.value if label else None, route(default_class=default)).data_class
    assert RANK[got] >= RANK[default]
    assert label is None or RANK[got] >= RANK[label]
