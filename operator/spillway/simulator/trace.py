"""Two minutes of a real trace, the busiest: when requests came, and how many tokens went in and out.

Source and licence: `data/README.md`. The trace has lengths only, so the text is made up (`prompt_text`).
"""

from __future__ import annotations

import csv
import datetime as dt
import random
from dataclasses import dataclass
from importlib import resources
from typing import Final

from spillway.simulator import words

BUSIEST_CODE: Final = "azure-llm-2023-code-busiest.csv"
_MICROSECOND_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of a trace."""

    offset_seconds: float
    """Since the first one."""
    prompt_tokens: int
    output_tokens: int


def read(name: str = BUSIEST_CODE) -> tuple[Arrival, ...]:
    """The trace of that name in `data/`, in order of arrival. Raises FileNotFoundError when there is none."""
    text = resources.files(__package__).joinpath("data", name).read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    first = _time(rows[0]["TIMESTAMP"])
    return tuple(
        Arrival(
            offset_seconds=(_time(row["TIMESTAMP"]) - first).total_seconds(),
            prompt_tokens=int(row["ContextTokens"]),
            output_tokens=int(row["GeneratedTokens"]),
        )
        for row in rows
    )


def prompt_text(tokens: int, rng: random.Random) -> str:
    """Plain words of just `tokens` tokens by `words.count_tokens`, at four bytes a token; empty for none.

    The last word may be cut to make the length exact. Holds only lower-case letters and blanks.
    """
    length = tokens * words.BYTES_PER_TOKEN
    chosen: list[str] = []
    written = 0
    while written < length:
        word = rng.choice(words.VOCABULARY)
        chosen.append(word)
        written += len(word) + 1
    text = " ".join(chosen)[:length]
    return f"{text[:-1]}s" if text.endswith(" ") else text.ljust(length, "s")


def _time(text: str) -> dt.datetime:
    """A timestamp of the trace, which has seven digits of a second, to the microsecond."""
    whole, _, fraction = text.partition(".")
    moment = dt.datetime.fromisoformat(whole).replace(tzinfo=dt.UTC)
    return moment + dt.timedelta(microseconds=int(fraction[:_MICROSECOND_DIGITS]))
