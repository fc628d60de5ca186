"""Hide what is personal or secret, any way at all, several ways at once: it does not get out."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from bench.prove.hiding import (
    AROUND,
    BEHIND,
    LETTER_BY_LETTER,
    LOOK_ALIKES,
    MOST_CUTS,
    MOST_LAYERS,
    PLACES,
    PLANTED,
    WHOLE,
    cut,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing_values import route
from spillway.api.v1alpha1 import DataClass
from spillway.routing.facts import Endpoint
from spillway.routing.intake import parse
from spillway.routing.sensitivity import classify


@st.composite
def hidden(draw: st.DrawFn) -> str:
    """Something planted, made to look alike at most once, then encoded at most three times."""
    text = draw(st.sampled_from(PLANTED))
    if draw(st.booleans()):
        text = draw(st.sampled_from(LOOK_ALIKES))(text)
    for encode in draw(st.lists(st.sampled_from(LETTER_BY_LETTER + WHOLE), max_size=MOST_LAYERS)):
        text = encode(text)
    return draw(st.sampled_from(AROUND)) + text + draw(st.sampled_from(BEHIND))


@st.composite
def pieces(draw: st.DrawFn) -> list[str]:
    """The text, cut anywhere."""
    text = draw(hidden())
    return cut(text, draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=MOST_CUTS)))


@given(pieces(), st.sampled_from(PLACES))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_that_is_hidden_gets_out(texts: list[str], place: Callable[[list[str]], dict[str, object]]) -> None:
    body = orjson.dumps({"model": "m", **place(texts)})
    classified = classify(parse(Endpoint.CHAT, body), "Public", route(detectors=frozenset({"PII", "Secrets"})))
    assert classified.data_class is DataClass.SENSITIVE


@given(hidden())
@settings(max_examples=100, deadline=None)
def test_nothing_that_is_hidden_in_a_prompt_gets_out(text: str) -> None:
    body = orjson.dumps({"model": "m", "prompt": ["an earlier prompt", text]})
    classified = classify(parse(Endpoint.COMPLETIONS, body), None, route(detectors=frozenset({"PII", "Secrets"})))
    assert classified.data_class is DataClass.SENSITIVE
