"""The replicas of one deployment: what each has to do, by this gateway's ledger and by what others tell.

A request is counted from its dispatch to its end. A unary answer has no first token: its prompt counts as read when
that was predicted. Ollama reads an abandoned prompt to its end: it is counted until that is predicted.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterator
from typing import Final

from spillway.routing.facts import Usage
from spillway.routing.outcomes import Reason
from spillway.routing.replica import Load, Replica, Share, Stay
from spillway.routing.saturation import Capacity, Predictor
from spillway.routing.scraped import EngineLoad
from spillway.routing.shares import Work
from spillway.routing.waiting import Held

SHUN_SECONDS: Final = 1.0
"""A replica that failed is left alone until the watch had time to see it."""
SILENT_SECONDS: Final = 1.0
"""A peer that says nothing keeps its last share for so long."""
STALE_SECONDS: Final = 3.0
"""An engine's metrics say nothing of now when they are older: that is no sign of saturation, and is ignored."""
METRICS: Final = "the engine's metrics"

Seen = tuple[float, int, int, Replica]
"""A replica at one moment, as it is chosen: seconds of prefill before it, its requests, its place among equals."""


class Fleet:
    """Replicas by name. `gateway` names the one whose ledger this is."""

    def __init__(self, predictor: Predictor, gateway: str) -> None:
        self._predictor = predictor
        self._gateway = gateway
        self._replicas: dict[str, Replica] = {}
        self._loading = 0
        self._silent: list[tuple[float, str, str]] = []
        self._peers: dict[str, tuple[float, Work]] = {}
        self._ghosts = 0

    # --- which there are ---

    def set_replicas(self, ready: frozenset[str], loading: int) -> None:
        """Take in which replicas are ready, and how many pods exist that are not.

        What runs on one that went stays counted to its end.
        """
        for name in sorted(ready - self._replicas.keys()):
            tie = zlib.crc32(f"{self._gateway}/{name}".encode())
            made = self._replicas[name] = Replica(name, tie=tie)
            for peer, (at, work) in self._peers.items():
                load = work.replicas.get(name)
                made.tell(peer, Share(load, at) if load else None)
        for name, replica in list(self._replicas.items()):
            replica.ready = name in ready
            self._drop_if_gone(replica)
        self._loading = loading

    def absence(self) -> Reason:
        """Why no replica can take a request now."""
        reasons = {replica.shunned_because for replica in self._replicas.values() if replica.ready}
        if reasons:  # there are replicas, and all of them were just full or failed
            return Reason.SATURATED if Reason.SATURATED in reasons else Reason.BACKEND_ERROR
        return Reason.LOADING if self._loading else Reason.NO_ENDPOINTS

    @property
    def names(self) -> list[str]:
        """The replicas that there are."""
        return list(self._replicas)

    @property
    def in_flight(self) -> int:
        """How many requests of this gateway replicas work on."""
        return sum(len(replica.stays) for replica in self._replicas.values())

    @property
    def pending_tokens(self) -> int:
        """Prompt tokens that this gateway dispatched and that are not yet at their first token."""
        return sum(replica.pending_tokens for replica in self._replicas.values())

    def own(self) -> dict[str, Load]:
        """This gateway's work by replica."""
        return {name: replica.own for name, replica in self._replicas.items()}

    def elsewhere(self) -> dict[str, Load]:
        """Others' work by replica: peers', and what only the engines' metrics show."""
        return {
            name: Load(
                sum(share.load.pending_tokens for share in replica.elsewhere.values()),
                sum(share.load.requests for share in replica.elsewhere.values()),
                sum(share.load.resident_tokens for share in replica.elsewhere.values()),
            )
            for name, replica in self._replicas.items()
        }

    # --- what they have to do ---

    def loads(self, now: float) -> list[Seen]:
        """The usable replicas as they stand now.

        Gateways that share them try those that are equally free in an order of their own each, so that they do not all
        take the same.
        """
        slope = self._predictor.seconds_per_token
        shared = bool(self._peers)
        return [
            (
                replica.backlog_tokens(now, slope) * slope,
                replica.requests,
                place + (replica.tie << 32 if shared else 0),
                replica,
            )
            for place, replica in enumerate(self._replicas.values())
            if replica.usable(now)
        ]

    def ahead_seconds(self, replica: Replica, now: float) -> float:
        """Seconds of prefill before a replica without its peers': this gateway's, and what only its metrics show."""
        slope = self._predictor.seconds_per_token
        seconds = replica.own_backlog_tokens(now, slope) * slope
        unknown = replica.elsewhere.get(METRICS)
        if unknown is not None:
            seconds += max(0.0, unknown.load.pending_tokens * slope - (now - unknown.at))
        return seconds

    def output_tokens(self, held: Held) -> int:
        """What most answers to such a request stay under."""
        upper = self._predictor.output.upper(held.caller)
        return upper if held.output_tokens is None else min(upper, held.output_tokens)

    def predict(self, held: Held, replica: Replica, capacity: Capacity, now: float) -> float:
        """Seconds to the first token of `held` on `replica`."""
        return self._predictor.ttft_seconds(replica, held.prompt_tokens, self.output_tokens(held), capacity, now)

    def queue_seconds(self, loads: list[Seen], requests: int, prompt_tokens: int, capacity: Capacity) -> float:
        """How long before a request is dispatched behind `requests` others with `prompt_tokens` of prompts together.

        The replicas share what they have to read and what is ahead. Where none of them has room, requests leave at
        Little's rate: those in flight over the time that an answer takes.
        """
        predictor = self._predictor
        prefill = predictor.prefill
        ahead = predictor.kappa * (prompt_tokens * prefill.seconds_per_token + requests * prefill.base_seconds)
        reading = (sum(load[0] for load in loads) + ahead) / len(loads)
        answer = predictor.output.expected("")
        usual = round(predictor.mean_prompt_tokens) + answer
        if any(predictor.has_room(replica, usual, capacity) for _, _, _, replica in loads):
            return reading
        in_flight = sum(load[1] for load in loads)
        return max(reading, (requests + 1) * answer * predictor.step.seconds(in_flight // len(loads)) / in_flight)

    def free_at(self, now: float) -> Iterator[float]:
        """When each replica will have read what counts against the lead."""
        for replica in self._replicas.values():
            yield now + self.ahead_seconds(replica, now)

    def wakes(self) -> Iterator[float]:
        """Other moments at which a replica changes by itself."""
        for replica in self._replicas.values():
            if replica.shunned_until:
                yield replica.shunned_until
        if self._silent:
            yield self._silent[0][0]

    # --- what happens on them ---

    def occupy(self, held: Held, name: str, capacity: Capacity, slo_seconds: float, now: float) -> None:
        """Count `held` on a replica from now on."""
        replica = self._replicas[name]
        self._predictor.asked_at = now
        predicted = self.predict(held, replica, capacity, now)
        stay = Stay(
            prompt_tokens=held.prompt_tokens,
            output_tokens=self.output_tokens(held),
            arrived=held.arrived,
            dispatched=now,
            predicted_seconds=predicted,
            streams=held.streams,
            in_time=now - held.arrived + predicted <= slo_seconds,
            alone=not replica.shared,
            step_seconds=0.0 if replica.pending_tokens else self._predictor.step.seconds(replica.requests),
            requests=replica.requests + 1,
            caller=held.caller,
        )
        replica.add(held.request_id, stay)
        if not held.streams:
            heapq.heappush(self._silent, (now + predicted, name, held.request_id))

    def prefilled(self, request_id: str, name: str, slo_seconds: float, now: float) -> None:
        """Its first token came."""
        replica = self._replicas[name]
        stay = replica.stays[request_id]
        if stay.pending and stay.streams:
            self._predictor.first_token(replica, stay, slo_seconds, now)
        replica.read(request_id, now)

    def answered(self, request_id: str, name: str, prompt_bytes: int, usage: Usage, now: float) -> None:
        """Its last token came, and the engine said how many there were."""
        replica = self._replicas.get(name)
        stay = replica.stays.get(request_id) if replica is not None else None
        if replica is not None and stay is not None:
            self._predictor.last_token(replica, stay, usage.completion_tokens, now)
            self._predictor.usage(stay.caller, prompt_bytes, usage.prompt_tokens, usage.completion_tokens)

    def vacate(self, request_id: str, name: str, now: float, *, reads_on: bool) -> None:
        """It ended on that replica.

        With `reads_on` the engine reads an abandoned prompt to its end, and is counted as busy with it until then.
        """
        replica = self._replicas[name]
        stay = replica.stays[request_id]
        due = stay.dispatched + stay.predicted_seconds
        if reads_on and stay.pending and due > now:
            self._ghosts += 1
            ghost = f"{request_id}/abandoned-{self._ghosts}"
            replica.abandon(request_id, ghost, now)
            heapq.heappush(self._silent, (due, name, ghost))
        else:
            replica.remove(request_id, now)
        self._drop_if_gone(replica)

    def shun(self, name: str, because: Reason, now: float) -> None:
        """Leave a replica alone for a moment."""
        replica = self._replicas.get(name)
        if replica is not None:
            replica.shunned_until, replica.shunned_because = now + SHUN_SECONDS, because

    def release_silent(self, now: float) -> None:
        """Count prompts as read whose end nobody reports, when that was predicted."""
        while self._silent and self._silent[0][0] <= now:
            due, name, key = heapq.heappop(self._silent)
            replica = self._replicas.get(name)
            stay = replica.stays.get(key) if replica is not None else None
            if replica is None or stay is None or not stay.pending or stay.dispatched + stay.predicted_seconds != due:
                continue
            if stay.abandoned:
                replica.remove(key, now)
                self._drop_if_gone(replica)
            else:
                replica.read(key, now)

    # --- what others do there ---

    @property
    def active_peers(self) -> int:
        """How many other gateways have work for these replicas."""
        return len(self._peers)

    def tell(self, peer: str, work: Work | None, now: float) -> None:
        """Take in all of a peer's work here; None: it has none, or it is gone."""
        if work is None:
            if self._peers.pop(peer, None) is None:
                return
        else:
            self._peers[peer] = (now, work)
        for name, replica in self._replicas.items():
            load = work.replicas.get(name) if work is not None else None
            if load is not None or peer in replica.elsewhere:
                replica.tell(peer, Share(load, now) if load is not None else None)

    def correct(self, name: str, seen: EngineLoad, now: float) -> None:
        """Take in what an engine's metrics say now.

        While there are peers, what is unknown is believed when it is seen twice in a row: the first time it may be what
        a peer has just begun and is about to tell.
        """
        replica = self._replicas.get(name)
        if replica is None:
            return
        replica.tell(METRICS, None)
        replica.kv_capacity_tokens = seen.kv_capacity_tokens
        mean = self._predictor.mean_prompt_tokens
        peers_pending = sum(share.load.pending_tokens for share in replica.elsewhere.values()) / mean
        known = Load(replica.pending_tokens, replica.requests, replica.all_resident_tokens)
        unknown = seen.beyond(known, replica.pending_requests + round(peers_pending), mean)
        believed = unknown.least(replica.unknown) if self._peers else unknown
        replica.unknown = unknown
        if believed.requests:
            replica.tell(METRICS, Share(believed, now))

    def in_use(self, name: str) -> bool:
        """Whether anybody is known, or was seen last, to have work on a replica."""
        replica = self._replicas.get(name)
        return replica is not None and bool(replica.requests or replica.unknown.requests)

    def forget_old(self, now: float) -> bool:
        """Drop what peers and engines said too long ago; whether anything was dropped."""
        silent = [peer for peer, (at, _) in self._peers.items() if now - at > SILENT_SECONDS]
        for peer in silent:
            self.tell(peer, None, now)
        stale = [
            replica
            for replica in self._replicas.values()
            if METRICS in replica.elsewhere and now - replica.elsewhere[METRICS].at > STALE_SECONDS
        ]
        for replica in stale:
            replica.tell(METRICS, None)
        return bool(silent or stale)

    def _drop_if_gone(self, replica: Replica) -> None:
        if not replica.ready and not replica.stays:
            self._replicas.pop(replica.name, None)
