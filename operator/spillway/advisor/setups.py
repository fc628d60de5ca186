"""Ways to self-host, and what a month of each costs: hardware, power, people.

    owned    hardware  purchase / months of its amortisation
             power     watts / 1000 x 720 h x price of a kWh x PUE
    rented   hardware  hours x price of an hour x (1 - reservation's discount); power is in it
    stated   as somebody states it

A month has 720 hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Annotated, Final, Literal

from pydantic import Field

from spillway.advisor.costs import HOURS_A_MONTH
from spillway.advisor.data import find, listed, own_text, told_apart
from spillway.sizing.profiles import Facts

Usd = Annotated[Decimal, Field(ge=0, le=100_000_000, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class MonthlyCost:
    """Dollars of one month."""

    hardware: Decimal
    power: Decimal
    people: Decimal

    @property
    def total(self) -> Decimal:
        """All three."""
        return self.hardware + self.power + self.people

    def times(self, units: int) -> MonthlyCost:
        """Of so many units, each with its share of people."""
        return MonthlyCost(self.hardware * units, self.power * units, self.people * units)


class Owned(Facts):
    """Bought: paid off over months, with power and people."""

    kind: Literal["Owned"] = "Owned"
    purchase_usd: Usd
    amortization_months: int = Field(ge=1, le=120)
    watts: int = Field(ge=1, le=200_000)
    usd_per_kwh: Decimal = Field(default=Decimal("0.15"), ge=0, le=5)
    # Power usage effectiveness: all power of the room over that of its computers.
    pue: Decimal = Field(default=Decimal("1.2"), ge=1, le=4)
    people_usd: Usd = Decimal(0)

    @property
    def monthly(self) -> MonthlyCost:
        """What a month costs."""
        power = Decimal(self.watts) / 1000 * HOURS_A_MONTH * self.usd_per_kwh * self.pue
        return MonthlyCost(self.purchase_usd / self.amortization_months, power, self.people_usd)


class Rented(Facts):
    """Rented by the hour, reserved or not."""

    kind: Literal["Rented"] = "Rented"
    usd_per_hour: Decimal = Field(gt=0, le=100_000, allow_inf_nan=False)
    reserved_discount_percent: Decimal = Field(default=Decimal(0), ge=0, lt=100)
    hours_a_month: int = Field(default=HOURS_A_MONTH, ge=1, le=744)
    people_usd: Usd = Decimal(0)

    @property
    def monthly(self) -> MonthlyCost:
        """What a month costs."""
        paid = self.usd_per_hour * self.hours_a_month * (100 - self.reserved_discount_percent) / 100
        return MonthlyCost(paid, Decimal(0), self.people_usd)


class Stated(Facts):
    """A month's dollars as a source states them."""

    kind: Literal["Stated"] = "Stated"
    hardware_usd: Usd
    power_usd: Usd = Decimal(0)
    people_usd: Usd = Decimal(0)

    @property
    def monthly(self) -> MonthlyCost:
        """What a month costs."""
        return MonthlyCost(self.hardware_usd, self.power_usd, self.people_usd)


Cost = Annotated[Owned | Rented | Stated, Field(discriminator="kind")]


_CURE: Final = (
    "write a list of {name, accelerator, capacityTokensPerMonth, cost, source, date}, with a cost such as "
    '{kind: Rented, usdPerHour: "2.50"} or {kind: Owned, purchaseUsd: "15000", amortizationMonths: 36, watts: 1000}'
)


class Setup(Facts):
    """One unit of a way to self-host: so many accelerators, what a month costs, how many tokens it serves in one."""

    name: str = Field(pattern="^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=63)
    accelerator: str
    accelerators: int = Field(default=1, ge=1, le=64)
    capacity_tokens_per_month: int = Field(gt=0, le=10**15)
    cost: Cost
    source: str = Field(min_length=1)
    date: date


def load_setups(text: str) -> tuple[Setup, ...]:
    """The setups of a YAML or JSON `text`.

    Raises:
        InvalidObject: the text holds no setup, a setup cannot be used, or two have one name.
    """
    return told_apart(listed(text, Setup, "setups", _CURE), "setups", _CURE, "give each its own name")


@cache
def own_setups() -> tuple[Setup, ...]:
    """The setups that come with Spillway."""
    return load_setups(own_text("setups.yaml"))


def find_setup(setups: Sequence[Setup], name: str) -> Setup:
    """The setup called `name`; raises InvalidObject with the choices."""
    return find(setups, name, "selfHost.setup", "setup")
