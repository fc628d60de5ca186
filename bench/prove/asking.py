"""What is asked: one request a number, drawn from the seed, so that each can be made again."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Final

import orjson

from bench.prove.hiding import hide
from spillway.api.v1alpha1 import DataClass
from spillway.simulator.words import VOCABULARY

CALLERS_KEY: Final = "sk-of-the-caller-"
"""How each caller's own credential begins; it may cross to nobody."""
MARK: Final = re.compile(rb"zq([a-j]{7})q")
"""A request's number, in letters: detectors see none of it."""
DEFAULT_CLASS: Final = {
    "chat": DataClass.INTERNAL,
    "guarded": DataClass.PUBLIC,
    "solo": DataClass.SENSITIVE,
    "nobody": DataClass.SENSITIVE,
}
RANK: Final = {DataClass.PUBLIC: 0, DataClass.INTERNAL: 1, DataClass.SENSITIVE: 2}
SMALL_BYTES: Final = 20_000
"""A body up to this, with a bound on its answer, costs less than the least that is ever left of a budget."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `data_class` is what it is, whatever a detector says; its caller goes after `leaves` seconds."""

    number: int
    deployment: str
    data_class: DataClass
    path: str
    body: bytes
    headers: dict[str, str]
    leaves: float | None
    expects: bool
    """Waits for 100 Continue before it sends the body: from then on it is known that the gateway has begun."""

    @property
    def is_small(self) -> bool:
        """Whether any budget that is not about to be spent has room for it."""
        return len(self.body) <= SMALL_BYTES and b'"max_tokens"' in self.body and b'"n"' not in self.body


def mark(number: int) -> str:
    """The number as a word of letters."""
    return "zq" + "".join(chr(ord("a") + int(digit)) for digit in f"{number:07d}") + "q"


def numbers(sent: bytes) -> set[int]:
    """The numbers of the requests that are in what was sent."""
    return {int("".join(chr(letter - ord("a") + ord("0")) for letter in found)) for found in MARK.findall(sent)}


def ask(seed: int, number: int) -> Asked:
    """The request of that number."""
    dice = random.Random(f"{seed}/{number}")
    deployment = dice.choices(list(DEFAULT_CLASS), (70, 20, 8, 2))[0]
    headers = {"content-type": "application/json", "authorization": f"Bearer {CALLERS_KEY}{mark(number)}"}
    headers |= _noise(dice)
    data_class, body = DEFAULT_CLASS[deployment], _body(dice, number)
    kind = dice.random()
    if kind < 0.15:
        hidden = hide(dice)
        assert isinstance(hidden["messages"], list)
        hidden["messages"].append({"role": "user", "content": mark(number)})
        body = hidden | {key: body[key] for key in ("max_tokens", "stream") if key in body}
        data_class = DataClass.SENSITIVE
    elif kind < 0.17:
        picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
        body["messages"] = [{"role": "user", "content": [picture, {"type": "text", "text": mark(number)}]}]
        data_class = DataClass.SENSITIVE
    elif kind < 0.35:
        label = dice.choice(tuple(DataClass))
        headers["x-spillway-data-class"] = dice.choice((label.value, label.value.lower(), f" {label.value} "))
        data_class = max(data_class, label, key=lambda one: RANK[one])
    data = orjson.dumps(body | {"model": deployment})
    if 0.35 <= kind < 0.38:
        data = _malformed(dice, data)
    path = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
    if 0.38 <= kind < 0.385:
        path = "/v1/embeddings"
    leaves = dice.uniform(0.0, 0.5) ** 2 if dice.random() < 0.06 else None
    expects = leaves is not None or dice.random() < 0.5
    return Asked(number, deployment, data_class, path, data, headers, leaves, expects)


def _body(dice: random.Random, number: int) -> dict[str, object]:
    size = dice.choices((12, 120, 1200, 40_000), (60, 28, 11.8, 0.2))[0]
    text = " ".join(dice.choices(VOCABULARY, k=dice.randint(1, size))) + " " + mark(number)
    body: dict[str, object] = {"messages": [{"role": "user", "content": text}]}
    if dice.random() < 0.15:
        body = {"prompt": dice.choice((text, ["first " + mark(number), text]))}
    elif dice.random() < 0.3:
        body["messages"] = [{"role": "system", "content": "be brief"}, *_turns(dice), {"role": "user", "content": text}]
    limit = dice.choices((1, dice.randint(2, 60), dice.randint(60, 300), 100_000, None), (5, 82, 8, 2, 3))[0]
    if limit is not None:
        body["max_tokens"] = limit
    if dice.random() < 0.5:
        body["stream"] = True
        if dice.random() < 0.3:
            body["stream_options"] = {"include_usage": True}
    if dice.random() < 0.02:
        body["n"] = dice.randint(2, 4)
    if dice.random() < 0.1:
        body["user"] = f"team-{dice.randint(1, 5)}"
    if dice.random() < 0.02:
        body["guided_regex"] = "a+"  # no cloud has it, so it stays
    return body


def _turns(dice: random.Random) -> list[dict[str, object]]:
    function = {"name": "look", "arguments": orjson.dumps({"place": dice.choice(VOCABULARY)}).decode()}
    calls = [{"id": "call-a", "type": "function", "function": function}]
    return [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call-a", "content": dice.choice(VOCABULARY)},
    ]


def _malformed(dice: random.Random, data: bytes) -> bytes:
    wrong: tuple[dict[str, object], ...] = (
        {"max_tokens": "many"},
        {"stream": "yes"},
        {"n": 0},
        {"messages": [], "prompt": []},
        {"model": 7},
    )
    changed = orjson.dumps(orjson.loads(data) | dice.choice(wrong))
    return dice.choice((changed, data[: len(data) // 2], b"[]", b""))


def _noise(dice: random.Random) -> dict[str, str]:
    """Headers that callers send, some of them with a credential in it."""
    secret = f"{CALLERS_KEY}{dice.randrange(10**9)}"
    all_of_them = {
        "x-api-key": secret,
        "api-key": secret,
        "cookie": f"session={secret}",
        "openai-organization": secret,
        "x-request-id": secret,
        "origin": "https://example.com",
        "x-forwarded-for": "192.0.2.1",
        "accept": "text/event-stream",
        "user-agent": f"caller/{secret}",
        "traceparent": secret,
    }
    return {name: value for name, value in all_of_them.items() if dice.random() < 0.2}
