"""Gateways' pools in front of simulated engines, in virtual time: what a policy comes to, in milliseconds of ours."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from routing_values import route
from spillway.routing.facts import Usage
from spillway.routing.hold import Pool
from spillway.routing.outcomes import Reason
from spillway.routing.shares import Shares, Work, decode, encode
from spillway.routing.verdicts import Cloud, Local
from spillway.routing.waiting import Held
from spillway.simulator.engine.batching import Batch, Coefficients
from spillway.simulator.engine.batching import Work as Sequence

EXCHANGE_SECONDS = 0.25
# As a 7B model on an L4: 19 ms a step, 4,300 prompt tokens a second when it does nothing else.
L4 = Coefficients(0.019, 0.00023, 0.0001, 5e-8, 512, 256, 250_000)


@dataclass
class Engine:
    """One replica."""

    name: str
    batch: Batch
    stepping: bool = False


@dataclass
class Outcome:
    """What became of all requests."""

    local: int = 0
    in_time: int = 0
    spilled: int = 0
    refused: int = 0
    held_while_idle: int = 0
    waits: list[float] = field(default_factory=list)

    @property
    def attainment(self) -> float:
        """Of those that stayed, the part that made the SLO."""
        return self.in_time / max(1, self.local)

    @property
    def spill_share(self) -> float:
        """Of all, the part that went to the cloud."""
        return self.spilled / max(1, self.local + self.spilled + self.refused)


class World:
    """So many gateways and replicas; time is what the next event says."""

    def __init__(self, gateways: int, replicas: int, coefficients: Coefficients = L4, **changes: object) -> None:
        self.now = 0.0
        self.slo = 2.0
        self.pools = [Pool(route(max_held=10_000, **changes), f"gateway-{place}") for place in range(gateways)]
        self.engines = {f"engine-{place}": Engine(f"engine-{place}", Batch(coefficients)) for place in range(replicas)}
        for pool in self.pools:
            pool.fleet.set_replicas(frozenset(self.engines), 0)
        self.outcome = Outcome()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._asked: dict[str, tuple[int, Held, int]] = {}
        self._keys: dict[int, str] = {}
        self._wakes: dict[int, float] = {}
        if gateways > 1:
            for place in range(gateways):
                self.at(EXCHANGE_SECONDS * place / gateways, partial(self._exchange, place))

    def at(self, moment: float, what: Callable[[], None]) -> None:
        """Let something happen."""
        self._count += 1
        heapq.heappush(self._events, (moment, self._count, what))

    def load(self, rate: float, seconds: float, seed: int, prompt: int = 1200, output: int = 60) -> None:
        """Poisson arrivals, each at a gateway by chance."""
        dice = random.Random(seed)
        moment = 0.0
        while (moment := moment + dice.expovariate(rate)) < seconds:
            tokens = max(20, round(dice.lognormvariate(0, 0.6) * prompt))
            length = max(2, round(dice.lognormvariate(0, 0.5) * output))
            gateway = dice.randrange(len(self.pools))
            self.at(moment, partial(self._arrive, gateway, tokens, length))

    def run(self, until: float) -> Outcome:
        """Let time pass."""
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()
        return self.outcome

    def _arrive(self, gateway: int, tokens: int, length: int) -> None:
        self._count += 1
        name = f"r{self._count}"
        held = Held(name, self.now, tokens, None, streams=True, targets=("openai",), stays_because=Reason.DEFAULT)
        self._asked[name] = gateway, held, length
        idle = any(not engine.batch.running and not engine.batch.waiting for engine in self.engines.values())
        self.pools[gateway].ask(held)
        self._pump(gateway)
        self.outcome.held_while_idle += idle and self.pools[gateway].held > 0

    def _pump(self, gateway: int) -> None:
        pool = self.pools[gateway]
        while (found := pool.next(self.now)) is not None:
            name, verdict = found
            _, held, length = self._asked[name]
            match verdict:
                case Local(replica, _, _):
                    pool.occupy(held, replica, self.now)
                    self._count += 1
                    self._keys[self._count] = name
                    engine = self.engines[replica]
                    engine.batch.submit(Sequence(self._count, held.prompt_tokens, length))
                    self._step(engine)
                case Cloud():
                    self.outcome.spilled += 1
                case _:
                    self.outcome.refused += 1
        wake = pool.next_wake(self.now)
        if wake is not None and not self.now < self._wakes.get(gateway, 0.0) <= wake:
            self._wakes[gateway] = wake
            self.at(wake, lambda: self._pump(gateway))

    def _step(self, engine: Engine) -> None:
        if engine.stepping:
            return
        step = engine.batch.begin_step()
        if step is not None:
            engine.stepping = True
            self.at(self.now + step.seconds, lambda: self._stepped(engine))

    def _stepped(self, engine: Engine) -> None:
        engine.stepping = False
        touched = set()
        for emission in engine.batch.finish_step():
            name = self._keys[emission.key]
            gateway, held, length = self._asked[name]
            pool = self.pools[gateway]
            if emission.is_first:
                waited = self.now - held.arrived
                self.outcome.local += 1
                self.outcome.in_time += waited <= self.slo
                self.outcome.waits.append(waited)
                pool.prefilled(name, engine.name, self.now)
            if emission.is_last:
                usage = Usage(held.prompt_tokens, length)
                pool.fleet.answered(name, engine.name, held.prompt_tokens * 4, usage, self.now)
                pool.vacate(name, engine.name, self.now, trouble=False)
            if emission.is_first or emission.is_last:
                touched.add(gateway)
        self._step(engine)
        for gateway in touched:
            self._pump(gateway)

    def _exchange(self, place: int) -> None:
        """One gateway is asked by all others."""
        pool = self.pools[place]
        models = {"chat": Work(pool.fleet.own())} if pool.has_work else {}
        told = decode(encode(Shares(str(place), models)))
        for other, asking in enumerate(self.pools):
            if other != place:
                asking.fleet.tell(f"gateway-{place}", told.models.get("chat"), self.now)
                self._pump(other)
        self.at(self.now + EXCHANGE_SECONDS, lambda: self._exchange(place))
