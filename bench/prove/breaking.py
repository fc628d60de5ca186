"""Everything that goes wrong or is changed while requests are under way: five that act at the same time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Final

from bench.prove.cluster import CEILING_SECONDS, WATCH_SECONDS, Cluster
from bench.prove.engine import Engine, Fault
from bench.prove.evidence import API_SERVER, Troubles, poor
from bench.prove.gate import Gate
from bench.prove.gateways import Gateway
from spillway.api.v1alpha1 import DataClass
from spillway.simulator.cloud import Faults, RecordingCloud

SPENT_UP_TO: Final = Decimal("0.05")
"""A budget with less left refuses most of what asks."""
RAISE_BY: Final = Decimal("0.40")
RECONNECT_SECONDS: Final = 6.0
"""After an outage of three seconds gateways wait for as long as five before they watch again (gateway/watch.py)."""
LITTLE: Final = Decimal("0.15")
"""With less that is neither spent nor leased, a small request may be refused."""
CLOUD_FAULTS: Final[Mapping[str, Faults]] = {
    "cloud 429": Faults(status=429, retry_after_seconds=1),
    "cloud 500": Faults(status=500),
    "cloud closes before its head": Faults(drop_before_headers=True),
    "cloud breaks off": Faults(drop_after_tokens=3),
    "cloud slow": Faults(slowness=20.0),
    "cloud without usage": Faults(without_usage=True),
    "cloud silent": Faults(silent=True),
    "cloud redirects": Faults(redirect_to="https://127.0.0.1:9/v1/chat/completions"),
}
HARMLESS: Final = frozenset({"cloud without usage"})

Action = Callable[[], Awaitable[None]]


class Breaking:
    """Breaks, mends and changes until it is told to stop; what it did is counted by name."""

    def __init__(
        self,
        dice: random.Random,
        cluster: Cluster,
        gateways: Sequence[Gateway],
        engines: Sequence[Engine],
        clouds: Mapping[str, tuple[RecordingCloud, Gate]],
        api_gate: Gate,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.troubles = Troubles()
        self.over_micros: Counter[str] = Counter()
        self._dice = dice
        self._cluster = cluster
        self._gateways = gateways
        self._engines = engines
        self._clouds = clouds
        self._api_gate = api_gate
        self._stopping = asyncio.Event()
        self._loops_to_go = 4
        self._hearing = asyncio.Lock()
        """Held while gateways have to hear of a change, and while they cannot."""
        self.whole_round = asyncio.Event()
        """Set when everything was done at least once."""

    async def run(self) -> None:
        """Until `stop`; everything is mended at the end."""
        names = tuple(name for name, one in self._cluster.objects.items() if one.targets)
        async with asyncio.TaskGroup() as together:
            together.create_task(self._again_and_again(self._engine_actions(), 0.2, 1.0))
            together.create_task(self._again_and_again(self._cloud_actions(), 0.3, 1.5))
            together.create_task(self._again_and_again(self._gateway_actions(), 0.3, 1.0))
            together.create_task(self._again_and_again(self._changes(), 0.3, 1.0))
            together.create_task(self._keep_budgets(names))

    def stop(self) -> None:
        """Finish what is broken now, and break no more."""
        self._stopping.set()

    async def _again_and_again(self, actions: Sequence[tuple[str, Action]], least: float, most: float) -> None:
        is_first = True
        while True:
            for name, action in self._dice.sample(actions, len(actions)):
                await self._pause(least, most)
                if self._stopping.is_set():
                    return
                await action()
                self.counts[name] += 1
            self._loops_to_go -= is_first
            is_first = False
            if not self._loops_to_go:
                self.whole_round.set()

    async def _pause(self, least: float, most: float) -> None:
        await asyncio.sleep(self._dice.uniform(least, most))

    # --- engines ---

    def _engine_actions(self) -> list[tuple[str, Action]]:
        faults = [(fault.value, partial(self._engine_fault, fault)) for fault in Fault if fault is not Fault.NONE]
        kills = [("engine killed", self._kill_engine), ("all engines killed", self._kill_all_engines)]
        return [*faults, *kills]

    async def _engine_fault(self, fault: Fault) -> None:
        engine = self._dice.choice(self._engines)
        self.troubles.begin(engine.name)
        engine.fault = fault
        await self._pause(0.3, 1.5)
        engine.fault = Fault.NONE
        self.troubles.end(engine.name)

    async def _kill_engine(self) -> None:
        await self._kill([self._dice.choice(self._engines)])

    async def _kill_all_engines(self) -> None:
        await self._kill(self._engines)

    async def _kill(self, engines: Sequence[Engine]) -> None:
        for engine in engines:
            self.troubles.begin(engine.name)
            await engine.kill()
        await self._pause(0.0, 0.5)  # a kubelet does not see it at once
        for engine in engines:
            await self._cluster.set_ready(engine.name, ready=False)
        await self._pause(0.2, 1.5)
        for engine in engines:
            await engine.start()
            await self._cluster.set_ready(engine.name, ready=True)
        await self._api_gate.opened.wait()
        for engine in engines:
            self.troubles.end(engine.name)

    # --- clouds ---

    def _cloud_actions(self) -> list[tuple[str, Action]]:
        faults = [(name, partial(self._cloud_fault, name)) for name in CLOUD_FAULTS]
        return [*faults, ("cloud refuses connections", self._shut_cloud)]

    async def _cloud_fault(self, name: str) -> None:
        target = self._dice.choice(list(self._clouds))
        cloud, _ = self._clouds[target]
        if name not in HARMLESS:
            self.troubles.begin(target)
        cloud.faults = CLOUD_FAULTS[name]
        await self._pause(0.3, 1.5)
        cloud.faults = Faults()
        self.troubles.end(target)

    async def _shut_cloud(self) -> None:
        target = self._dice.choice(list(self._clouds))
        _, gate = self._clouds[target]
        self.troubles.begin(target)
        await gate.shut()
        await self._pause(0.3, 1.5)
        await gate.open()
        self.troubles.end(target)

    # --- gateways and the API server ---

    def _gateway_actions(self) -> list[tuple[str, Action]]:
        return [
            ("gateway killed with -9", self._kill_gateway),
            ("gateway drained by SIGTERM", self._drain_gateway),
            ("API server away", self._shut_api_server),
        ]

    async def _kill_gateway(self) -> None:
        gateway = self._dice.choice(self._gateways)
        await gateway.kill()
        await self._pause(0.0, 1.0)
        await gateway.start()

    async def _drain_gateway(self) -> None:
        gateway = self._dice.choice(self._gateways)
        await gateway.drain()
        await gateway.start()

    async def _shut_api_server(self) -> None:
        async with self._hearing:
            self.troubles.begin(API_SERVER)
            await self._api_gate.shut()
            await self._pause(1.0, 3.0)
            await self._api_gate.open()
            self.troubles.end(API_SERVER)
            await asyncio.sleep(RECONNECT_SECONDS)

    # --- the configuration ---

    def _changes(self) -> list[tuple[str, Action]]:
        both, targets = (DataClass.INTERNAL, DataClass.PUBLIC), tuple(self._clouds)
        return [
            ("ceiling lowered and raised", self._lower_ceiling),
            ("mayLeave emptied and restored", partial(self._change, {"may_leave": ()}, {"may_leave": both})),
            ("target removed and restored", partial(self._change, {"targets": targets[1:]}, {"targets": targets})),
            ("mode Shadow and Enabled", partial(self._change, {"mode": "Shadow"}, {"mode": "Enabled"})),
        ]

    async def _lower_ceiling(self) -> None:
        async with self._hearing:
            await self._cluster.set_ceiling(self._dice.choice(("None", "Public")))
            await asyncio.sleep(CEILING_SECONDS)
            await self._pause(0.5, 1.5)
            await self._cluster.set_ceiling("Internal")

    async def _change(self, to: Mapping[str, object], back: Mapping[str, object]) -> None:
        async with self._hearing:
            await self._cluster.change("chat", **to)
            await asyncio.sleep(WATCH_SECONDS)
            await self._pause(0.5, 1.5)
            await self._cluster.change("chat", **back)

    # --- money ---

    async def _keep_budgets(self, names: Sequence[str]) -> None:
        """Let a budget be spent for a while, then raise its limit; what was billed by then may not be over it."""
        spent_since = dict.fromkeys(names, 0.0)
        while not self._stopping.is_set():
            await asyncio.sleep(0.5)
            for name in names:
                status, limit = await self._cluster.ledger(name), self._cluster.objects[name].limit
                spent = Decimal(str(status.get("spent", "0")))
                leased = sum((Decimal(str(one["amount"])) for one in status.get("tranches", ())), Decimal(0))
                (self.troubles.begin if limit - spent - leased < LITTLE else self.troubles.end)(poor(name))
                if limit - spent > SPENT_UP_TO:
                    continue
                spent_since[name] += 0.5
                if spent_since[name] > self._dice.uniform(1.0, 4.0):
                    self.counts["budget spent"] += 1
                    spent_since[name] = 0.0
                    self.measure(name)
                    await self._cluster.raise_limit(name, RAISE_BY)

    def measure(self, name: str) -> None:
        """Take down by how much what was billed is over the limit, before that is raised, or at the end."""
        limit = int(self._cluster.objects[name].limit.scaleb(6))
        self.over_micros[name] = max(self.over_micros[name], self.billed_micros(name) - limit)

    def billed_micros(self, name: str) -> int:
        """What all targets charge for a deployment."""
        model = f"big-{name}"
        return sum(line.micros for cloud, _ in self._clouds.values() for line in cloud.bill if line.model == model)
