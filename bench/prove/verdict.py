"""What the evidence comes to. Pure: each number is zero when the invariant held, and counts what broke it otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from bench.prove.asking import CALLERS_KEY, Asked, numbers
from bench.prove.caller import End
from bench.prove.cluster import Version, cloud_model
from bench.prove.evidence import API_SERVER, Evidence, Exchange, poor
from bench.prove.hiding import PLANTED
from spillway.simulator.cloud.recorder import holds

LINE_SECONDS: Final = 4.0
"""A caller may have its whole answer this long before its line is written: that waits for the journal, three seconds at
most (`ledger.RESERVE_WITHIN_SECONDS`)."""
REPLICA_SECONDS: Final = 6.0
"""After its trouble a replica is Ready again in the API server; a gateway hears of it, and had shunned it."""
TARGET_SECONDS: Final = 20.0
"""After its trouble a target is left alone for a while, longer each time, and then tried by one request."""
MONEY_SECONDS: Final = 12.0
"""After an outage the ledger is tried again within eight seconds."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The invariants, as numbers that are to be zero.

    `sensitive_sent`: requests that a target was sent though nothing that was in force, or could not yet be known to be
    no longer, let their class leave to it; what was planted and is found as it is; what no caller of ours asked.
    `overshoot_usd`: by how much a bill passed the limit of its budget, over all budgets and raises.
    `unsettled`: requests of which less was charged than was billed, leases that nobody gave back, and ledgers that
    hold less than what was charged for all requests with a line and billed for all without.
    `unaudited`: requests without exactly one line, and lines without a request.
    `failed_that_could_be_saved`: requests that ended in an error of ours (5xx) or without any answer, before their
    first byte, though for all of their life one replica of their model had no trouble, or they were free to leave,
    were small, and a target, the ledger and the budget had none. A process that was killed excuses what it held.
    `credentials_crossed`: callers' credentials at engines or targets, targets' keys at engines or callers.
    `bugs`: errors in the gateways' logs, and processes that ended badly when they were told to end.
    """

    sensitive_sent: int
    overshoot_usd: Decimal
    unsettled: int
    unaudited: int
    failed_that_could_be_saved: int
    credentials_crossed: int
    bugs: int

    @property
    def holds(self) -> bool:
        """Whether every invariant did."""
        return not any((self.sensitive_sent, self.overshoot_usd, self.unsettled, self.unaudited)) and not any(
            (self.failed_that_could_be_saved, self.credentials_crossed, self.bugs)
        )


def judge(evidence: Evidence) -> Verdict:
    """All invariants."""
    over = sum(account.over_micros for account in evidence.accounts.values())
    return Verdict(
        sensitive_sent=sum(1 for _ in leaks(evidence)),
        overshoot_usd=Decimal(over).scaleb(-6),
        unsettled=unsettled(evidence),
        unaudited=unaudited(evidence),
        failed_that_could_be_saved=sum(1 for _ in could_be_saved(evidence)),
        credentials_crossed=credentials_crossed(evidence),
        bugs=len(evidence.bugs) + sum(life.code != 0 for life in evidence.lives if life.killed is None),
    )


def leaks(evidence: Evidence) -> Iterator[str]:
    """What was sent and should not have been."""
    asked = {exchange.told.asked.number: exchange.told.asked for exchange in evidence.exchanges}
    for received in evidence.received:
        found = numbers(received.body) & asked.keys()
        if not found:
            yield f"nobody asked for {received.body[:200]!r}"
        for number in found:
            if not _was_free(evidence, asked[number], received.target, received.time):
                late = _late_seconds(evidence, asked[number], received.target, received.time)
                after = "never allowed" if late is None else f"{late:.2f} s after gateways had to know better"
                yield f"request {number} ({asked[number].data_class}) went to {received.target}, {after}"
    for data in evidence.sent_to_clouds:
        yield from (f"{planted!r} was sent" for planted in PLANTED if holds(data, planted.encode()))


def _allowing(evidence: Evidence, asked: Asked, target: str) -> Iterator[Version]:
    """The rules, of any time, that let it go there."""
    for version in evidence.versions[asked.deployment]:
        if asked.data_class in version.rules.classes and target in version.rules.targets:
            yield version


def _was_free(evidence: Evidence, asked: Asked, target: str, time: float) -> bool:
    return any(version.begun <= time <= version.ended for version in _allowing(evidence, asked, target))


def _late_seconds(evidence: Evidence, asked: Asked, target: str, time: float) -> float | None:
    """How long before `time` the last rules ended that had let it go there; None: no such rules before it."""
    ended = [version.ended for version in _allowing(evidence, asked, target) if version.ended < time]
    return time - max(ended) if ended else None


def unsettled(evidence: Evidence) -> int:
    """Money whose books do not close."""
    charged: Counter[str] = Counter()
    owed: Counter[str] = Counter()
    for line in _lines(evidence):
        charged[line["request_id"]] += _micros(line["cost_usd"])
        owed[str(line["deployment"])] += _micros(line["cost_usd"])
    billed: Counter[str] = Counter()
    for item in evidence.bill:
        billed[item.request_id] += item.micros
        if item.request_id not in charged:
            owed[item.model.removeprefix(cloud_model(""))] += item.micros
    too_little = sum(micros > charged[request] for request, micros in billed.items() if request in charged)
    leases = sum(account.leases for account in evidence.accounts.values())
    return too_little + leases + sum(account.spent_micros < owed[name] for name, account in evidence.accounts.items())


def unaudited(evidence: Evidence) -> int:
    """Requests without their one line, by process: by id where the caller was told one, else by their number."""
    return sum(without_their_line(evidence, place) for place in range(len(evidence.lives)))


def without_their_line(evidence: Evidence, place: int) -> int:
    """Those of one process."""
    life = evidence.lives[place]
    exchanges = [exchange for exchange in evidence.exchanges if exchange.life is life]
    lines = Counter(line["request_id"] for line in evidence.lines[place])
    twice = sum(count - 1 for count in lines.values())
    told = {exchange.told.request_id for exchange in exchanges if exchange.told.request_id}
    if life.killed is not None:
        late = life.killed - LINE_SECONDS
        due = {one.told.request_id for one in exchanges if one.told.request_id and one.told.ended < late}
        return twice + len(due - set(lines))
    others = len(set(lines) - told)
    nameless = [exchange.told for exchange in exchanges if not exchange.told.request_id]
    least = sum(one.begun is True for one in nameless)
    most = least + sum(one.begun is None for one in nameless)
    return twice + len(told - set(lines)) + max(0, least - others) + max(0, others - most)


def could_be_saved(evidence: Evidence) -> Iterator[str]:
    """Requests that failed though somebody could have served them."""
    for exchange in evidence.exchanges:
        if _failed(exchange) and (by := _saviour(evidence, exchange)):
            told = exchange.told
            yield f"request {told.asked.number} ({told.end}, {told.status}, {told.reason}) by {by}: {told.body[:300]!r}"


def _failed(exchange: Exchange) -> bool:
    told, life = exchange.told, exchange.life
    if told.end is End.WHOLE:
        return told.status is not None and told.status >= 500
    excused = life.ending is not None and (life.killed is not None or not told.begun) and told.ended >= life.ending - 1
    return told.end is End.BROKEN and told.status is None and not excused


def _saviour(evidence: Evidence, exchange: Exchange) -> str | None:
    asked, begun, ended = exchange.told.asked, exchange.told.sent, exchange.told.ended
    troubles = evidence.troubles
    for replica in evidence.replicas.get(asked.deployment, ()):
        if troubles.spared(replica, begun - REPLICA_SECONDS, ended + 0.5):
            return replica
    if not asked.is_small or not troubles.spared(API_SERVER, begun - MONEY_SECONDS, ended):
        return None
    if not troubles.spared(poor(asked.deployment), begun - MONEY_SECONDS, ended + 1.0):
        return None
    versions = [one for one in evidence.versions.get(asked.deployment, ()) if one.begun <= ended and one.ended >= begun]
    if any(asked.data_class not in version.rules.classes for version in versions):
        return None
    always = frozenset.intersection(*(version.rules.targets for version in versions)) if versions else frozenset()
    return next((one for one in sorted(always) if troubles.spared(one, begun - TARGET_SECONDS, ended)), None)


def credentials_crossed(evidence: Evidence) -> int:
    """Credentials on the wrong side of a gateway."""
    callers = CALLERS_KEY.encode()
    at_engines = sum(
        callers in value or any(key in value for key in evidence.secrets) for value in evidence.sent_to_engines
    )
    return at_engines + sum(holds(data, callers) for data in evidence.sent_to_clouds) + evidence.secrets_told


def _lines(evidence: Evidence) -> Iterator[Any]:
    for lines in evidence.lines.values():
        yield from lines


def _micros(dollars: str) -> int:
    return int(Decimal(dollars).scaleb(6))
