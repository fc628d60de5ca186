from __future__ import annotations

from decimal import Decimal

import pytest

from spillway.errors import InvalidObject
from spillway.sizing.profiles import default_profiles, load_profiles


def test_the_profiles_that_come_with_spillway():
    assert sorted(default_profiles()) == ["a100-80gb", "cpu", "h100-80gb", "l4-24gb"]
    assert not default_profiles()["cpu"].has_accelerator
    for profile in default_profiles().values():
        if profile.name == "cpu":
            continue
        assert profile.resource_name == "nvidia.com/gpu"
        assert "nvidia.com/gpu.product" in profile.node_selector


def test_what_an_hour_costs_is_exact_and_may_be_left_open():
    costs = {name: profile.hourly_cost for name, profile in default_profiles().items()}
    assert costs == {
        "a100-80gb": Decimal("4.86"),
        "cpu": None,
        "h100-80gb": Decimal("7.64"),
        "l4-24gb": Decimal("0.70"),
    }
    assert load_profiles("- {name: a, memoryGiB: 1, hourlyCost: 0.1}")["a"].hourly_cost == Decimal("0.1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {name: a, memoryGiB: 1, colour: red}", "colour"),
        ("- {name: a}", "memoryGiB"),
        ("- {name: A, memoryGiB: 1}", "name"),
        ("- {name: a, memoryGiB: 0}", "memoryGiB"),
        ("- {name: a, memoryGiB: 1, hourlyCost: -1}", "hourlyCost"),
        ("- {name: a, memoryGiB: 1, hourlyCost: cheap}", "hourlyCost"),
        ("{a: 1}", "list"),
        ("- {", "accelerator profiles"),
        ("- {name: a, memoryGiB: 1}\n- {name: a, memoryGiB: 2}", "a is there twice"),
    ],
)
def test_a_bad_profiles_file_says_what_is_wrong(text: str, said: str):
    with pytest.raises(InvalidObject, match=said):
        load_profiles(text)
