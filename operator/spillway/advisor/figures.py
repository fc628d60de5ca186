"""What the needs come to in dollars, units and milliseconds: the numbers that reasons go by."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import ceil

from spillway.advisor.accelerators import find_accelerator
from spillway.advisor.costs import (
    DAYS_A_MONTH,
    SECONDS_A_MONTH,
    blended_usd_per_million,
    break_even_tokens,
    effective_usd_per_million,
    payback_months,
    tokens_usd,
    units_needed,
)
from spillway.advisor.hardware import Wanted, model_facts, plan_on
from spillway.advisor.latency import Promise, cloud_promise, local_promise, place
from spillway.advisor.needs import Needs
from spillway.advisor.prices import ListPrice
from spillway.advisor.queueing import Waiting
from spillway.advisor.roofline import Speed, requests_per_second, speed
from spillway.advisor.setups import MonthlyCost, Owned, Setup
from spillway.sizing.models import ModelFacts
from spillway.sizing.plan import Plan


@dataclass(frozen=True, slots=True)
class Bill:
    """What a month of `tokens` costs each way, in dollars."""

    tokens: int
    api_usd: Decimal
    units: int
    self_host_usd: Decimal
    hybrid_units: int
    hybrid_cloud_usd: Decimal
    hybrid_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One month, in dollars and tokens.

    `least_units` is what one copy of the model takes, or what is asked for at least. `facts` are the model's. `plan`
    and `speed` are of one replica on the setup's accelerator; None: it does not fit a machine of them. Promises are
    None without a limit for the first token. `roofline_tokens` is what one unit could serve at most.
    """

    price: ListPrice
    setup: Setup
    blended_usd_per_million: Decimal
    unit: MonthlyCost
    capacity_tokens: int
    peak_to_average: Decimal
    cloud_percent: Decimal
    least_units: int
    utilization: Decimal
    facts: ModelFacts | None
    plan: Plan | None
    speed: Speed | None
    replicas: int
    waiting: Waiting | None
    local: Promise | None
    cloud: Promise | None
    tokens: int
    roofline_tokens: int | None

    def bill(self, tokens: int) -> Bill:
        """What another volume would cost: units for its peak, or for the average of what stays in a hybrid."""
        units = _units(tokens * self.peak_to_average, self.capacity_tokens, self.least_units)
        staying = tokens - int(tokens * self.cloud_percent / 100)
        staying_units = _units(staying, self.capacity_tokens, self.least_units)
        leaving_usd = tokens_usd(tokens - staying, self.blended_usd_per_million)
        return Bill(
            tokens=tokens,
            api_usd=tokens_usd(tokens, self.blended_usd_per_million),
            units=units,
            self_host_usd=self.unit.times(units).total,
            hybrid_units=staying_units,
            hybrid_cloud_usd=leaving_usd,
            hybrid_usd=self.unit.times(staying_units).total + leaving_usd,
        )

    @property
    def api_usd(self) -> Decimal:
        """All tokens at the API."""
        return self.bill(self.tokens).api_usd

    @property
    def units(self) -> int:
        """Units for the peak."""
        return self.bill(self.tokens).units

    @property
    def hybrid_units(self) -> int:
        """Units for the average of what stays here."""
        return self.bill(self.tokens).hybrid_units

    @property
    def hybrid_cloud_usd(self) -> Decimal:
        """What goes to the cloud in a hybrid."""
        return self.bill(self.tokens).hybrid_cloud_usd

    @property
    def self_host_usd(self) -> Decimal:
        """All units."""
        return self.bill(self.tokens).self_host_usd

    @property
    def hybrid_usd(self) -> Decimal:
        """The units for what stays, and the cloud for what goes."""
        return self.bill(self.tokens).hybrid_usd

    @property
    def saved_usd(self) -> Decimal:
        """What self-hosting saves over the API; negative: what it costs more."""
        return self.api_usd - self.self_host_usd

    @property
    def full_tokens(self) -> int:
        """Tokens a month that the least units serve when they are as busy as the peak lets them be."""
        return int(self.least_units * self.capacity_tokens / self.peak_to_average)

    @property
    def break_even_tokens_per_month(self) -> Decimal | None:
        """Tokens that cost at the API what the least units cost; None: never, for these are full before.

        More units do not change that: each costs as much again and has room for as much again.
        """
        tokens = break_even_tokens(self.unit.times(self.least_units).total, self.blended_usd_per_million)
        return None if tokens is None or tokens > self.full_tokens else tokens

    @property
    def break_even_tokens_per_day(self) -> Decimal | None:
        """The same for a day."""
        month = self.break_even_tokens_per_month
        return None if month is None else month / DAYS_A_MONTH

    @property
    def effective_usd_per_million(self) -> Decimal | None:
        """Dollars for a million tokens of one's own, at this utilisation."""
        return effective_usd_per_million(self.self_host_usd, self.tokens)

    @property
    def payback_months(self) -> Decimal | None:
        """Months until units that are bought have paid for themselves; None: rented, or never."""
        cost = self.setup.cost
        if not isinstance(cost, Owned):
            return None
        running = cost.monthly.power + cost.monthly.people
        return payback_months(cost.purchase_usd * self.units, self.api_usd, running * self.units)


