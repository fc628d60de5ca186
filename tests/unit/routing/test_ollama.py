from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from routing_values import route
from spillway.api.v1alpha1 import EngineType
from spillway.errors import BadRequest
from spillway.routing import ollama
from spillway.routing.facts import Endpoint
from spillway.routing.intake import parse
from spillway.routing.outgoing import local_body

OLLAMA = route(engine=EngineType.OLLAMA, context_length=1000)


def body(**fields: object) -> bytes:
    return orjson.dumps({"model": OLLAMA.model_name, "messages": [{"role": "user", "content": "hi"}]} | fields)


@pytest.mark.parametrize(
    ("fields", "bound"),
    [
        ({}, 1000),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 9}, 9),
        ({"max_tokens": 99_999}, 1000),
    ],
)
def test_every_answer_has_a_bound_in_ollamas_word(fields: dict[str, object], bound: int):
    asked = body(**fields)
    sent = orjson.loads(local_body(parse(Endpoint.CHAT, asked), asked, OLLAMA))
    assert sent["max_tokens"] == bound


def test_vllm_gets_the_callers_own_bytes():
    asked = body(max_completion_tokens=9)
    assert local_body(parse(Endpoint.CHAT, asked), asked, replace(OLLAMA, engine=EngineType.VLLM)) == asked


def test_a_prompt_that_would_be_cut_is_refused_with_the_context():
    long = [{"role": "user", "content": "word " * 1000}]
    with pytest.raises(BadRequest, match="context is 1000 tokens") as caught:
        ollama.check(parse(Endpoint.CHAT, body(messages=long)), OLLAMA)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "context_length_exceeded", "messages")
    ollama.check(parse(Endpoint.CHAT, body()), OLLAMA)


def test_an_image_is_not_counted_by_its_bytes():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
    ollama.check(parse(Endpoint.CHAT, body(messages=[{"role": "user", "content": [image]}])), OLLAMA)


@pytest.mark.parametrize("key", ["Model", "MODEL", "max_toKens", "me\u017f\u017fages"])
def test_a_parameter_that_ollama_would_read_as_another_is_refused(key: str):
    with pytest.raises(BadRequest, match=f"did you mean '{key.casefold()}'"):
        ollama.check(parse(Endpoint.CHAT, body(**{key: "gpt-oss:120b-cloud"})), OLLAMA)
    ollama.check(parse(Endpoint.CHAT, body(chatId="of no meaning here")), OLLAMA)


def test_several_choices_are_refused_before_one_is_given():
    with pytest.raises(BadRequest, match="'n' must be 1"):
        ollama.check(parse(Endpoint.CHAT, body(n=2)), OLLAMA)
