"""Who waits, until when, and where each goes: the pool of one deployment's requests and replicas.

A request is bound to a replica late: it waits here until some replica's pending prefill falls under a short lead, so
that the decision is made with hindsight. One that may leave waits at most until its slack is used, then stays if it
still makes its SLO, else spills. One that may not leave waits in a bounded queue until its deadline, unless it is plain
at once that its turn will not come by then. An idle replica means that nobody waits.

Whatever it is asked, the pool looks at the replicas once and at the ends of sorted lines, never at all that wait.

The pool does no I/O and reads no clock: it is told, it is asked `next` until that has nothing to say, and it says when
to ask again.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from spillway.api.v1alpha1 import EngineType
from spillway.routing.facts import Route
from spillway.routing.fleet import Fleet, Seen
from spillway.routing.outcomes import Reason
from spillway.routing.replica import Replica
from spillway.routing.saturation import Capacity, Predictor
from spillway.routing.targets import Targets
from spillway.routing.verdicts import Cloud, Local, Refusal, Verdict
from spillway.routing.waiting import Entry, Group, Held, Moments, Waiting

LEAD_SECONDS: Final = 0.2
"""How much prefill a replica is given ahead: less costs throughput on a fast engine, more is decided blindly.

Gateways that share replicas divide it, so that together they give a replica no more than one would; what peers have
there counts in the prediction, but not against the lead, or whoever comes first would keep the replica to itself."""
WAKE_AT_LEAST_SECONDS: Final = 0.005
LOADING_RETRY_SECONDS: Final = 15
LOOK_AHEAD: Final = 16
"""How many are tried, in order, when the KV cache has no room for the first: the rest is not looked at."""
SURE_AFTER_OBSERVATIONS: Final = 10
"""Before so many prefills were seen, nobody is refused for a wait that is only predicted."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """What is open to one group at one moment: replicas by their load, or none; a spill, or none."""

    group: Group
    replicas: list[Seen]
    open_replicas: list[Seen]
    spill: Cloud | None


class Pool:
    """Held requests and the replicas' ledger of one deployment.

    `gateway` is the name of the one that asks: of replicas that are equally free, each prefers others. `jitter` draws
    from 0 to 1.
    """

    def __init__(self, route: Route, gateway: str = "", jitter: Callable[[], float] = lambda: 0.5) -> None:
        self.route = route
        self.predictor = Predictor()
        self.fleet = Fleet(self.predictor, gateway)
        self._waiting = Waiting()
        self._fresh: list[str] = []
        self.targets = Targets(jitter)
        self.targets.replace(route.targets)

    @property
    def held(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def ask(self, held: Held) -> None:
        """Let a request in; its verdict comes out of `next`, now or later."""
        slo, beta = self.route.slo_ttft_seconds, self.predictor.beta
        own = self.predictor.own_seconds(held.prompt_tokens)
        moments = Moments(
            slack_ends=held.arrived + max(0.0, min(slo - self.predictor.cloud_ttft_seconds, beta * slo - own)),
            expires=held.arrived + max(0.0, slo - own),
            deadline=held.arrived + self.route.max_wait_seconds,
        )
        self._waiting.add(held, moments)
        self._fresh.append(held.request_id)

    def withdraw(self, request_id: str) -> None:
        """Forget a request that left before its verdict."""
        self._waiting.remove(request_id)

    def next(self, now: float) -> tuple[str, Verdict] | None:
        """One verdict that can be given now, or None. The caller carries it out (`occupy`) before it asks again."""
        self.fleet.release_silent(now)
        self.targets.advance(now)
        if not self._waiting:
            self._fresh.clear()
            return None
        turns = self._turns(now)
        found = (
            self._served(turns, now) or self._due(turns, now) or self._crowded_out(turns, now) or self._vain(turns, now)
        )
        if found is None:
            return None
        entry, verdict = found
        self._waiting.remove(entry.held.request_id)
        return entry.held.request_id, verdict

    def next_wake(self, now: float) -> float | None:
        """When `next` may have something to say though nothing happened until then; None while nobody waits."""
        if not self._waiting:
            return None
        moments = [
            (group.by_slack if self._overflow(group) else group.by_deadline)[0][0] for group in self._waiting.groups
        ]
        lead = self._lead()
        moments.extend(moment - lead for moment in self.fleet.free_at(now))
        moments.extend(self.fleet.wakes())
        moments.extend(self.targets.wakes())
        ahead = [moment for moment in moments if moment > now]
        return max(min(ahead), now + WAKE_AT_LEAST_SECONDS) if ahead else None

    @property
    def in_flight(self) -> int:
        """How many requests of this gateway replicas work on."""
        return self.fleet.in_flight

    @property
    def has_work(self) -> bool:
        """Whether anything waits or is in flight."""
        return bool(self._waiting) or self.in_flight > 0

    def occupy(self, held: Held, replica_name: str, now: float) -> None:
        """Count `held` on a replica from now on."""
        self.fleet.occupy(held, replica_name, self.capacity, self.route.slo_ttft_seconds, now)

    def prefilled(self, request_id: str, replica_name: str, now: float) -> None:
        """Its first token came."""
        self.fleet.prefilled(request_id, replica_name, self.route.slo_ttft_seconds, now)

    def vacate(
        self,
        request_id: str,
        replica_name: str,
        now: float,
        *,
        trouble: bool,
        abandoned: bool = False,
        full: bool = False,
    ) -> None:
        """It ended on that replica; with `trouble` that is left alone for a moment, as saturated if it is `full`.

        An `abandoned` prompt frees a vLLM at once, while Ollama reads it to its end.
        """
        reads_on = abandoned and self.route.engine is EngineType.OLLAMA
        self.fleet.vacate(request_id, replica_name, now, reads_on=reads_on)
        if trouble:
            self.fleet.shun(replica_name, Reason.SATURATED if full else Reason.BACKEND_ERROR, now)

    @property
    def capacity(self) -> Capacity:
        """What one replica takes at once, by the plan."""
        return Capacity(self.route.kv_capacity_tokens, self.route.max_sequences)

    # --- who is next ---

    def _turns(self, now: float) -> list[_Turn]:
        loads = self.fleet.loads(now)
        lead = self._lead()
        turns = []
        for group in self._waiting.groups:
            mine = [load for load in loads if load[3].name not in group.excluded_replicas] or loads
            if mine:
                free = [load for load in mine if self.fleet.ahead_seconds(load[3], now) <= lead]
                turns.append(_Turn(group, mine, sorted(free), self._overflow(group)))
            else:
                reason = Reason.BACKEND_ERROR if group.after_failure else self.fleet.absence()
                turns.append(_Turn(group, [], [], self._spill(group.targets, reason)))
        return turns

    def _served(self, turns: list[_Turn], now: float) -> tuple[Entry, Verdict] | None:
        """The earliest expiry for which a replica is open and has room."""
        lines = [_line(turn) for turn in turns if turn.open_replicas]
        for _, _, entry, turn in islice(heapq.merge(*lines, key=lambda place: place[:2]), LOOK_AHEAD):
            tokens = entry.held.prompt_tokens + self.fleet.output_tokens(entry.held)
            for _, _, _, replica in turn.open_replicas:
                if self.predictor.has_room(replica, tokens, self.capacity):
                    return entry, self._bind(entry, replica, turn.spill, now)
        return None

    def _bind(self, entry: Entry, replica: Replica, spill: Cloud | None, now: float) -> Verdict:
        held = entry.held
        predicted = self.fleet.predict(held, replica, self.capacity, now)
        in_time = now - held.arrived + predicted <= self.predictor.beta * self.route.slo_ttft_seconds
        if spill is not None and not in_time:
            if replica.requests or not self.predictor.may_be_wrong(held.prompt_tokens, now):
                return spill
            return Local(replica.name, Reason.DEFAULT, predicted)
        return Local(replica.name, Reason.DEFAULT if in_time else self._why_it_stays(held), predicted)

    def _due(self, turns: list[_Turn], now: float) -> tuple[Entry, Verdict] | None:
        """One whose time is up: it stays if it still makes its SLO, spills if it may, is refused else."""
        for turn in turns:
            moment, _, entry = _first(turn)
            if turn.spill is not None and not turn.replicas:
                return entry, turn.spill
            if moment > now:
                continue
            if turn.spill is not None:
                return entry, self._bind(entry, min(turn.replicas)[3], turn.spill, now)
            return entry, self._refusal(entry.held, turn, now)
        return None

    def _crowded_out(self, turns: list[_Turn], now: float) -> tuple[Entry, Verdict] | None:
        """The newest of more than the queue may hold; those that may overflow are not in it."""
        queued = [turn for turn in turns if turn.spill is None]
        if sum(len(turn.group) for turn in queued) <= self.route.max_held:
            return None
        newest, turn = max(((turn.group.by_deadline[-1], turn) for turn in queued), key=lambda last: last[0][:2])
        return newest[2], self._refusal(newest[2].held, turn, now)

    def _vain(self, turns: list[_Turn], now: float) -> tuple[Entry, Verdict] | None:
        """One that just came and whose turn will not come in time: it is told now, not after it has waited for it.

        Only for what has nowhere else to go, and only once the prediction rests on what was seen.
        """
        while self._fresh:
            entry = self._waiting.find(self._fresh.pop())
            if entry is None or entry.held.targets or self.predictor.prefill.observations < SURE_AFTER_OBSERVATIONS:
                continue
            turn = next(turn for turn in turns if _holds(turn.group, entry.held))
            if not turn.replicas:
                continue
            most = entry.moments.deadline - now
            if self._queue_seconds(turn.replicas) <= most:
                continue  # behind all that wait it would still be in time
            requests, tokens = self._waiting.ahead_of(entry)
            if self.fleet.queue_seconds(turn.replicas, requests, tokens, self.capacity) > most:
                return entry, self._refusal(entry.held, turn, now)
        return None

    def _lead(self) -> float:
        return LEAD_SECONDS / (1 + self.fleet.active_peers)

    def _refusal(self, held: Held, turn: _Turn, now: float) -> Refusal:
        if not turn.replicas:
            return Refusal(self.fleet.absence(), self._retry_after_seconds(now))
        return Refusal(self._why_it_stays(held), self._retry_after_seconds(now))

    def _retry_after_seconds(self, now: float) -> int:
        """Until what is here now is through."""
        loads = self.fleet.loads(now)
        if not loads:
            return LOADING_RETRY_SECONDS
        return max(1, min(60, math.ceil(self._queue_seconds(loads))))

    def _queue_seconds(self, loads: list[Seen]) -> float:
        """Until all that wait are dispatched."""
        return self.fleet.queue_seconds(loads, len(self._waiting), self._waiting.prompt_tokens, self.capacity)

    def _why_it_stays(self, held: Held) -> Reason:
        """Why it is not in the cloud though it waits here: it may not, its targets failed, or they take no more now."""
        if not held.targets:
            return held.stays_because
        return Reason.BACKEND_ERROR if self.targets.are_shut(held.targets) else Reason.SATURATED

    def _overflow(self, group: Group) -> Cloud | None:
        """Where it would spill while there are replicas."""
        return self._spill(group.targets, Reason.BACKEND_ERROR if group.after_failure else Reason.SATURATED)

    def _spill(self, targets: tuple[str, ...], reason: Reason) -> Cloud | None:
        if not targets or reason not in self.route.spill_reasons:
            return None
        for target in self.route.targets:
            if target.name in targets and self.targets.takes(target):
                return Cloud(target.name, reason)
        return None


def _line(turn: _Turn) -> Iterator[tuple[float, int, Entry, _Turn]]:
    """One group in its order; a generator of its own, so that each entry keeps the turn of its own group."""
    for moment, serial, entry in _order(turn):
        yield moment, serial, entry, turn


def _order(turn: _Turn) -> Iterator[tuple[float, int, Entry]]:
    return iter(turn.group.by_expiry if turn.spill is None else turn.group.by_slack)


def _first(turn: _Turn) -> tuple[float, int, Entry]:
    return turn.group.by_deadline[0] if turn.spill is None else turn.group.by_slack[0]


def _holds(group: Group, held: Held) -> bool:
    places = (held.targets, held.after_failure, held.excluded_replicas)
    return (group.targets, group.after_failure, group.excluded_replicas) == places
