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
from spillway.routing import sensitivity
from spillway.routing.facts import Classified, Endpoint
from spillway.routing.intake import parse
from spillway.routing.sensitivity import RANK, classify, is_read


@pytest.mark.parametrize(
    ("default", "label", "expected"),
    [
        (DataClass.INTERNAL, None, DataClass.INTERNAL),
        (DataClass.INTERNAL, "Sensitive", DataClass.SENSITIVE),
        (DataClass.INTERNAL, "sensitive", DataClass.SENSITIVE),
        (DataClass.INTERNAL, "Public", DataClass.INTERNAL),
        (DataClass.PUBLIC, "Internal", DataClass.INTERNAL),
        (DataClass.SENSITIVE, "Public", DataClass.SENSITIVE),
        (DataClass.PUBLIC, "Public, Sensitive", DataClass.SENSITIVE),
        (DataClass.PUBLIC, "Sensitive,Internal", DataClass.SENSITIVE),
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
    {"messages": [{"role": "user", "content": "hi"}], "response_format": {"json_schema": {"enum": ["HERE"]}}},
    {"messages": [{"role": "user", "content": "hi"}], "stop": "HERE"},
    {"messages": [{"role": "user", "content": "hi"}], "logit_bias": {"HERE": 1}},
    {"messages": [{"role": "HERE", "content": "hi"}]},
    {"messages": [{"role": "assistant", "tool_calls": [{"id": "HERE", "function": {"name": "f"}}]}]},
    {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "HERE", "arguments": "{}"}}]}]},
    {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": '{"a": ["HERE"]}'}}]}]},
    {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": '{"HERE": 1}'}}]}]},
    {"messages": [{"role": "assistant", "reasoning_content": "HERE", "content": None}]},
    {"messages": [{"role": "assistant", "refusal": "HERE"}]},
    {"messages": [{"role": "user", "content": "hi"}], "user": "HERE"},
    {"messages": [{"role": "user", "content": "hi"}], "metadata": {"a": "HERE"}},
    {"messages": [{"role": "user", "content": "hi"}], "metadata": {"HERE": "a"}},
]
NEVER_LEAVES = {"prediction": {"type": "content", "content": "HERE"}, "suffix": "HERE", "a_parameter_to_come": "HERE"}


@pytest.mark.parametrize("secret", ["123-45-6789", "jane@example.com"])
@pytest.mark.parametrize("place", HIDING_PLACES, ids=lambda place: orjson.dumps(place).decode()[:60])
def test_no_place_of_the_body_hides_a_match(place: dict[str, object], secret: str) -> None:
    body = orjson.dumps({"model": "m", **place}).replace(b"HERE", secret.encode())
    assert classify(parse(Endpoint.CHAT, body), None, route()).data_class is DataClass.SENSITIVE


@pytest.mark.parametrize("key", NEVER_LEAVES)
def test_a_parameter_that_keeps_the_request_here_is_not_looked_at(key: str) -> None:
    # it is in `stays_for`, so there is nothing to decide
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], key: NEVER_LEAVES[key]})
    parsed = parse(Endpoint.CHAT, body.replace(b"HERE", b"123-45-6789"))
    assert parsed.stays_for == (key,)
    assert classify(parsed, None, route()) == Classified(DataClass.INTERNAL, "unread:default")


@pytest.mark.parametrize("prompt", ["a 123-45-6789", ["a", "123-45-6789"], ["123-4", "5-6789"], ["123", "45", "6789"]])
def test_no_prompt_of_a_completion_hides_a_match(prompt: object) -> None:
    body = orjson.dumps({"model": "m", "prompt": prompt})
    assert classify(parse(Endpoint.COMPLETIONS, body), None, route()).rule == "detector:ssn"


def test_a_number_that_only_its_name_gives_away_is_found() -> None:
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], "metadata": {"ssn": 123456789}})
    assert classify(parse(Endpoint.CHAT, body), None, route()).rule == "detector:ssn"


WHERE_IT_CANNOT_MATTER = {
    "no target": {"targets": ()},
    "nothing may leave": {"may_leave": frozenset()},
    "nothing of its class may leave": {"may_leave": frozenset({DataClass.PUBLIC})},
}


@pytest.mark.parametrize("changes", WHERE_IT_CANNOT_MATTER.values(), ids=WHERE_IT_CANNOT_MATTER)
def test_nobody_looks_where_it_cannot_matter_and_the_rule_says_so(
    changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "inspect", lambda *_: pytest.fail("it was looked at"))
    request = intake("123-45-6789")
    assert classify(request, None, route(**changes)) == Classified(DataClass.INTERNAL, "unread:default")
    assert not is_read(request, None, route(**changes))


def test_a_label_that_nobody_looked_behind_is_named_so() -> None:
    stays = route(targets=(), default_class=DataClass.PUBLIC)
    assert classify(intake("123-45-6789"), "Internal", stays) == Classified(DataClass.INTERNAL, "unread:label")


def test_what_is_sensitive_already_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "inspect", lambda *_: pytest.fail("it was looked at"))
    assert classify(intake("x"), "Sensitive", route()) == Classified(DataClass.SENSITIVE, "label")
    assert classify(intake("x"), None, route(default_class=DataClass.SENSITIVE)).rule == "default"


def test_without_detectors_default_and_label_are_all() -> None:
    plain = route(detectors=frozenset())
    assert classify(intake("123-45-6789"), None, plain) == Classified(DataClass.INTERNAL, "default")


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
        [{"type": "text", "text": "hi", "image_url": {"url": "https://example.com/x.png"}}],
        [{"type": "text", "text": "hi"}, {"type": "a_type_to_come"}],
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