def figures(needs: Needs, price: ListPrice, setup: Setup) -> Figures:
    """The figures of `needs` with a cloud's `price` and a `setup` of one's own.

    Raises:
        InvalidObject: nothing tells how big the model is, or the setup's accelerator is not known.
    """
    tokens, mix = needs.tokens_per_month, needs.request.mix
    stated = needs.self_host.tokens_per_second
    capacity = setup.capacity_tokens_per_month if stated is None else max(1, int(stated * SECONDS_A_MONTH))
    plan, reached = _planned(needs, setup)
    least = needs.self_host.minimum_units
    if plan is not None:
        least = max(least, ceil(needs.self_host.minimum_units * max(1, plan.accelerators) / setup.accelerators))
    units = _units(tokens * needs.traffic.peak_to_average, capacity, least)
    replicas = 0 if plan is None else units * setup.accelerators // max(1, plan.accelerators)
    waiting = None if reached is None else _waiting(needs, reached, replicas)
    local, cloud = _promises(needs, reached, waiting)
    return Figures(
        price=price,
        setup=setup,
        blended_usd_per_million=blended_usd_per_million(price, mix),
        unit=setup.cost.monthly,
        capacity_tokens=capacity,
        peak_to_average=needs.traffic.peak_to_average,
        cloud_percent=needs.cloud_percent,
        least_units=least,
        utilization=Decimal(tokens) / (units * capacity),
        facts=model_facts(find_accelerator(setup.accelerator), wanted(needs)),
        plan=plan,
        speed=reached,
        replicas=replicas,
        waiting=waiting,
        local=local,
        cloud=cloud,
        tokens=tokens,
        roofline_tokens=None if reached is None else _roofline_tokens(needs, reached, replicas, units),
    )


def _units(tokens: Decimal | int, capacity_tokens: int, least: int) -> int:
    return max(least, units_needed(ceil(tokens), capacity_tokens))


def wanted(needs: Needs) -> Wanted:
    """The model as hardware is asked for it."""
    return Wanted(
        uri=needs.model.uri,
        context_tokens=needs.model.context_tokens,
        prompt_tokens=needs.request.prompt_tokens,
        answer_tokens=needs.request.answer_tokens,
        parameters=needs.model.parameters,
    )


def _planned(needs: Needs, setup: Setup) -> tuple[Plan | None, Speed | None]:
    accelerator = find_accelerator(setup.accelerator)
    plan = plan_on(accelerator, wanted(needs), needs.model.precision)
    if plan is None:
        return None, None
    return plan, speed(accelerator, plan, needs.request.prompt_tokens, needs.request.answer_tokens)


def _roofline_tokens(needs: Needs, reached: Speed, replicas: int, units: int) -> int:
    a_second = requests_per_second(reached, needs.request.answer_tokens) * needs.request.mix.tokens
    return int(a_second * SECONDS_A_MONTH * replicas / units)


def _waiting(needs: Needs, reached: Speed, replicas: int) -> Waiting:
    """The queue at the peak: a place is a sequence of a full batch, taken for as long as it is there."""
    seconds = reached.sequences / requests_per_second(reached, needs.request.answer_tokens)
    arrivals = needs.requests_per_second * float(needs.traffic.peak_to_average)
    return Waiting(arrivals, seconds, max(1, replicas * reached.sequences))


def _promises(needs: Needs, reached: Speed | None, waiting: Waiting | None) -> tuple[Promise | None, Promise | None]:
    wished = needs.first_token
    if wished is None:
        return None, None
    limit, percentile = wished.limit_milliseconds, wished.percentile
    cloud = cloud_promise(place("cloud-api").first_token_milliseconds, limit, percentile)
    if reached is None or waiting is None:
        return None, cloud
    return local_promise(reached.first_token_milliseconds, waiting, limit, percentile), cloud
