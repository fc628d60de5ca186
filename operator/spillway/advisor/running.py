"""What an LLMDeployment costs to run, beside the same tokens at its own fallback's price.

    dollars an hour   replicas x accelerators of one x the profile's hourlyCost
    here, a million   dollars an hour / tokens served in it
    break-even        tokens a day that cost at the target what a day of the replicas costs

How many tokens a replica could serve at most is by the roofline, where the profile is an accelerator that is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from spillway.advisor.accelerators import accelerators
from spillway.advisor.costs import (
    HOURS_A_MONTH,
    Mix,
    blended_usd_per_million,
    break_even_tokens,
    effective_usd_per_million,
)
from spillway.advisor.roofline import requests_per_second, speed
from spillway.api.v1alpha1 import LLMDeployment
from spillway.sizing.plan import Plan

HOURS_A_DAY: Final = 24
SECONDS_AN_HOUR: Final = 3600
SECONDS_A_DAY: Final = HOURS_A_DAY * SECONDS_AN_HOUR
_USUAL_INPUT_TOKENS: Final = 500


@dataclass(frozen=True, slots=True)
class TargetRates:
    """What a target of an LLMDeployment charges, in dollars for a million tokens."""

    name: str
    model: str
    input_usd_per_million: Decimal
    output_usd_per_million: Decimal
    cached_usd_per_million: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An LLMDeployment as it runs: dollars and tokens.

    `replica_usd_per_hour`: None where the profile states no hourlyCost. `replica_tokens_per_second`: prompts and
    answers together at most, None where nothing tells. `target`: the first with a price, None without one. `mix`: of
    one request.
    """

    replicas: int
    accelerators: int
    profile: str
    replica_usd_per_hour: Decimal | None
    replica_tokens_per_second: float | None
    target: TargetRates | None
    mix: Mix

    @property
    def usd_per_hour(self) -> Decimal | None:
        """Of all replicas."""
        return None if self.replica_usd_per_hour is None else self.replicas * self.replica_usd_per_hour

    @property
    def usd_per_month(self) -> Decimal | None:
        """Of all replicas, 720 hours."""
        return None if self.usd_per_hour is None else HOURS_A_MONTH * self.usd_per_hour

    @property
    def tokens_per_day(self) -> int | None:
        """What all replicas could serve at most; None where nothing tells."""
        reached = self.replica_tokens_per_second
        return None if reached is None else int(self.replicas * reached * SECONDS_A_DAY)

    @property
    def cloud_usd_per_million(self) -> Decimal | None:
        """A million tokens of this mix at the target."""
        return None if self.target is None else blended_usd_per_million(self.target, self.mix)

    @property
    def break_even_tokens_per_day(self) -> Decimal | None:
        """Tokens a day above which the replicas cost less than the target; None: not known, or the target is free."""
        if self.usd_per_hour is None or self.cloud_usd_per_million is None:
            return None
        return break_even_tokens(HOURS_A_DAY * self.usd_per_hour, self.cloud_usd_per_million)

    def local_usd_per_million(self, utilization: Decimal) -> Decimal | None:
        """A million tokens here at a `utilization` (0 to 1) of what the replicas could serve; None: not known."""
        if self.usd_per_hour is None or self.tokens_per_day is None:
            return None
        return effective_usd_per_million(HOURS_A_DAY * self.usd_per_hour, int(utilization * self.tokens_per_day))


def usual_mix(context_tokens: int) -> Mix:
    """What a request is taken for where nothing was measured: 500 tokens and an answer of 1,000, if they fit."""
    prompt = min(_USUAL_INPUT_TOKENS, max(1, context_tokens // 3))
    return Mix(input_tokens=prompt, output_tokens=2 * prompt)


def running(deployment: LLMDeployment, plan: Plan, replicas: int, mix: Mix) -> Running:
    """What so many `replicas` of a `deployment` come to, each as planned, with requests of `mix`."""
    devices = max(1, plan.accelerators)
    hourly = plan.profile.hourly_cost
    return Running(
        replicas=replicas,
        accelerators=plan.accelerators,
        profile=plan.profile.name,
        replica_usd_per_hour=None if hourly is None else devices * hourly,
        replica_tokens_per_second=_tokens_per_second(plan, mix),
        target=target_rates(deployment),
        mix=mix,
    )


def target_rates(deployment: LLMDeployment) -> TargetRates | None:
    """What the first of the object's targets that states a price charges."""
    for target in deployment.spec.fallback.targets:
        price = target.price
        if price is not None:
            cached = price.cached_input_per_million_tokens
            return TargetRates(
                name=target.name,
                model=target.model,
                input_usd_per_million=price.input_per_million_tokens,
                output_usd_per_million=price.output_per_million_tokens,
                cached_usd_per_million=price.input_per_million_tokens if cached is None else cached,
            )
    return None


def _tokens_per_second(plan: Plan, mix: Mix) -> float | None:
    accelerator = next((each for each in accelerators() if each.name == plan.profile.name), None)
    if accelerator is None or not plan.fits:
        return None
    reached = speed(accelerator, plan, mix.input_tokens, mix.output_tokens)
    if reached is None:
        return None
    return requests_per_second(reached, max(1, mix.output_tokens)) * mix.tokens
