"""What the burst will be, decided before it begins: which request is sent when, and with what text."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from spillway.simulator.trace import Arrival, prompt_text


class Kind(StrEnum):
    """What makes a request sensitive, or that nothing does."""

    PLAIN = "plain"
    LABELLED = "labelled Sensitive"
    SSN = "holds a social security number"
    EMAIL = "holds an e-mail address"


SHARES: Final = ((Kind.LABELLED, 0.04), (Kind.SSN, 0.04), (Kind.EMAIL, 0.04))
MARKER_LETTERS: Final = 24


@dataclass(frozen=True, slots=True)
class Planned:
    """One request of the burst. `marker` is a word that stands in its prompt and nowhere else."""

    offset_seconds: float
    kind: Kind
    marker: str
    output_tokens: int
    prompt: str = field(repr=False)

    @property
    def sensitive(self) -> bool:
        """Whether it may not leave."""
        return self.kind is not Kind.PLAIN


def plan_burst(arrivals: Sequence[Arrival], seconds: float, rng: random.Random) -> tuple[Planned, ...]:
    """The first `seconds` of the trace, over again if it is shorter, with about one request in eight made sensitive."""
    span = arrivals[-1].offset_seconds
    planned: list[Planned] = []
    turn = 0
    while True:
        for arrival in arrivals:
            offset = turn * span + arrival.offset_seconds
            if offset > seconds:
                return tuple(planned)
            planned.append(_plan_one(arrival, offset, rng))
        turn += 1


def _plan_one(arrival: Arrival, offset: float, rng: random.Random) -> Planned:
    kind = _draw_kind(rng)
    marker = "".join(rng.choices(string.ascii_lowercase, k=MARKER_LETTERS))
    words = prompt_text(arrival.prompt_tokens, rng).split(" ")
    words.insert(rng.randrange(len(words) + 1), _hidden(kind, marker, rng))
    return Planned(offset, kind, marker, max(1, arrival.output_tokens), " ".join(words))


def _draw_kind(rng: random.Random) -> Kind:
    drawn = rng.random()
    for kind, share in SHARES:
        if drawn < share:
            return kind
        drawn -= share
    return Kind.PLAIN


def _hidden(kind: Kind, marker: str, rng: random.Random) -> str:
    if kind is Kind.SSN:
        return f"{marker} {rng.randrange(100, 665)}-{rng.randrange(10, 99)}-{rng.randrange(1000, 9999)}"
    if kind is Kind.EMAIL:
        return f"{marker}@example.com"
    return marker
