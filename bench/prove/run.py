"""One run: everything started, so many requests asked while it breaks, everything ended in order, and what was seen."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, Final

from bench.prove.asking import ask
from bench.prove.breaking import Breaking
from bench.prove.caller import End, call
from bench.prove.cluster import Cluster, cloud_model
from bench.prove.engine import Engine
from bench.prove.evidence import Account, Evidence, Exchange, Received
from bench.prove.gate import Gate
from bench.prove.gateways import Gateway
from bench.prove.verdict import Verdict, judge
from spillway.simulator.cloud import Price, RecordingCloud
from spillway.simulator.cloud.server import Pace
from spillway.simulator.controlplane import ControlPlane
from spillway.simulator.kubeapi import KubeAPI
from spillway.simulator.process import Keeper

TARGETS: Final = ("first", "second")
GATEWAYS: Final = ("gateway-0", "gateway-1")
REPLICAS: Final = {"chat": 2, "guarded": 1, "solo": 1}
CALLERS: Final = 24
CALM_SECONDS: Final = 1.0
PACE: Final = Pace(first_token_seconds=0.02, jitter_seconds=0.01, tokens_per_second=1000.0)
PRICE: Final = Price(Decimal("0.50"), Decimal("2.00"))
BODY_KEPT_BYTES: Final = 600


@dataclass(frozen=True, slots=True)
class Result:
    """A verdict, the evidence of it, and figures of the run."""

    verdict: Verdict
    evidence: Evidence
    seed: int
    seconds: float
    faults: Counter[str]
    places: Counter[str]
    """Lines by where the request was served and how it ended."""

    def as_json(self) -> dict[str, Any]:
        """One object for programs: the invariants first."""
        verdict = self.verdict
        billed = sum(line.micros for line in self.evidence.bill)
        return {
            "requests": len(self.evidence.exchanges),
            "sensitive_sent": verdict.sensitive_sent,
            "overshoot_usd": f"{verdict.overshoot_usd:f}",
            "unsettled": verdict.unsettled,
            "unaudited": verdict.unaudited,
            "failed_that_could_be_saved": verdict.failed_that_could_be_saved,
            "credentials_crossed": verdict.credentials_crossed,
            "bugs": verdict.bugs,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "sent_to_clouds": len(self.evidence.received),
            "billed_usd": f"{Decimal(billed).scaleb(-6):f}",
            "spent_usd": f"{Decimal(sum(a.spent_micros for a in self.evidence.accounts.values())).scaleb(-6):f}",
            "faults": dict(sorted(self.faults.items())),
            "outcomes": dict(sorted(self.places.items())),
        }


class Run:
    """Everything that one run plays on."""

    def __init__(
        self, plane: ControlPlane, seed: int, requests: int, most_seconds: float, tell: Callable[[str], None]
    ) -> None:
        """Ask `requests`, or for `most_seconds`; in any case until everything was broken once."""
        self._plane = plane
        self._most_seconds = most_seconds
        self._seed = seed
        self._requests = requests
        self._tell = tell
        self._dice = random.Random(seed)
        self._stack = AsyncExitStack()
        self._evidence = Evidence()
        self._numbers = count()
        self._keys = {target: f"sk-of-the-cloud-{secrets.token_hex(8)}" for target in TARGETS}
        self._engines = [
            Engine(f"{name}-{place}", name, self._dice) for name, many in REPLICAS.items() for place in range(many)
        ]
        self._clouds: dict[str, tuple[RecordingCloud, Gate]] = {}
        self._gateways: list[Gateway] = []
        self._asked_all = False

    async def run(self) -> Result:
        """From the first process to the last line."""
        async with self._stack:
            begun = time.monotonic()
            # Engines and clouds whose callers are cut off say so at length; that they are is the point here.
            logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
            self._tell("starting")
            cluster, api_gate = await self._start()
            breaking = Breaking(self._dice, cluster, self._gateways, self._engines, self._clouds, api_gate)
            self._evidence.troubles = breaking.troubles
            await self._ask_all(breaking)
            self._tell("draining")
            await asyncio.sleep(CALM_SECONDS)
            await asyncio.gather(*(gateway.drain() for gateway in self._gateways))
            await self._gather(cluster, breaking)
            places = Counter(
                f"{line['place']} {line['outcome']}" for lines in self._evidence.lines.values() for line in lines
            )
            seconds = time.monotonic() - begun
            return Result(judge(self._evidence), self._evidence, self._seed, seconds, breaking.counts, places)

    async def _start(self) -> tuple[Cluster, Gate]:
        directory = Path(tempfile.mkdtemp(prefix="spillway-prove-"))
        keeper = await self._stack.enter_async_context(Keeper(removes=directory))
        prices = {cloud_model(name): PRICE for name in REPLICAS}
        for target in TARGETS:
            cloud = RecordingCloud(prices, self._keys[target], pace=PACE, rng=self._dice)
            await self._stack.enter_async_context(cloud)
            gate = await self._stack.enter_async_context(Gate(_port(cloud.base_url)))
            self._clouds[target] = cloud, gate
            (directory / target).mkdir()
            (directory / target / "api-key").write_text(self._keys[target])
            (directory / target / "ca.crt").write_bytes(cloud.ca_pem)
        urls = {target: f"https://127.0.0.1:{gate.port}/v1" for target, (_, gate) in self._clouds.items()}
        api: KubeAPI = await self._stack.enter_async_context(self._plane.api())
        cluster = Cluster(self._plane, api, f"prove-{secrets.token_hex(4)}", urls)
        await cluster.create(directory)
        api_gate = await self._stack.enter_async_context(Gate(_port(self._plane.server)))
        for engine in self._engines:
            await engine.start()
            self._stack.push_async_callback(engine.kill)
            labels = {"app.kubernetes.io/component": "engine", "spillway.dev/deployment": engine.deployment}
            await cluster.make_pod(engine.name, labels, "http", engine.port)
            await cluster.set_ready(engine.name, ready=True)
        arguments = (
            *("--namespace", cluster.namespace, "--service-account-dir", str(directory)),
            *("--credentials-dir", str(directory), "--ca-dir", str(directory), "--allowed-hosts", "127.0.0.1"),
        )
        environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api_gate.port)}
        self._gateways += [Gateway(name, keeper, directory, arguments, environment) for name in GATEWAYS]
        for gateway in self._gateways:
            component = {"app.kubernetes.io/component": "gateway"}
            await cluster.make_pod(gateway.name, component, "peers", gateway.peers_port)
            await cluster.set_ready(gateway.name, ready=True)
        await asyncio.gather(*(gateway.start() for gateway in self._gateways))
        return cluster, api_gate

    async def _ask_all(self, breaking: Breaking) -> None:
        """Ask so many, and go on until everything was broken once; then mend all and let the last ones end."""
        async with asyncio.TaskGroup() as together:
            broken = together.create_task(breaking.run())
            callers = [together.create_task(self._caller()) for _ in range(CALLERS)]
            deadline = time.monotonic() + self._most_seconds
            while (self._is_short() and time.monotonic() < deadline) or not breaking.whole_round.is_set():
                await asyncio.sleep(0.5)
                self._tell(f"{len(self._evidence.exchanges)} requests, {sum(breaking.counts.values())} faults")
            breaking.stop()
            await broken
            self._asked_all = True
            await asyncio.gather(*callers)

    def _is_short(self) -> bool:
        return len(self._evidence.exchanges) < self._requests

    async def _caller(self) -> None:
        """Ask one after the other, at any gateway that is up; one that cannot be reached was not asked."""
        while not self._asked_all:
            asked = ask(self._seed, next(self._numbers))
            while True:
                up = [gateway for gateway in self._gateways if gateway.is_up]
                if not up:
                    await asyncio.sleep(0.02)
                    continue
                gateway = self._dice.choice(up)
                life = gateway.life
                told = await call(gateway.port, asked)
                if told.end is not End.UNREACHED:
                    break
                await asyncio.sleep(0.02)
            self._evidence.secrets_told += any(key.encode() in told.body for key in self._keys.values())
            self._evidence.exchanges.append(Exchange(replace(told, body=told.body[:BODY_KEPT_BYTES]), life))

    async def _gather(self, cluster: Cluster, breaking: Breaking) -> None:
        evidence = self._evidence
        for name, configured in cluster.objects.items():
            if not configured.targets:
                continue
            breaking.measure(name)
            status = await cluster.ledger(name)
            spent = int(Decimal(str(status.get("spent", "0"))).scaleb(6))
            evidence.accounts = {
                **evidence.accounts,
                name: Account(spent, len(status.get("tranches", ())), max(0, breaking.over_micros[name])),
            }
        evidence.lives = [life for gateway in self._gateways for life in gateway.lives]
        read = [life.read() for life in evidence.lives]
        evidence.lines = {place: lines for place, (lines, _) in enumerate(read)}
        evidence.bugs = [bug for _, bugs in read for bug in bugs]
        evidence.versions = {name: configured.versions for name, configured in cluster.objects.items()}
        evidence.replicas = {
            name: [engine.name for engine in self._engines if engine.deployment == name] for name in REPLICAS
        }
        since = time.time() - time.monotonic()
        evidence.received = [
            Received(target, record.time - since, record.body)
            for target, (cloud, _) in self._clouds.items()
            for record in cloud.requests
        ]
        evidence.bill = [line for cloud, _ in self._clouds.values() for line in cloud.bill]
        evidence.sent_to_clouds = [data for cloud, _ in self._clouds.values() for data in cloud.received]
        evidence.sent_to_engines = [value for engine in self._engines for value in engine.sent]
        evidence.secrets = [key.encode() for key in self._keys.values()]


def _port(url: str) -> int:
    return int(url.removesuffix("/v1").rpartition(":")[2])
