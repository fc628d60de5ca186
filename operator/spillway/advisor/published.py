"""The published figures that the advisor is tested against, reckoned anew from the assumptions that give them.

They are from four documents, named here by their titles. Where two disagree, or one does not follow from its own
assumptions, `findings` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from spillway.advisor.costs import (
    DAYS_A_MONTH,
    ONE_TO_TWO,
    break_even_tokens,
    cloud_usd,
    effective_usd_per_million,
    payback_months,
    roughly_equal,
    tokens_usd,
    units_needed,
)
from spillway.advisor.decision import Recommendation
from spillway.advisor.prices import find_price, own_prices
from spillway.advisor.setups import MonthlyCost, find_setup, own_setups

WHY: Final = "Why Self-Host LLMs?"
WHY_2026: Final = "Why Self-Host a Language Model"
VERSUS: Final = "When to Self-Host LLMs vs. Use APIs"
WHEN: Final = "When to Self-Host Models"

DAILY_USD_PER_MILLION: Final = Decimal(10)  # $0.01 for a thousand
DAILY_GPU_USD: Final = Decimal(500)
DAILY_GPU_TOKENS: Final = 50_000_000
_DAILY: Final = (100_000, 1_000_000, 5_000_000, 50_000_000)
_MONTHLY: Final = (10**7, 10**8, 5 * 10**8, 10**9, 5 * 10**9, 10**10)
EFFECTIVE_TOKENS: Final = 100_000_000 * DAYS_A_MONTH
PAYBACK_PURCHASE_USD: Final = Decimal(15_000)
PAYBACK_REPLACED_USD: Final = Decimal(2_000)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A volume at an API and at one's own: dollars a month, units, and who is cheaper (None: roughly equal)."""

    tokens: int
    api_usd: Decimal
    units: int
    self_host_usd: Decimal
    winner: Recommendation | None


@dataclass(frozen=True, slots=True)
class Effective:
    """Dollars for a million tokens at 100M a day: from what a month costs, beside what is published."""

    setup: str
    monthly_usd: tuple[Decimal, Decimal]
    published: tuple[Decimal, Decimal]
    computed: tuple[Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class Crossover:
    """A published crossover: the dollars and the price that give it, in tokens a month."""

    source: str
    published: str
    assumptions: str
    tokens: Decimal


def daily() -> tuple[Comparison, ...]:
    """The table of "Why Self-Host LLMs?": tokens a day at $0.01 a thousand, against one GPU at $500 a month."""
    return tuple(
        _compare(
            tokens,
            tokens_usd(tokens * DAYS_A_MONTH, DAILY_USD_PER_MILLION),
            units_needed(tokens, DAILY_GPU_TOKENS),
            DAILY_GPU_USD,
        )
        for tokens in _DAILY
    )


def daily_break_even() -> Decimal:
    """Tokens a day at which that GPU pays."""
    tokens = break_even_tokens(DAILY_GPU_USD, DAILY_USD_PER_MILLION)
    assert tokens is not None
    return tokens / DAYS_A_MONTH


def monthly() -> tuple[Comparison, ...]:
    """The table of "When to Self-Host LLMs vs. Use APIs": tokens a month at GPT-4o, against rented A100s."""
    setup, price = find_setup(own_setups(), "rented-a100"), find_price(own_prices(), "OpenAI/gpt-4o")
    return tuple(
        _compare(
            tokens,
            cloud_usd(tokens, price, ONE_TO_TWO),
            units_needed(tokens, setup.capacity_tokens_per_month),
            setup.cost.monthly.total,
        )
        for tokens in _MONTHLY
    )


def setup_totals() -> tuple[tuple[str, MonthlyCost], ...]:
    """The four setups of the same document, by month."""
    names = ("owned-a100", "owned-4x-a100", "rented-a100", "rented-h100")
    return tuple((name, find_setup(own_setups(), name).cost.monthly) for name in names)


def effective() -> tuple[Effective, ...]:
    """The table of "When to Self-Host Models": four setups at 100M tokens a day, 3B a month; a PC over 36 months."""
    gpt, together = tokens_usd(EFFECTIVE_TOKENS, Decimal("2.50")), tokens_usd(EFFECTIVE_TOKENS, Decimal("0.88"))
    power = Decimal(50)
    rows = (
        ("RTX 4090 PC", (Decimal(2500) / 36 + power, Decimal(4000) / 36 + power), ("0.02", "0.05")),
        ("2x A100 80GB, cloud", (Decimal(4000), Decimal(8000)), ("0.04", "0.08")),
        ("GPT-4o, direct", (gpt, gpt), ("2.50", "2.50")),
        ("Llama 3.1 70B at Together", (together, together), ("0.88", "0.88")),
    )
    return tuple(
        Effective(name, usd, (Decimal(low), Decimal(high)), (_per_million(usd[0]), _per_million(usd[1])))
        for name, usd, (low, high) in rows
    )


def payback(running_usd: Decimal = Decimal(0)) -> Decimal:
    """Months in which the $15,000 server replaces $2,000 a month, when it takes so much to run."""
    months = payback_months(PAYBACK_PURCHASE_USD, PAYBACK_REPLACED_USD, running_usd)
    assert months is not None
    return months


def crossovers() -> tuple[Crossover, ...]:
    """The published crossovers, each with assumptions of the same documents that come to it."""
    server, rented = _total("owned-server"), _total("rented-a100")
    owned = f"a $15,000 server over 36 months with power, no people: ${server:.2f} a month"
    return (
        _crossover(WHY_2026, "50M a month", owned, server, "Anthropic/claude-3-5-sonnet"),
        _crossover(WHY_2026, "150M a month", owned, server, "Google/gemini-1.5-pro"),
        _crossover(VERSUS, "500M a month", f"a rented A100 with people: ${rented:,} a month", rented, "OpenAI/gpt-4o"),
        _crossover(VERSUS, "1B a month", f"two of them: ${2 * rented:,} a month", 2 * rented, "OpenAI/gpt-4o"),
        Crossover(
            WHEN,
            "100M a day",
            "two rented A100s at $8,000 a month, GPT-4o at $2.50, its price for prompts alone",
            Decimal(8000) * 10**6 / Decimal("2.50"),
        ),
        Crossover(WHY, "1.67M a day", "one GPU at $500 a month, $0.01 a thousand", daily_break_even() * DAYS_A_MONTH),
    )


def _crossover(source: str, published: str, assumptions: str, usd: Decimal, name: str) -> Crossover:
    price = find_price(own_prices(), name)
    per_million = cloud_usd(10**6, price, ONE_TO_TWO)
    return Crossover(
        source, published, f"{assumptions}; {name} at ${per_million:.2f} a million", usd * 10**6 / per_million
    )


def _total(name: str) -> Decimal:
    return find_setup(own_setups(), name).cost.monthly.total


def _per_million(usd: Decimal) -> Decimal:
    found = effective_usd_per_million(usd, EFFECTIVE_TOKENS)
    assert found is not None
    return found


def _compare(tokens: int, api_usd: Decimal, units: int, unit_usd: Decimal) -> Comparison:
    own = units * unit_usd
    winner = Recommendation.API if api_usd < own else Recommendation.SELF_HOST
    return Comparison(tokens, api_usd, units, own, None if roughly_equal(api_usd, own) else winner)
