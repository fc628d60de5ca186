"""Hide what is personal or secret, any way at all, several ways at once: it does not get out."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing_values import route
from spillway.api.v1alpha1 import DataClass
from spillway.routing.facts import Endpoint
from spillway.routing.intake import parse
from spillway.routing.sensitivity import classify

PLANTED: Final = (
    "123-45-6789",
    "123 45 6789",
    "jane.doe@example.com",
    "4111 1111 1111 1111",
    "5555555555554444",
    "DE89 3704 0044 0532 0130 00",
    "GB29NWBK60161331926819",
    "+44 20 7946 0958",
    "415-555-2671",
    "81.2.69.142",
    "AK" + "IAQ7ZT3RK5WM2XC4VB",
    "gh" + "p_q7Zt3Rk9Wm2Xc8Vb5Np4Lj6Hg1Fd0SaQwErT",
    "sk-" + "ant-api03-q7Zt3Rk9Wm2Xc8Vb5Np4Lj6Hg1Fd0Sa",
    "postgres" + "://app:s3cr3t-77@db.internal:5432/x",
    "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
)
AROUND: Final = ("please look at this: ", "it was said that (", "Q: ", "")
BEHIND: Final = (" - thanks", ") and so on.", "\nWhat now?", "")


def every_letter(write: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "".join(map(write, text))


def fullwidth(letter: str) -> str:
    return chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter


def doublestruck_digit(letter: str) -> str:
    return chr(0x1D7D8 + int(letter)) if letter.isdigit() else letter


LETTER_BY_LETTER: Final = (
    every_letter(lambda letter: f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else letter),
    every_letter(lambda letter: f"&#{ord(letter)};"),
    every_letter(lambda letter: f"&#x{ord(letter):X};"),
    every_letter(lambda letter: "".join(f"%{byte:02x}" for byte in letter.encode())),
    every_letter(lambda letter: "".join(f"\\x{byte:02x}" for byte in letter.encode())),
    lambda text: quote(text, safe=""),
    html.escape,
    lambda text: orjson.dumps(text).decode(),
)
LOOK_ALIKES: Final = (
    every_letter(fullwidth),
    every_letter(doublestruck_digit),
    "\u200b".join,
    "\u2060\u00ad".join,
    lambda text: text.replace("-", "\u2011").replace(" ", "\u00a0"),
)
WHOLE: Final = (
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    lambda text: base64.b64encode(f"so: {text}, as agreed".encode()).decode().rstrip("=") + "\n",
    lambda text: base64.encodebytes(f"{'text ' * 20}{text}{' text' * 20}".encode()).decode(),
    lambda text: text.encode().hex(),
    lambda text: orjson.dumps({"a": [text]}).decode(),
)
MOST_LAYERS: Final = 3


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
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=4)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True) if text[start:end]]


def as_messages(texts: list[str]) -> dict[str, object]:
    roles = ("user", "assistant", "system", "tool")
    return {"messages": [{"role": roles[index % 4], "content": text} for index, text in enumerate(texts)]}


def as_parts(texts: list[str]) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}]}


def as_arguments(texts: list[str]) -> dict[str, object]:
    arguments = orjson.dumps({f"key{index}": text for index, text in enumerate(texts)}).decode()
    call = {"id": "call-1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}


def as_calls(texts: list[str]) -> dict[str, object]:
    calls = [
        {"id": f"call-{index}", "type": "function", "function": {"arguments": orjson.dumps({"a": text}).decode()}}
        for index, text in enumerate(texts)
    ]
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": calls}]}


def as_schema(texts: list[str]) -> dict[str, object]:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": texts}}}
    return {"messages": [{"role": "user", "content": "hi"}], "response_format": schema}


PLACES: Final = (as_messages, as_parts, as_arguments, as_calls, as_schema)


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
