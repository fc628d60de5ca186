"""Who waits, until when, and where each goes: the pool of one deployment's requests and replicas.

A request is bound to a replica late: it waits here until some replica's pending prefill falls under a short lead, so
that the decision is made with hindsight. One that may leave waits at most until its slack is used, then stays if it
still makes its SLO, else spills. One that may not leave waits in a bounded queue until its deadline. An idle replica
means that nobody waits.

The pool does no I/O and reads no clock: it is told, it is asked `next` until that has nothing to say, and it says when
to ask again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from spillway.routing.facts import Route
from spillway.routing.outcomes import Reason
from spillway.routing.saturation import Predictor, Replica, Stay

LEAD_SECONDS: Final = 0.2
"""How much prefill a replica is given ahead: less costs throughput on a fast engine, more is decided blindly."""
SHUN_SECONDS: Final = 1.0
"""A replica that failed is left alone until the watch had time to see it."""
KV_SHARE: Final = 0.9
WAKE_AT_LEAST_SECONDS: Final = 0.005
LOADING_RETRY_SECONDS: Final = 15


@dataclass(frozen=True, slots=True)
class Held:
    """A request as the pool sees it.

    `targets` are those still open to it, in order: empty when it may not leave, for `stays_because`.
    """

    request_id: str
    arrived: float
    prompt_tokens: int
    output_tokens: int | None
    streams: bool
    targets: tuple[str, ...]
    stays_because: Reason
    excluded_replicas: frozenset[str] = frozenset()
    after_failure: bool = False


@dataclass(frozen=True, slots=True)
class Local:
    """Stay: dispatch to `replica`, where the first token is predicted after `predicted_seconds`."""

    replica: str
    reason: Reason
    predicted_seconds: float


@dataclass(frozen=True, slots=True)
class Cloud:
    """Spill to `target`."""

    target: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nobody can serve it in time."""

    reason: Reason
    retry_after_seconds: int


Verdict = Local | Cloud | Refusal


