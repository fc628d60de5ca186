"""docs/when-to-self-host.md: its tables are what the functions say now, and its examples work."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from spillway.advisor.advice import advise
from spillway.advisor.needs import described, read_needs
from spillway.advisor.prices import load_prices
from spillway.advisor.setups import load_setups
from spillway.advisor.tables import BLOCKS

PAGE = (Path(__file__).parents[3] / "docs" / "when-to-self-host.md").read_text()


@pytest.mark.parametrize("block", BLOCKS)
def test_each_table_is_what_the_code_says(block: str):
    # `make generate` writes it
    assert re.findall(rf"(?s)<!-- {block} -->\n(.*?)<!-- end -->", PAGE) == [BLOCKS[block]()]


def test_the_example_of_needs_is_advised_on_as_the_page_says():
    needs, prices, setups = re.findall(r"(?s)```yaml\n(.*?)```", PAGE)
    assert load_prices(prices)[0].name == "OpenAI/gpt-4o"
    assert load_setups(setups)[0].cost.kind == "Rented"
    owned = re.sub(r"(?m)^  cost: .*\n  # cost:", "  cost:", setups)
    assert load_setups(owned)[0].cost.kind == "Owned"
    recommendation = advise(read_needs(needs), date(2025, 12, 15)).recommendation
    assert f"jq -r .recommendation\n{recommendation}\n" in PAGE


def test_every_field_is_explained():
    assert all(text for _, _, text in described())
    assert len(list(described())) >= 29
