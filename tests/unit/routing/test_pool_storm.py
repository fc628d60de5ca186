"""Random requests, failures, peers and metrics: the pool never stumbles, answers each once, forgets nothing."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from routing_values import route
from spillway.routing.facts import Usage
from spillway.routing.hold import Pool
from spillway.routing.outcomes import Reason
from spillway.routing.replica import Load
from spillway.routing.scraped import EngineLoad
from spillway.routing.shares import Work
from spillway.routing.verdicts import Cloud, Local
from spillway.routing.waiting import Held


class Storm:
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.pool = Pool(route(max_held=5, max_wait_seconds=5.0, kv_capacity_tokens=20_000), "gateway")
        self.now = 0.0
        self.asked: dict[str, Held] = {}
        self.open: set[str] = set()
        self.placed: dict[str, str] = {}

    def step(self) -> None:
        dice, fleet = self.dice, self.pool.fleet
        self.now += dice.random() * 0.3
        match dice.randrange(12):
            case 0 | 1 | 2 | 3:
                name = f"r{len(self.asked)}"
                targets = dice.choice([(), ("openai",)])
                self.ask(
                    Held(name, self.now, dice.randrange(10, 9000), 50, dice.random() < 0.8, targets, Reason.SENSITIVE)
                )
            case 4:
                fleet.set_replicas(frozenset(name for name in "abc" if dice.random() < 0.6), dice.randrange(2))
            case 5:
                fleet.tell("peer", dice.choice([None, Work({"a": Load(5000, 2, 6000)})]), self.now)
            case 6:
                seen = EngineLoad(dice.randrange(9), dice.randrange(9), dice.random(), 20_000)
                fleet.correct(dice.choice("abc"), seen, self.now)
            case 7:
                fleet.forget_old(self.now)
            case 8 if self.placed:
                self.end(dice.choice(sorted(self.placed)))
            case 9 | 10 | 11 if self.placed:
                self.fail(dice.choice(sorted(self.placed)))
            case _:
                pass
        self.drain()

    def ask(self, held: Held) -> None:
        self.asked[held.request_id] = held
        self.open.add(held.request_id)
        self.pool.ask(held)

    def end(self, name: str) -> None:
        replica = self.placed.pop(name)
        self.pool.prefilled(name, replica, self.now)
        self.pool.fleet.answered(name, replica, 100, Usage(10, 60), self.now)
        self.pool.vacate(name, replica, self.now, trouble=False)

    def fail(self, name: str) -> None:
        replica, held = self.placed.pop(name), self.asked[name]
        self.pool.vacate(name, replica, self.now, trouble=True, full=self.dice.random() < 0.3)
        self.ask(replace(held, excluded_replicas=held.excluded_replicas | {replica}, after_failure=True))

    def drain(self) -> None:
        while (answer := self.pool.next(self.now)) is not None:
            name, verdict = answer
            self.open.remove(name)
            assert not isinstance(verdict, Cloud) or verdict.target in self.asked[name].targets
            if isinstance(verdict, Local):
                self.pool.occupy(self.asked[name], verdict.replica, self.now)
                self.placed[name] = verdict.replica
        wake = self.pool.next_wake(self.now)
        assert (wake is None) or wake > self.now


@pytest.mark.parametrize("seed", range(20))
def test_a_storm_leaves_nothing_behind(seed: int) -> None:
    storm = Storm(seed)
    for _ in range(300):
        storm.step()
        assert storm.pool.held == len(storm.open)
        assert storm.pool.in_flight == len(storm.placed)
    for name in sorted(storm.placed):
        storm.end(name)
    storm.now += 60
    storm.drain()
    for name in sorted(storm.placed):
        storm.end(name)
    storm.now += 60
    storm.drain()
    assert not storm.open
    assert storm.placed or all(load == Load(0, 0, 0) for load in storm.pool.fleet.own().values())