class Pool:
    """Held requests and the replicas' ledger of one deployment."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.predictor = Predictor()
        self._replicas: dict[str, Replica] = {}
        self._held: dict[str, Held] = {}
        self._open_at_target: Counter[str] = Counter()
        self._loading = 0

    @property
    def held(self) -> int:
        """How many requests wait."""
        return len(self._held)

    @property
    def in_flight(self) -> int:
        """How many requests replicas work on."""
        return sum(len(replica.stays) for replica in self._replicas.values())

    @property
    def pending_tokens(self) -> int:
        """Prompt tokens dispatched and not yet at their first token, over all replicas."""
        return sum(replica.pending_tokens for replica in self._replicas.values())

    def set_replicas(self, ready: frozenset[str], loading: int) -> None:
        """Take in which replicas are ready, and how many pods exist that are not.

        What runs on one that went stays counted to its end.
        """
        for name in sorted(ready):
            self._replicas.setdefault(name, Replica(name)).ready = True
        for name, replica in list(self._replicas.items()):
            replica.ready = name in ready
            if not replica.ready and not replica.stays:
                del self._replicas[name]
        self._loading = loading

    def ask(self, held: Held) -> None:
        """Let a request in; its verdict comes out of `next`, now or later."""
        self._held[held.request_id] = held

    def withdraw(self, request_id: str) -> None:
        """Forget a request that left before its verdict."""
        self._held.pop(request_id, None)

    def next(self, now: float) -> tuple[str, Verdict] | None:
        """One verdict that can be given now, or None. The caller carries it out (`occupy`) before it asks again."""
        self._release_silent_prefills(now)
        for held in sorted(self._held.values(), key=self._expiry):
            verdict = self._judge(held, now)
            if verdict is not None:
                del self._held[held.request_id]
                return held.request_id, verdict
        return None

    def next_wake(self, now: float) -> float | None:
        """When `next` may have something to say though nothing happened until then; None while nobody waits."""
        if not self._held:
            return None
        moments = [self._deadline(held) for held in self._held.values()]
        for replica in self._replicas.values():
            moments.append(now + self.predictor.backlog_seconds(replica, now) - LEAD_SECONDS)
            moments.append(replica.shunned_until)
            moments.extend(
                stay.dispatched + stay.predicted_seconds
                for stay in replica.stays.values()
                if stay.pending and not stay.streams
            )
        ahead = [moment for moment in moments if moment > now]
        return max(min(ahead), now + WAKE_AT_LEAST_SECONDS) if ahead else None

    def occupy(self, held: Held, replica_name: str, now: float) -> None:
        """Count `held` on a replica from now on."""
        replica = self._replicas[replica_name]
        predicted = self.predictor.ttft_seconds(replica, held.prompt_tokens, now)
        if not any(stay.pending for stay in replica.stays.values()):
            replica.head_since = now
        replica.stays[held.request_id] = Stay(
            prompt_tokens=held.prompt_tokens,
            resident_tokens=held.prompt_tokens + self._output_tokens(held),
            arrived=held.arrived,
            dispatched=now,
            predicted_seconds=predicted,
            streams=held.streams,
            in_time=now - held.arrived + predicted <= self.route.slo_ttft_seconds,
        )

    def occupy_target(self, target: str) -> None:
        """Count one more request that is open at a target."""
        self._open_at_target[target] += 1

    def vacate_target(self, target: str) -> None:
        """Count one less."""
        self._open_at_target[target] -= 1

    def prefilled(self, request_id: str, replica_name: str, now: float) -> None:
        """Its first token came."""
        replica = self._replicas[replica_name]
        stay = replica.stays[request_id]
        if stay.pending and stay.streams:
            self.predictor.first_token(replica, stay, self.route.slo_ttft_seconds, now)
        stay.pending = False
        replica.head_since = now

    def vacate(self, request_id: str, replica_name: str, now: float, *, trouble: bool) -> None:
        """It ended on that replica; with `trouble` the replica is left alone for a moment."""
        replica = self._replicas[replica_name]
        stay = replica.stays.pop(request_id)
        if stay.pending:
            replica.head_since = now
        if trouble:
            replica.shunned_until = now + SHUN_SECONDS
        if not replica.ready and not replica.stays:
            del self._replicas[replica_name]

    def snapshot(self) -> Mapping[str, tuple[int, int]]:
        """Pending prompt tokens and requests in flight by replica."""
        return {name: (replica.pending_tokens, len(replica.stays)) for name, replica in self._replicas.items()}

    def _judge(self, held: Held, now: float) -> Verdict | None:
        usable = self._usable(held, now)
        if not usable:
            return self._judge_without_replicas(held, now)
        best = min(usable, key=lambda replica: (self.predictor.backlog_seconds(replica, now), len(replica.stays)))
        waited = now - held.arrived
        predicted = self.predictor.ttft_seconds(best, held.prompt_tokens, now)
        in_time = waited + predicted <= self.predictor.beta * self.route.slo_ttft_seconds
        open_now = self.predictor.backlog_seconds(best, now) <= LEAD_SECONDS and self._has_room(best, held)
        spill = self._spill(held, _overflow(held))
        if spill is not None:
            if open_now and in_time:
                return Local(best.name, Reason.DEFAULT, predicted)
            if now < self._expiry(held) and not open_now:
                return None
            return Local(best.name, Reason.DEFAULT, predicted) if in_time and self._has_room(best, held) else spill
        if open_now:
            return Local(best.name, Reason.DEFAULT if in_time else _why_it_stays(held), predicted)
        return self._wait_or_refuse(held, _why_it_stays(held), now)

    def _usable(self, held: Held, now: float) -> list[Replica]:
        """Replicas that may take it: one that already failed it only when there is no other."""
        usable = [replica for replica in self._replicas.values() if replica.usable(now)]
        return [replica for replica in usable if replica.name not in held.excluded_replicas] or usable

    def _judge_without_replicas(self, held: Held, now: float) -> Verdict | None:
        reason = self._absence()
        spill = self._spill(held, _overflow(held) if held.after_failure else reason)
        return spill if spill is not None else self._wait_or_refuse(held, reason, now)

    def _absence(self) -> Reason:
        if any(replica.ready for replica in self._replicas.values()):
            return Reason.BACKEND_ERROR  # there are replicas, and all of them just failed this request
        return Reason.LOADING if self._loading else Reason.NO_ENDPOINTS

    def _spill(self, held: Held, reason: Reason) -> Cloud | None:
        if reason not in self.route.spill_reasons:
            return None
        for target in self.route.targets:
            free = self._open_at_target[target.name] < target.max_concurrent_requests
            if free and target.name in held.targets:
                return Cloud(target.name, reason)
        return None

    def _wait_or_refuse(self, held: Held, reason: Reason, now: float) -> Refusal | None:
        ahead = sum(
            1 for other in self._held.values() if other.arrived < held.arrived and not self._may_overflow(other)
        )
        if now >= self._deadline(held) or ahead >= self.route.max_held:
            return Refusal(reason, self._retry_after_seconds(now))
        return None

    def _retry_after_seconds(self, now: float) -> int:
        ready = [replica for replica in self._replicas.values() if replica.ready]
        if not ready:
            return LOADING_RETRY_SECONDS
        backlog = sum(self.predictor.backlog_seconds(replica, now) for replica in ready)
        waiting = sum(held.prompt_tokens for held in self._held.values()) * self.predictor.prefill.seconds_per_token()
        return max(1, min(60, math.ceil((backlog + waiting) / len(ready))))

    def _has_room(self, replica: Replica, held: Held) -> bool:
        capacity = self.route.kv_capacity_tokens
        if capacity is None or not replica.stays:
            return True
        return replica.resident_tokens + held.prompt_tokens + self._output_tokens(held) <= KV_SHARE * capacity

    def _output_tokens(self, held: Held) -> int:
        expected = round(self.predictor.output_tokens)
        return expected if held.output_tokens is None else min(expected, held.output_tokens)

    def _expiry(self, held: Held) -> float:
        """When its slack is used: for the order of service too, so that what may not leave competes on equal terms."""
        own = self.predictor.own_seconds(held.prompt_tokens)
        slo = self.route.slo_ttft_seconds
        if not self._may_overflow(held):
            return held.arrived + max(0.0, slo - own)
        return held.arrived + max(0.0, min(slo - self.predictor.cloud_ttft_seconds, self.predictor.beta * slo - own))

    def _deadline(self, held: Held) -> float:
        """When the pool must have answered."""
        return self._expiry(held) if self._may_overflow(held) else held.arrived + self.route.max_wait_seconds

    def _may_overflow(self, held: Held) -> bool:
        return self._spill(held, _overflow(held)) is not None

    def _release_silent_prefills(self, now: float) -> None:
        """A unary answer has no first token: its prompt counts as prefilled when that was predicted."""
        for replica in self._replicas.values():
            for stay in replica.stays.values():
                if stay.pending and not stay.streams and now >= stay.dispatched + stay.predicted_seconds:
                    stay.pending = False
                    replica.head_since = now


def _why_it_stays(held: Held) -> Reason:
    """Why it is not in the cloud though it waits here: it may not, or no target takes one more for that reason."""
    return Reason.SATURATED if held.targets else held.stays_because


def _overflow(held: Held) -> Reason:
    """Why it would spill while there are replicas."""
    return Reason.BACKEND_ERROR if held.after_failure else Reason.SATURATED
