"""What was seen from outside while it ran: callers, engines, clouds, ledgers, lines, and what was broken when."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.prove.caller import Told
from bench.prove.cluster import Version
from bench.prove.gateways import Life
from spillway.simulator.cloud import BillLine

API_SERVER = "api server"


def poor(deployment: str) -> str:
    """The name under which it is kept when little was left of a budget."""
    return f"budget of {deployment}"


class Troubles:
    """When what could not serve: replicas, targets, the API server, budgets. Times are of time.monotonic."""

    def __init__(self) -> None:
        self._spans: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        self._open: dict[str, float] = {}

    def begin(self, name: str) -> None:
        """It does not serve from now on; nothing happens when that is known."""
        self._open.setdefault(name, time.monotonic())

    def end(self, name: str) -> None:
        """It serves again."""
        if name in self._open:
            self._spans[name].append((self._open.pop(name), time.monotonic()))

    def add(self, name: str, begun: float, ended: float) -> None:
        """It did not serve for this while."""
        self._spans[name].append((begun, ended))

    def spared(self, name: str, begun: float, ended: float) -> bool:
        """Whether there was no trouble with it from `begun` to `ended`."""
        under_way = self._open.get(name, float("inf"))
        return under_way > ended and all(last < begun or first > ended for first, last in self._spans[name])


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as its caller saw it, and the process that it was sent to."""

    told: Told
    life: Life


@dataclass(frozen=True, slots=True)
class Received:
    """A request as a target was sent it; `time` is of time.monotonic."""

    target: str
    time: float
    body: bytes


@dataclass(frozen=True, slots=True)
class Account:
    """One LLMLedger at the end: what was spent, leases that are left, the most by which a bill passed its limit."""

    spent_micros: int
    leases: int
    over_micros: int


@dataclass
class Evidence:
    """All of it. `sent_to_clouds` and `sent_to_engines` are bytes as they came, `secrets` the targets' own keys."""

    exchanges: list[Exchange] = field(default_factory=list)
    received: Sequence[Received] = ()
    bill: Sequence[BillLine] = ()
    lines: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """By the place of their life in `lives`."""
    lives: Sequence[Life] = ()
    bugs: Sequence[str] = ()
    versions: Mapping[str, Sequence[Version]] = field(default_factory=dict)
    accounts: Mapping[str, Account] = field(default_factory=dict)
    replicas: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Names by deployment."""
    troubles: Troubles = field(default_factory=Troubles)
    sent_to_clouds: Iterable[bytes] = ()
    sent_to_engines: Iterable[bytes] = ()
    secrets_told: int = 0
    """Answers that held a target's key."""
    secrets: Sequence[bytes] = ()
