"""What the cloud charges: every request it began to work on, in whole micro-dollars.

A price in dollars per million tokens is the same number in micro-dollars per token. A request costs
prompt tokens x input price + generated tokens x output price, rounded up to the next micro-dollar per request, so the
bill is never less than what exact arithmetic would give. A client that leaves does not unmake the work: the prompt is
charged when the request is accepted, each generated token when it is, whether anybody still reads it or not.
What is refused (400, 401, 404, 429, an injected status) costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import orjson

BILL_FILE: Final = "bill.json"


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens."""

    input_per_million_tokens: Decimal
    output_per_million_tokens: Decimal

    def micros(self, prompt_tokens: int, completion_tokens: int) -> int:
        """What so many tokens cost, in micro-dollars, rounded up."""
        exact = prompt_tokens * self.input_per_million_tokens + completion_tokens * self.output_per_million_tokens
        return math.ceil(exact)


@dataclass(frozen=True, slots=True)
class BillLine:
    """What one request costs so far."""

    answer_id: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    micros: int
    request_id: str = ""
    """The header x-request-id that it came with."""


class Bill:
    """All lines, kept per request; with a directory, their sums also in `bill.json`, replaced as a whole."""

    def __init__(self, prices: Mapping[str, Price], directory: Path | None = None) -> None:
        self.prices = dict(prices)
        self._file = None if directory is None else directory / BILL_FILE
        self._lines: dict[str, BillLine] = {}
        self._micros = 0
        self.save()

    @property
    def lines(self) -> tuple[BillLine, ...]:
        """Every request that was charged, in order of acceptance."""
        return tuple(self._lines.values())

    @property
    def micros(self) -> int:
        """The sum of all lines, in micro-dollars."""
        return self._micros

    def charge(
        self, answer_id: str, model: str, prompt_tokens: int, completion_tokens: int, request_id: str = ""
    ) -> BillLine:
        """Set the line of a request to what it has used up to now. Raises KeyError for a model without a price."""
        before = self._lines.get(answer_id)
        micros = self.prices[model].micros(prompt_tokens, completion_tokens)
        line = BillLine(answer_id, model, prompt_tokens, completion_tokens, micros, request_id)
        self._lines[answer_id] = line
        self._micros += micros - (before.micros if before else 0)
        return line

    def save(self) -> None:
        """Bring the file up to date, if there is one."""
        if self._file is None:
            return
        sums = {
            "simulator": True,
            "requests": len(self._lines),
            "prompt_tokens": sum(line.prompt_tokens for line in self._lines.values()),
            "completion_tokens": sum(line.completion_tokens for line in self._lines.values()),
            "micros": self._micros,
            "usd": f"{Decimal(self._micros).scaleb(-6):f}",
        }
        new = self._file.with_suffix(".new")
        new.write_bytes(orjson.dumps(sums, option=orjson.OPT_APPEND_NEWLINE))
        new.replace(self._file)
