"""Prometheus metrics of one gateway, in a registry of its own. Labels are bounded: objects, targets and words of ours.

Names and units: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from spillway.gateway.admission import Facts, Timings
from spillway.gateway.desk import Desk
from spillway.routing.budget import usd
from spillway.routing.messages import Record

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0)


@dataclass(frozen=True, slots=True)
class Listed:
    """One metric for those who look for it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    documentation: str


class Metrics:
    """What is counted; `monotonic` counts seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        # A series more for each counter, which the text format has no meaning for. The library left it unannotated.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._monotonic = monotonic
        self._registry = CollectorRegistry()
        self.listed: list[Listed] = []
        """All that a gateway can say."""
        self._requests = self._counter(
            "spillway_requests",
            "Requests that ended, by where they were served, why, and how they ended.",
            *("deployment", "place", "reason", "outcome", "data_class"),
        )
        self._turned_away = self._counter(
            "spillway_turned_away_requests",
            "Requests that no model was asked: malformed, too large, of an unknown model or path, or failed here.",
            "error",
        )
        self._first_token = self._histogram(
            "spillway_time_to_first_token_seconds",
            "From arrival to the first content (of an answer in one piece: to the whole of it).",
        )
        self._duration = self._histogram("spillway_request_duration_seconds", "From arrival to the end.")
        self._spent = self._counter("spillway_spent_usd", "Dollars charged by this gateway.", "deployment", "target")
        self._shadow = self._counter(
            "spillway_shadow_spills",
            "Requests that would have gone to a target, were fallback.mode not Shadow.",
            *("deployment", "target", "reason"),
        )
        self._shadow_spent = self._counter(
            "spillway_shadow_spent_usd",
            "Dollars that the spills of the shadow would have cost.",
            *("deployment", "target"),
        )
        self._tokens = self._counter(
            "spillway_tokens", "Tokens that backends reported.", *("deployment", "place", "kind")
        )
        self._scrapes = self._counter(
            "spillway_engine_scrapes",
            "Reads of an engine's metrics, by outcome: ok, failed.",
            *("deployment", "outcome"),
        )
        self._exchanges = self._counter(
            "spillway_peer_exchanges",
            "Questions to other gateways of the namespace, by outcome: ok, failed, malformed.",
            "outcome",
        )
        self._replica_pending = self._gauge(
            "spillway_replica_pending_prompt_tokens",
            "Prompt tokens at a replica and not yet at their first token; told_by: self, others.",
            *("deployment", "replica", "told_by"),
        )
        self._replica_requests = self._gauge(
            "spillway_replica_requests",
            "Requests that a replica works on; told_by: self, others (peers and the engine's metrics).",
            *("deployment", "replica", "told_by"),
        )
        self._held = self._gauge(
            "spillway_held_requests", "Requests that wait for a replica or a decision.", "deployment"
        )
        self._in_flight = self._gauge("spillway_in_flight_requests", "Requests that replicas work on.", "deployment")
        self._pending = self._gauge(
            "spillway_pending_prompt_tokens",
            "Prompt tokens dispatched to replicas and not yet at their first token.",
            "deployment",
        )

    def scraped(self, deployment: str, outcome: str) -> None:
        """Count one read of an engine's metrics."""
        self._scrapes.labels(deployment, outcome).inc()

    def exchanged(self, outcome: str) -> None:
        """Count one question to a peer."""
        self._exchanges.labels(outcome).inc()

    def record(self, facts: Facts, record: Record, timings: Timings) -> None:
        """Count one request that ended."""
        name, place = facts.route.name, record.place.value
        self._requests.labels(
            name, place, record.reason.value, record.outcome.value, facts.classified.data_class.value
        ).inc()
        self._duration.labels(name, place).observe(self._monotonic() - facts.arrived)
        if timings.first_token is not None:
            self._first_token.labels(name, place).observe(timings.first_token - facts.arrived)
        if record.cost_micros:
            self._spent.labels(name, record.backend).inc(float(usd(record.cost_micros)))
        if record.shadow is not None:
            self._shadow.labels(name, record.shadow.target, record.shadow.reason.value).inc()
            self._shadow_spent.labels(name, record.shadow.target).inc(float(usd(record.shadow.micros)))
        if record.usage is not None:
            self._tokens.labels(name, place, "prompt").inc(record.usage.prompt_tokens)
            self._tokens.labels(name, place, "completion").inc(record.usage.completion_tokens)

    def turned_away(self, error: str) -> None:
        """Count one request that no model was asked; `error` is a word of ours."""
        self._turned_away.labels(error).inc()

    def render(self, desks: Iterable[Desk]) -> bytes:
        """The exposition, with the gauges of `desks` as they stand now."""
        for gauge in (self._held, self._in_flight, self._pending, self._replica_pending, self._replica_requests):
            gauge.clear()
        for desk in desks:
            name = desk.route.name
            self._held.labels(name).set(desk.pool.held)
            self._in_flight.labels(name).set(desk.pool.in_flight)
            self._pending.labels(name).set(desk.pool.fleet.pending_tokens)
            fleet = desk.pool.fleet
            for told_by, loads in (("self", fleet.own()), ("others", fleet.elsewhere())):
                for replica, load in loads.items():
                    self._replica_pending.labels(name, replica, told_by).set(load.pending_tokens)
                    self._replica_requests.labels(name, replica, told_by).set(load.requests)
        return generate_latest(self._registry)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        self.listed.append(Listed(f"{name}_total", "counter", labels, documentation))
        return Counter(name, documentation, labels, registry=self._registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        self.listed.append(Listed(name, "gauge", labels, documentation))
        return Gauge(name, documentation, labels, registry=self._registry)

    def _histogram(self, name: str, documentation: str) -> Histogram:
        labels = ("deployment", "place")
        self.listed.append(Listed(name, "histogram", labels, documentation))
        return Histogram(name, documentation, labels, buckets=_SECONDS, registry=self._registry)
