"""Prometheus metrics of one gateway, in a registry of its own. Labels are bounded: objects, targets and words of ours.

Names and units: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from spillway.gateway.admission import Facts, Timings
from spillway.gateway.desk import Desk
from spillway.routing.budget import usd
from spillway.routing.messages import Record

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """What is counted; `monotonic` counts seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        # A series more for each counter, which the text format has no meaning for. The library left it unannotated.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._monotonic = monotonic
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "spillway_requests",
            "Requests that ended, by where they were served, why, and how they ended.",
            ["deployment", "place", "reason", "outcome", "data_class"],
            registry=self._registry,
        )
        self._first_token = Histogram(
            "spillway_time_to_first_token_seconds",
            "From arrival to the first content (of an answer in one piece: to the whole of it).",
            ["deployment", "place"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._duration = Histogram(
            "spillway_request_duration_seconds",
            "From arrival to the end.",
            ["deployment", "place"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._spent = Counter(
            "spillway_spent_usd", "Dollars charged by this gateway.", ["deployment", "target"], registry=self._registry
        )
        self._shadow = Counter(
            "spillway_shadow_spills",
            "Requests that would have gone to a target, were fallback.mode not Shadow.",
            ["deployment", "target", "reason"],
            registry=self._registry,
        )
        self._shadow_spent = Counter(
            "spillway_shadow_spent_usd",
            "Dollars that the spills of the shadow would have cost.",
            ["deployment", "target"],
            registry=self._registry,
        )
        self._tokens = Counter(
            "spillway_tokens",
            "Tokens that backends reported.",
            ["deployment", "place", "kind"],
            registry=self._registry,
        )
        self._held = self._gauge("spillway_held_requests", "Requests that wait for a replica or a decision.")
        self._in_flight = self._gauge("spillway_in_flight_requests", "Requests that replicas work on.")
        self._pending = self._gauge(
            "spillway_pending_prompt_tokens", "Prompt tokens dispatched to replicas and not yet at their first token."
        )

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
        if record.usage is not None:
            self._tokens.labels(name, place, "prompt").inc(record.usage.prompt_tokens)
            self._tokens.labels(name, place, "completion").inc(record.usage.completion_tokens)

    def render(self, desks: Iterable[Desk]) -> bytes:
        """The exposition, with the gauges of `desks` as they stand now."""
        for gauge in (self._held, self._in_flight, self._pending):
            gauge.clear()
        for desk in desks:
            name = desk.route.name
            self._held.labels(name).set(desk.pool.held)
            self._in_flight.labels(name).set(desk.pool.in_flight)
            self._pending.labels(name).set(desk.pool.fleet.pending_tokens)
        return generate_latest(self._registry)

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(name, documentation, ["deployment"], registry=self._registry)
        if record.shadow is not None:
            self._shadow.labels(name, record.shadow.target, record.shadow.reason.value).inc()
            self._shadow_spent.labels(name, record.shadow.target).inc(float(usd(record.shadow.micros)))
