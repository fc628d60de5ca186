"""Gateways that share engines, in virtual time: together they saturate like one, and the loop closes on itself."""

from __future__ import annotations

import pytest

from routing_world import L4, Outcome, World
from spillway.simulator.engine.batching import Coefficients


def outcome(gateways: int, rate: float, *, told: bool = True) -> Outcome:
    world = World(gateways, replicas=2)
    if not told:
        for pool in world.pools:
            pool.fleet.tell = lambda *_: None  # type: ignore[method-assign]
    world.load(rate, seconds=90, seed=1)
    return world.run(until=120)


@pytest.mark.parametrize("gateways", [2, 4])
def test_gateways_together_saturate_like_one(gateways: int) -> None:
    alone, together = outcome(1, rate=10), outcome(gateways, rate=10)
    assert alone.attainment > 0.98
    assert together.attainment > alone.attainment - 0.05
    assert together.spill_share == pytest.approx(alone.spill_share, abs=0.08)


def test_gateways_that_are_not_told_of_each_other_miss_the_slo_or_spill_more() -> None:
    told, untold = outcome(4, rate=10), outcome(4, rate=10, told=False)
    assert untold.attainment + (told.spill_share - untold.spill_share) < told.attainment - 0.01


@pytest.mark.parametrize("gateways", [1, 2, 4])
def test_nobody_waits_while_an_engine_is_idle(gateways: int) -> None:
    world = World(gateways, replicas=4)
    world.load(rate=4.0, seconds=120, seed=2)
    done = world.run(until=140)
    assert done.local > 400
    assert done.held_while_idle == 0
    assert done.refused == 0
    assert done.spilled < 5, "but for prompts that no engine reads within the SLO"


@pytest.mark.parametrize("speed", [0.5, 2.0])
def test_an_engine_of_half_or_twice_the_assumed_speed_is_learnt(speed: float) -> None:
    engine = Coefficients(L4.step_seconds / speed, L4.prompt_token_seconds / speed, 1e-4, 5e-8, 512, 256, 250_000)
    world = World(1, replicas=2, coefficients=engine)
    world.load(rate=10 * speed, seconds=240, seed=3)
    world.run(until=120)
    world.outcome = Outcome()
    after = world.run(until=280)
    assert after.attainment > 0.97
    assert 0.1 < after.spill_share < 0.6


@pytest.mark.parametrize("wrong", [0.5, 2.0])
def test_with_the_prefill_rate_wrong_for_good_kappa_alone_closes_the_loop(wrong: float) -> None:
    world = World(1, replicas=2)
    prefill = world.pools[0].predictor.prefill
    for tokens in (200, 1000, 4000) * 100:
        prefill.observe(tokens, 0.02 + tokens / (4000 * wrong))
    prefill.observe = lambda *_: None  # type: ignore[method-assign]
    world.load(rate=10, seconds=240, seed=4)
    world.run(until=120)
    world.outcome = Outcome()
    after = world.run(until=280)
    assert after.attainment > 0.97
    assert world.pools[0].predictor.kappa == pytest.approx(wrong, rel=0.35)
    assert after.spill_share == pytest.approx(outcome(1, rate=10).spill_share, abs=0.12)
