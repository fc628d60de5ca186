"""Dollars of tokens, setups and units."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spillway.advisor.costs import (
    Mix,
    at_utilization,
    blended_usd_per_million,
    break_even_tokens,
    cents,
    effective_usd_per_million,
    payback_months,
    roughly_equal,
    tokens_usd,
    units_needed,
)
from spillway.advisor.prices import load_prices
from spillway.advisor.setups import Owned, Rented, Stated, find_setup, own_setups
from spillway.errors import InvalidObject


def test_cached_prompt_tokens_have_a_price_of_their_own():
    (price,) = load_prices(
        '[{provider: P, model: m, inputUsdPerMillion: "2", cachedInputUsdPerMillion: "0.5", outputUsdPerMillion: "8", '
        "source: s, date: 2026-01-01}]"
    )
    # 60 plain at 2, 40 cached at 0.5, 100 answers at 8, over 200
    assert blended_usd_per_million(price, Mix(100, 100, cached_input_tokens=40)) == Decimal("4.7")
    assert blended_usd_per_million(price, Mix(100, 100)) == Decimal(5)


@given(st.integers(0, 10**12), st.integers(1, 10**10))
def test_units_have_room_for_all_and_one_less_would_not(tokens: int, capacity: int):
    units = units_needed(tokens, capacity)
    assert units * capacity >= tokens
    assert units == 1 or (units - 1) * capacity < tokens


@given(st.decimals("0.01", "1000000", places=2), st.decimals("0.01", "10000", places=2))
def test_at_the_break_even_both_cost_the_same(fixed: Decimal, per_million: Decimal):
    tokens = break_even_tokens(fixed, per_million)
    assert tokens is not None
    assert cents(tokens * per_million / 10**6) == fixed


def test_what_costs_nothing_is_never_overtaken():
    assert break_even_tokens(Decimal(4000), Decimal(0)) is None


def test_owned_is_its_price_by_months_and_its_power_by_watts_hours_price_and_pue():
    cost = Owned(
        purchase_usd=Decimal(36_000),
        amortization_months=36,
        watts=2000,
        usd_per_kwh=Decimal("0.10"),
        pue=Decimal("1.5"),
    ).monthly
    assert (cost.hardware, cost.power, cost.people, cost.total) == (1000, Decimal("216.0"), 0, Decimal("1216.0"))


@pytest.mark.parametrize(("discount", "dollars"), [("0", "1440"), ("40", "864")])
def test_rented_is_hours_by_price_less_what_a_reservation_saves(discount: str, dollars: str):
    rented = Rented(usd_per_hour=Decimal(2), reserved_discount_percent=Decimal(discount), people_usd=Decimal(500))
    assert rented.monthly.hardware == Decimal(dollars)
    assert rented.monthly.total == Decimal(dollars) + 500


def test_units_take_their_people_with_them():
    assert Stated(hardware_usd=Decimal(3500), people_usd=Decimal(500)).monthly.times(2).total == 8000


@pytest.mark.parametrize(
    ("replaced", "running", "months"),
    [("2000", "0", "7.5"), ("2000", "500", "10"), ("500", "500", None), ("1", "2", None)],
)
def test_a_purchase_is_paid_by_what_it_saves_or_never(replaced: str, running: str, months: str | None):
    found = payback_months(Decimal(15_000), Decimal(replaced), Decimal(running))
    assert found == (None if months is None else Decimal(months))


def test_half_used_costs_twice_as_much_a_token():
    full = at_utilization(Decimal(4000), 2_500_000_000, Decimal(1))
    half = at_utilization(Decimal(4000), 2_500_000_000, Decimal("0.5"))
    assert (full, half) == (Decimal("1.6"), Decimal("3.2"))
    assert at_utilization(Decimal(4000), 2_500_000_000, Decimal(0)) is None
    assert effective_usd_per_million(Decimal(4000), 0) is None


@pytest.mark.parametrize(("one", "other", "equal"), [(90, 100, True), (100, 90, True), (89, 100, False), (0, 0, True)])
def test_within_a_tenth_is_roughly_equal(one: int, other: int, equal: bool):
    assert roughly_equal(Decimal(one), Decimal(other)) is equal


def test_halves_of_a_cent_are_rounded_up():
    assert (cents(Decimal("0.005")), cents(tokens_usd(1, Decimal(5000)))) == (Decimal("0.01"), Decimal("0.01"))


def test_an_unknown_setup_is_refused_with_the_choices():
    with pytest.raises(InvalidObject, match=r"selfHost.setup: there is no setup 'x'; state one of rented-a100"):
        find_setup(own_setups(), "x")
