"""Traffic as it was measured: tokens by place, dollars, how unevenly they came; and what it says of needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

from spillway.advisor.costs import SECONDS_A_MONTH, Mix, blended_usd_per_million, tokens_usd
from spillway.advisor.criteria import PLAN_AT_USD, SWITCH_AT_USD
from spillway.advisor.figures import Figures
from spillway.advisor.prices import ListPrice
from spillway.errors import InvalidObject

DAY_SECONDS: Final = 86_400
_HIGHEST_PEAK: Final = Decimal(1000)


@dataclass(frozen=True, slots=True)
class Counts:
    """What was served at one place: requests whose tokens are known, and those tokens."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.cached_prompt_tokens + other.cached_prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    @property
    def tokens(self) -> int:
        """Prompts and answers."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def mix(self) -> Mix:
        """All of it as one request."""
        return Mix(self.prompt_tokens, self.completion_tokens, self.cached_prompt_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What was served in `seconds`, and what the cloud was paid for it.

    Rates are of tokens a second, of the busiest of equal stretches and of the one that 95 % do not exceed; None: the
    source does not tell. `unmeasured`: requests that were served and whose tokens nobody reported; `unserved`: by
    nobody. `bad` of the `lines` could not be read; `first_bad` says which was the first, and why.
    """

    source: str
    seconds: float
    local: Counts
    cloud: Counts
    spent_usd: Decimal
    shadow_usd: Decimal = Decimal(0)
    unmeasured: int = 0
    unserved: int = 0
    peak_tokens_per_second: float | None = None
    p95_tokens_per_second: float | None = None
    lines: int = 0
    bad: int = 0
    first_bad: str = ""

    @property
    def all(self) -> Counts:
        """Here and at the cloud."""
        return self.local + self.cloud

    @property
    def mean_tokens_per_second(self) -> float:
        """Over all the time."""
        return self.all.tokens / self.seconds

    def a_month(self, amount: Decimal) -> Decimal:
        """What an amount of this time comes to in a month of 720 hours."""
        return amount * SECONDS_A_MONTH / Decimal(str(self.seconds))


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the very same tokens, here and at the cloud, would have cost at a price."""

    price: ListPrice
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Room:
    """Units of a setup that a rate of tokens asks for: by the capacity that the setup states, and by the roofline."""

    name: str
    tokens_per_second: float
    units: int
    roofline_units: int | None


def elsewhere(traffic: Traffic, prices: Sequence[ListPrice]) -> tuple[Elsewhere, ...]:
    """The same tokens at each price, cheapest first."""
    mix = traffic.all.mix
    found = (Elsewhere(price, tokens_usd(mix.tokens, blended_usd_per_million(price, mix))) for price in prices)
    return tuple(sorted(found, key=lambda each: (each.usd, each.price.name)))


def local_usd(traffic: Traffic, figures: Figures) -> Decimal:
    """What the units that this traffic asks for cost in its time."""
    return figures.self_host_usd * Decimal(str(traffic.seconds)) / SECONDS_A_MONTH


def alerts(traffic: Traffic) -> tuple[str, ...]:
    """The marks that the cloud's bill has passed, at the rate of this traffic."""
    bill = traffic.a_month(traffic.spent_usd)
    if bill < PLAN_AT_USD:
        return ()
    mark, said = (SWITCH_AT_USD, "be ready to switch") if bill >= SWITCH_AT_USD else (PLAN_AT_USD, "begin to plan")
    return (f"the cloud's bill runs at ${bill:,.2f} a month, past the mark of ${mark:,}: {said}",)


def capacity(traffic: Traffic, figures: Figures) -> tuple[Room, ...]:
    """Units for the mean, for what 95 % of the time asks at most, and for the peak."""
    rates = (
        ("mean", traffic.mean_tokens_per_second),
        ("95 % of the time", traffic.p95_tokens_per_second),
        ("peak", traffic.peak_tokens_per_second),
    )
    return tuple(
        Room(
            name,
            rate,
            max(figures.least_units, _units(rate, figures.capacity_tokens)),
            None
            if figures.roofline_tokens is None
            else max(figures.least_units, _units(rate, max(1, figures.roofline_tokens))),
        )
        for name, rate in rates
        if rate is not None
    )


def measured_needs(document: Mapping[str, object], traffic: Traffic) -> Mapping[str, object]:
    """The needs of a `document` with what was measured in place of volume, request and peak.

    Raises:
        InvalidObject: nothing was served, so that there is nothing to advise on.
    """
    served = traffic.all
    if not served.tokens:
        raise InvalidObject(
            "--from", f"{traffic.source} tells of no tokens", "name a log or metrics of served requests"
        )
    peak = traffic.peak_tokens_per_second
    ratio = Decimal(1) if peak is None else Decimal(str(round(peak / traffic.mean_tokens_per_second, 3)))
    measured = {
        "tokensPerMonth": max(1, round(traffic.a_month(Decimal(served.tokens)))),
        "request": {
            "promptTokens": max(1, round(served.prompt_tokens / max(1, served.requests))),
            "cachedPromptTokens": served.cached_prompt_tokens // max(1, served.requests),
            "answerTokens": max(1, round(served.completion_tokens / max(1, served.requests))),
        },
    }
    stated = document.get("traffic")
    uneven = dict(stated) if isinstance(stated, Mapping) else {}
    if peak is not None:
        uneven["peakToAverage"] = str(min(_HIGHEST_PEAK, max(Decimal(1), ratio)))
    return {**document, **measured} | ({"traffic": uneven} if uneven else {})


def _units(tokens_per_second: float, tokens_per_month: int) -> int:
    """Whole units: a rate that one unit just keeps takes one."""
    asked = Decimal(str(round(tokens_per_second, 6))) * SECONDS_A_MONTH / tokens_per_month
    return max(1, int(asked.to_integral_value(ROUND_CEILING)))
