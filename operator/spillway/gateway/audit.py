"""One line of JSON a request, on standard output: who decided what, and what came of it. Never any content.

The schema is `AuditLine`; a field may be added, none changes its meaning. Times are seconds, money is dollars with six
places.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict

from spillway.api.v1alpha1 import DataClass
from spillway.gateway.admission import Facts, Timings
from spillway.gateway.answers import dollars
from spillway.routing.messages import Record
from spillway.routing.outcomes import Outcome, Place, Reason

EVENT: Final = "request"


class AuditLine(BaseModel):
    """What is written of one request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: str
    """Always "request": what tells audit lines from the log's."""
    time: AwareDatetime
    """When the request ended."""
    request_id: str
    """As in the header x-spillway-request-id, and in x-request-id to the backend."""
    namespace: str
    deployment: str
    model: str
    """The model that was asked for, as served by the deployment."""
    data_class: DataClass
    rule: str
    """What set the class: default, label, content:uninspectable or detector:<name>."""
    place: Place
    backend: str
    """The pod or target that answered or was tried last; empty when none was."""
    reason: Reason
    outcome: Outcome
    status: int
    """The HTTP status; 499 when the caller left before one was sent."""
    stream: bool
    attempts: int
    prompt_tokens: int | None
    completion_tokens: int | None
    """As reported by the backend; null when it said nothing."""
    cost_usd: str
    reserved_usd: str
    shadow_target: str | None
    """Under fallback.mode Shadow, the target that would have served it; null when none would have."""
    shadow_reason: Reason | None
    shadow_usd: str | None
    """What that would have cost: at the tokens that the engine here reported, else the most that it could."""
    waited_seconds: float
    """From arrival to the last dispatch (or to the end, without one)."""
    time_to_first_token_seconds: float | None
    """From arrival to the first content; for an answer in one piece, to the whole of it."""
    total_seconds: float


def audit_line(facts: Facts, record: Record, timings: Timings, now: float, time: datetime) -> AuditLine:
    """The line for one request that ended at `now` (monotonic) and `time` (wall clock)."""
    dispatched = now if timings.dispatched is None else timings.dispatched
    first = timings.first_token
    return AuditLine(
        event=EVENT,
        time=time,
        request_id=facts.request.request_id,
        namespace=facts.route.namespace,
        deployment=facts.route.name,
        model=facts.route.model_name,
        data_class=facts.classified.data_class,
        rule=facts.classified.rule,
        place=record.place,
        backend=record.backend,
        reason=record.reason,
        outcome=record.outcome,
        status=record.status,
        stream=facts.intake.stream,
        attempts=record.dispatches,
        prompt_tokens=record.usage.prompt_tokens if record.usage else None,
        completion_tokens=record.usage.completion_tokens if record.usage else None,
        cost_usd=dollars(record.cost_micros),
        reserved_usd=dollars(record.reserved_micros),
        shadow_target=record.shadow.target if record.shadow else None,
        shadow_reason=record.shadow.reason if record.shadow else None,
        shadow_usd=dollars(record.shadow.micros) if record.shadow else None,
        waited_seconds=round(dispatched - facts.arrived, 6),
        time_to_first_token_seconds=None if first is None else round(first - facts.arrived, 6),
        total_seconds=round(now - facts.arrived, 6),
    )


class Audit:
    """Writes lines, each whole and at once; `write` takes bytes, `monotonic` counts seconds."""

    def __init__(self, write: Callable[[bytes], object], monotonic: Callable[[], float]) -> None:
        self._write = write
        self._monotonic = monotonic

    def record(self, facts: Facts, record: Record, timings: Timings) -> None:
        """Write the one line of a request."""
        line = audit_line(facts, record, timings, self._monotonic(), datetime.now(UTC))
        self._write(orjson.dumps(line.model_dump(mode="json")) + b"\n")


def to_standard_output(line: bytes) -> None:
    """Write a line to standard output and flush it: a line that is lost with the process was never an audit."""
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
