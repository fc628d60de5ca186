"""Whether to keep a model here, by an hour that was measured."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from spillway.advisor.costs import Mix
from spillway.advisor.keeping import Leaving, Rate, keep, per_hour
from spillway.advisor.running import Running, TargetRates

TARGET = TargetRates("openai", "gpt-4o", Decimal("2.50"), Decimal("10.00"), Decimal("1.25"))
RUNS = Running(
    replicas=2,
    accelerators=1,
    profile="l4-24gb",
    replica_usd_per_hour=Decimal("0.70"),
    replica_tokens_per_second=1000.0,
    target=TARGET,
    mix=Mix(500, 1000),
)
HOUR = Rate(Mix(1_000_000, 2_000_000), 2000, 3600)
"""Three million tokens: $22.50 at the target."""


def share(of: float) -> Rate:
    return Rate(Mix(int(1_000_000 * of), int(2_000_000 * of)), 100, 3600)


def test_dollars_are_those_of_the_same_hour_here_and_there():
    found = keep(RUNS, HOUR, Leaving.ALL)
    assert found.local_usd_per_million == Decimal("1.40") / 3
    assert found.cloud_usd_per_million == Decimal("7.50")
    assert found.break_even_tokens_per_day == int(24 * Decimal("1.40") * 10**6 / Decimal("7.50"))
    assert found.utilization_percent == round(100 * 3_000_000 / (2 * 1000 * 3600))
    assert found.recommendation == "KeepLocal"


def test_what_the_cloud_would_have_found_in_its_cache_costs_what_that_costs():
    cached = replace(HOUR, tokens=Mix(1_000_000, 2_000_000, 1_000_000))
    assert keep(RUNS, cached, Leaving.ALL).cloud_usd_per_million == (Decimal("1.25") + 20) / 3


@pytest.mark.parametrize(
    ("runs", "hour", "leaving", "recommended"),
    [
        pytest.param(RUNS, HOUR, Leaving.ALL, "KeepLocal", id="cheaper here"),
        pytest.param(
            RUNS, share(0.05), Leaving.ALL, "Hybrid", id="one replica would do, and cost less than the target"
        ),
        pytest.param(replace(RUNS, replicas=1), share(0.02), Leaving.ALL, "PreferCloud", id="hardly used"),
        pytest.param(RUNS, share(0.02), Leaving.ALL, "PreferCloud", id="one replica would cost more too"),
        pytest.param(RUNS, share(0.02), Leaving.A_PART, "Hybrid", id="a part must stay"),
        pytest.param(RUNS, share(0.02), Leaving.NOTHING, "KeepLocal", id="nothing may leave, whatever it costs"),
        pytest.param(RUNS, None, Leaving.ALL, "Unknown", id="nothing measured"),
        pytest.param(RUNS, replace(share(0.02), seconds=3599), Leaving.ALL, "Unknown", id="less than an hour"),
        pytest.param(replace(RUNS, replica_usd_per_hour=None), HOUR, Leaving.ALL, "Unknown", id="no hourlyCost"),
        pytest.param(replace(RUNS, target=None), HOUR, Leaving.ALL, "Unknown", id="no price"),
        pytest.param(replace(RUNS, replicas=0), HOUR, Leaving.NOTHING, "Unknown", id="no replica"),
        pytest.param(
            replace(RUNS, replica_tokens_per_second=None), share(0.05), Leaving.ALL, "PreferCloud", id="no roofline"
        ),
        pytest.param(
            replace(RUNS, replicas=20, replica_tokens_per_second=500.0),
            share(0.5),
            Leaving.ALL,
            "Hybrid",
            id="twenty replicas for what one and the target would do",
        ),
    ],
)
def test_the_recommendation_follows_from_the_hour(runs: Running, hour: Rate | None, leaving: Leaving, recommended: str):
    assert keep(runs, hour, leaving).recommendation == recommended


def test_gateways_are_added_up_each_in_its_own_time():
    found = per_hour([Rate(Mix(600, 1200, 300), 6, 3600), Rate(Mix(100, 200, 50), 1, 600)])
    assert found == Rate(Mix(1200, 2400, 600), 12, 3600)
    assert found.request == Mix(100, 200, 50)


def test_an_hour_without_tokens_is_none():
    assert per_hour([]) is None
    assert per_hour([Rate(Mix(0, 0), 0, 3600)]) is None


def test_absurd_numbers_stay_within_what_status_can_hold():
    found = keep(
        replace(RUNS, replicas=1000, replica_usd_per_hour=Decimal(6_400_000)),
        Rate(Mix(1, 0), 1, 3600),
        Leaving.ALL,
    )
    assert found.local_usd_per_million == 999_999_999
    free = replace(TARGET, input_usd_per_million=Decimal("0.000001"), output_usd_per_million=Decimal("0.000001"))
    dear = replace(RUNS, replicas=1000, replica_usd_per_hour=Decimal(6_400_000), target=free)
    assert keep(dear, HOUR, Leaving.ALL).break_even_tokens_per_day == 2**53 - 1
    nothing = replace(TARGET, input_usd_per_million=Decimal(0), output_usd_per_million=Decimal(0))
    assert keep(replace(RUNS, target=nothing), HOUR, Leaving.ALL).break_even_tokens_per_day is None
