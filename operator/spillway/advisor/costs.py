"""What tokens cost, there and here. Dollars are Decimal and exact; `cents` rounds what is shown.

A month has 30 days, as in the figures that people compare: 720 hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Protocol

DAYS_A_MONTH: Final = 30
HOURS_A_MONTH: Final = 24 * DAYS_A_MONTH
SECONDS_A_MONTH: Final = 3600 * HOURS_A_MONTH
MILLION: Final = 1_000_000
ROUGHLY_EQUAL: Final = Decimal("0.10")
"""Two amounts are roughly equal when the smaller is within this share of the bigger."""


class Rates(Protocol):
    """What tokens cost, in dollars for a million: of a price list, or of an object's own target."""

    @property
    def input_usd_per_million(self) -> Decimal:
        """Of a prompt."""

    @property
    def cached_usd_per_million(self) -> Decimal:
        """Of a prompt's tokens that the provider found in its cache."""

    @property
    def output_usd_per_million(self) -> Decimal:
        """Of an answer."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What a request is made of, in tokens: its prompt, how much of that is cached, its answer."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and answer."""
        return self.input_tokens + self.output_tokens


ONE_TO_TWO: Final = Mix(input_tokens=1, output_tokens=2)
"""The mix at which GPT-4o's $2.50 and $10.00 come to $7.50: a third prompt, two thirds answer."""


def cents(dollars: Decimal) -> Decimal:
    """Dollars as they are shown: two places, halves away from zero."""
    return dollars.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def shown_usd(dollars: Decimal | None) -> str | None:
    """Dollars for programs: a string, to the cent; None for what is not known."""
    return None if dollars is None else str(cents(dollars))


def blended_usd_per_million(price: Rates, mix: Mix) -> Decimal:
    """Dollars for a million tokens of this `mix`."""
    plain = mix.input_tokens - mix.cached_input_tokens
    dollars = (
        plain * price.input_usd_per_million
        + mix.cached_input_tokens * price.cached_usd_per_million
        + mix.output_tokens * price.output_usd_per_million
    )
    return dollars / mix.tokens


def tokens_usd(tokens: int, usd_per_million: Decimal) -> Decimal:
    """Dollars for `tokens`."""
    return tokens * usd_per_million / MILLION


def cloud_usd(tokens: int, price: Rates, mix: Mix) -> Decimal:
    """Dollars for `tokens` of this `mix` at an API."""
    return tokens_usd(tokens, blended_usd_per_million(price, mix))


def units_needed(tokens: int, capacity_tokens: int) -> int:
    """GPUs (or servers) that `tokens` take when each has `capacity_tokens` in the same time; at least one."""
    return max(1, -(-tokens // capacity_tokens))


def break_even_tokens(fixed_usd: Decimal, usd_per_million: Decimal) -> Decimal | None:
    """Tokens that cost `fixed_usd` at an API, in the time that the dollars are for; None if the API costs nothing.

    Above them the fixed cost is less, as long as one unit has room for them.
    """
    return None if not usd_per_million else fixed_usd * MILLION / usd_per_million


def payback_months(purchase_usd: Decimal, replaced_usd: Decimal, running_usd: Decimal = Decimal(0)) -> Decimal | None:
    """Months until a purchase is paid for by the bill it replaces, less what it takes to run; None: never."""
    saved = replaced_usd - running_usd
    return purchase_usd / saved if saved > 0 else None


def effective_usd_per_million(monthly_usd: Decimal, tokens: int) -> Decimal | None:
    """Dollars for a million of the `tokens` that are really served in a month; None if there are none."""
    return None if not tokens else monthly_usd * MILLION / tokens


def at_utilization(monthly_usd: Decimal, capacity_tokens: int, utilization: Decimal) -> Decimal | None:
    """Dollars for a million tokens of a unit of `capacity_tokens` a month, of which `utilization` (0 to 1) is used."""
    tokens = utilization * capacity_tokens
    return None if not tokens else monthly_usd * MILLION / tokens


def roughly_equal(one: Decimal, other: Decimal) -> bool:
    """Whether neither is worth a decision by itself: within a tenth of the bigger."""
    return abs(one - other) <= ROUGHLY_EQUAL * max(one, other)
