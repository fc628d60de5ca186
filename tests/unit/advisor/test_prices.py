"""The files of prices."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from spillway.advisor.prices import find_price, load_prices, own_prices, stale
from spillway.errors import InvalidObject

ROW = {
    "provider": "Acme",
    "model": "big",
    "inputUsdPerMillion": "1.00",
    "outputUsdPerMillion": "2.00",
    "source": "https://example.com/prices",
    "date": "2026-01-01",
}


def rows(*changes: dict[str, object]) -> str:
    return json.dumps([ROW | change for change in changes])


def test_every_price_that_comes_along_says_where_from_and_when():
    assert all(price.source and price.date.year >= 2025 for price in own_prices())


def test_a_file_of_ones_own_may_be_json():
    (price,) = load_prices(rows({}))
    assert (price.name, str(price.input_usd_per_million)) == ("Acme/big", "1.00")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rows({"inputUsdPerMillion": "-1"}), r"prices\[0\].inputUsdPerMillion: .*greater than or equal to 0 .*'-1'"),
        (rows({"outputUsdPerMillion": "20000"}), r"outputUsdPerMillion: .*less than or equal to 10000"),
        (rows({}, {"model": "b", "outputUsdPerMillion": "NaN"}), r"prices\[1\].outputUsdPerMillion: .*finite"),
        (rows({"cost": 1}), r"prices\[0\].cost: extra"),
        (rows({"date": "soon"}), r"prices\[0\].date"),
        (rows({}, {}), "Acme/big is there twice"),
        (rows({"source": ""}), r"prices\[0\].source: .*at least 1 character"),
        ("[]", "the file holds none"),
        ("{", "no YAML"),
    ],
)
def test_a_price_that_cannot_be_used_is_named(text: str, said: str):
    with pytest.raises(InvalidObject, match=said):
        load_prices(text)


def test_a_missing_price_is_refused_with_the_choices():
    with pytest.raises(InvalidObject, match=r"cloud: 'gpt-9' has no price; state one of OpenAI/gpt-4o, .*--prices"):
        find_price(own_prices(), "gpt-9")


def test_a_model_that_two_providers_sell_is_named_with_its_provider():
    prices = load_prices(rows({}, {"provider": "Other"}))
    assert find_price(prices, "Other/big").provider == "Other"
    with pytest.raises(InvalidObject, match="has several prices; state one of Acme/big, Other/big"):
        find_price(prices, "big")


@pytest.mark.parametrize(("days", "said"), [(0, None), (90, None), (91, "91 days ago"), (-5, "still to come")])
def test_a_price_is_old_after_90_days(days: int, said: str | None):
    (price,) = load_prices(rows({}))
    warning = stale(price, date(2026, 1, 1) + timedelta(days=days))
    assert (warning is None) if said is None else (warning is not None and said in warning)
