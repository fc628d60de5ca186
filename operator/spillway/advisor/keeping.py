"""Whether to keep a model here, by what was measured: dollars for its own tokens, here and at its own target.

here      dollars an hour of the replicas / tokens an hour
cloud     the same tokens at the target's price
hybrid    fewer replicas, each at most as the roofline says, and the target for the rest
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from spillway.advisor.costs import (
    Mix,
    blended_usd_per_million,
    break_even_tokens,
    effective_usd_per_million,
    tokens_usd,
)
from spillway.advisor.running import HOURS_A_DAY, SECONDS_AN_HOUR, Running
from spillway.api.v1alpha1 import CostRecommendation

_MOST_USD: Final = Decimal(999_999_999)
_MOST_TOKENS: Final = 2**53 - 1
"""What status can hold; there is more only where next to nothing is served, or next to nothing is charged."""


class Leaving(StrEnum):
    """How much of a model's requests may go to a target."""

    NOTHING = "Nothing"
    A_PART = "APart"
    ALL = "All"


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens as one request, of how many they are, and in how long they were counted."""

    tokens: Mix
    requests: int
    seconds: int

    @property
    def request(self) -> Mix:
        """One request on the average, at least a token of each kind."""
        return Mix(
            max(1, self.tokens.input_tokens // max(1, self.requests)),
            max(1, self.tokens.output_tokens // max(1, self.requests)),
            self.tokens.cached_input_tokens // max(1, self.requests),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What was found; None: not known."""

    local_usd_per_million: Decimal | None
    cloud_usd_per_million: Decimal | None
    break_even_tokens_per_day: int | None
    utilization_percent: int | None
    recommendation: CostRecommendation


def per_hour(rates: Sequence[Rate]) -> Rate | None:
    """What several gateways counted, as one hour: each in its own time. `seconds` is of the longest; None: nothing."""
    if not any(rate.tokens.tokens for rate in rates):
        return None

    def hourly(amount: int, rate: Rate) -> int:
        return round(Decimal(amount) * SECONDS_AN_HOUR / rate.seconds)

    tokens = Mix(
        sum(hourly(rate.tokens.input_tokens, rate) for rate in rates),
        sum(hourly(rate.tokens.output_tokens, rate) for rate in rates),
        sum(hourly(rate.tokens.cached_input_tokens, rate) for rate in rates),
    )
    return Rate(tokens, sum(hourly(rate.requests, rate) for rate in rates), max(rate.seconds for rate in rates))


def keep(found: Running, hour: Rate | None, leaving: Leaving) -> Kept:
    """What an hour's tokens cost on what is `found` to run, and at its target; the advice that follows."""
    tokens = 0 if hour is None else hour.tokens.tokens
    cloud = found.cloud_usd_per_million
    if hour is not None and found.target is not None:
        cloud = blended_usd_per_million(found.target, hour.tokens)
    local = None if found.usd_per_hour is None else effective_usd_per_million(found.usd_per_hour, tokens)
    even = found.break_even_tokens_per_day
    if cloud and found.usd_per_hour is not None:
        even = break_even_tokens(HOURS_A_DAY * found.usd_per_hour, cloud)
    return Kept(
        local_usd_per_million=None if local is None else min(local, _MOST_USD),
        cloud_usd_per_million=cloud,
        break_even_tokens_per_day=None if even is None or not found.replicas else min(int(even), _MOST_TOKENS),
        utilization_percent=_utilization(found, tokens),
        recommendation=_recommended(found, hour, cloud, leaving),
    )


def _utilization(found: Running, tokens_per_hour: int) -> int | None:
    reached = found.replica_tokens_per_second
    if reached is None or not found.replicas or not tokens_per_hour:
        return None
    return min(100, round(100 * tokens_per_hour / (found.replicas * reached * SECONDS_AN_HOUR)))


def _recommended(found: Running, hour: Rate | None, cloud: Decimal | None, leaving: Leaving) -> CostRecommendation:
    if leaving is Leaving.NOTHING and found.replicas:
        return CostRecommendation.KEEP_LOCAL
    here = found.usd_per_hour
    if hour is None or hour.seconds < SECONDS_AN_HOUR or not here or cloud is None:
        return CostRecommendation.UNKNOWN
    there = tokens_usd(hour.tokens.tokens, cloud)
    if here <= there:
        return CostRecommendation.KEEP_LOCAL
    if leaving is Leaving.A_PART or _mixed_usd(found, hour.tokens.tokens, cloud) < there:
        return CostRecommendation.HYBRID
    return CostRecommendation.PREFER_CLOUD


def _mixed_usd(found: Running, tokens_per_hour: int, cloud: Decimal) -> Decimal:
    """The cheapest hour of fewer replicas than there are, with the target for what they cannot serve."""
    each, reached = found.replica_usd_per_hour, found.replica_tokens_per_second
    if each is None or reached is None:
        return Decimal("Infinity")
    served = int(reached * SECONDS_AN_HOUR)
    mixed = (
        count * each + tokens_usd(max(0, tokens_per_hour - count * served), cloud) for count in range(1, found.replicas)
    )
    return min(mixed, default=Decimal("Infinity"))
