"""Ways to hide what is personal or secret in a request: what a detector has to see through."""

from __future__ import annotations

import base64
import html
import random
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import orjson

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
MOST_LAYERS: Final = 3
MOST_CUTS: Final = 4

Encoding = Callable[[str], str]


def _every_letter(write: Encoding) -> Encoding:
    return lambda text: "".join(map(write, text))


def _fullwidth(letter: str) -> str:
    return chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter


def _doublestruck_digit(letter: str) -> str:
    return chr(0x1D7D8 + int(letter)) if letter.isdigit() else letter


LETTER_BY_LETTER: Final[tuple[Encoding, ...]] = (
    _every_letter(lambda letter: f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else letter),
    _every_letter(lambda letter: f"&#{ord(letter)};"),
    _every_letter(lambda letter: f"&#x{ord(letter):X};"),
    _every_letter(lambda letter: "".join(f"%{byte:02x}" for byte in letter.encode())),
    _every_letter(lambda letter: "".join(f"\\x{byte:02x}" for byte in letter.encode())),
    lambda text: quote(text, safe=""),
    html.escape,
    lambda text: orjson.dumps(text).decode(),
)
LOOK_ALIKES: Final[tuple[Encoding, ...]] = (
    _every_letter(_fullwidth),
    _every_letter(_doublestruck_digit),
    "\u200b".join,
    "\u2060\u00ad".join,
    lambda text: text.replace("-", "\u2011").replace(" ", "\u00a0"),
)
WHOLE: Final[tuple[Encoding, ...]] = (
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    lambda text: base64.b64encode(f"so: {text}, as agreed".encode()).decode().rstrip("=") + "\n",
    lambda text: base64.encodebytes(f"{'text ' * 20}{text}{' text' * 20}".encode()).decode(),
    lambda text: text.encode().hex(),
    lambda text: orjson.dumps({"a": [text]}).decode(),
)


def _as_messages(texts: list[str]) -> dict[str, object]:
    roles = ("user", "assistant", "system", "tool")
    return {"messages": [{"role": roles[index % 4], "content": text} for index, text in enumerate(texts)]}


def _as_parts(texts: list[str]) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}]}


def _as_arguments(texts: list[str]) -> dict[str, object]:
    arguments = orjson.dumps({f"key{index}": text for index, text in enumerate(texts)}).decode()
    call = {"id": "call-1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}


def _as_calls(texts: list[str]) -> dict[str, object]:
    calls = [
        {"id": f"call-{index}", "type": "function", "function": {"arguments": orjson.dumps({"a": text}).decode()}}
        for index, text in enumerate(texts)
    ]
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": calls}]}


def _as_schema(texts: list[str]) -> dict[str, object]:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": texts}}}
    return {"messages": [{"role": "user", "content": "hi"}], "response_format": schema}


PLACES: Final = (_as_messages, _as_parts, _as_arguments, _as_calls, _as_schema)
"""Bodies of a chat that hold these texts, but for the model."""


def cut(text: str, places: set[int]) -> list[str]:
    """The text in pieces, cut at these places."""
    cuts = sorted(places)
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True) if text[start:end]]


def hide(dice: random.Random) -> dict[str, object]:
    """A chat with something planted in it: made to look alike at most once, encoded at most three times, cut."""
    text = dice.choice(PLANTED)
    if dice.random() < 0.5:
        text = dice.choice(LOOK_ALIKES)(text)
    for encode in dice.choices(LETTER_BY_LETTER + WHOLE, k=dice.randint(0, MOST_LAYERS)):
        text = encode(text)
    text = dice.choice(AROUND) + text + dice.choice(BEHIND)
    places = {dice.randint(1, max(1, len(text) - 1)) for _ in range(dice.randint(0, MOST_CUTS))}
    return dice.choice(PLACES)(cut(text, places))
