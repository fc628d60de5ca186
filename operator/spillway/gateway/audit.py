"""One line of JSON a request, on standard output: who decided what, and what came of it. Never any content.

The schema is `AuditLine`; a field may be added, none changes its meaning. Times are seconds, money is dollars with six
places.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict

from spillway.api.v1alpha1 import DataClass
from spillway.gateway.admission import Facts, Timings
from spillway.gateway.answers import dollars
from spillway.routing.messages import Record
from spillway.routing.outcomes import Outcome, Place, Reason

CLIENT_LEFT: Final = 499
"""No answer was sent, for the caller had gone (nginx's word for it)."""


class AuditLine(BaseModel):
    """What is written of one request. What is null was not known when it ended, or does not apply."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    event: Literal["request"]
    """What tells audit lines from the log's."""
    time: AwareDatetime
    """When the request ended."""
    request_id: str
    """As in the header x-spillway-request-id, and in x-request-id to the backend."""
    namespace: str
    """The namespace of the gateway and of all that it serves."""
    endpoint: str | None = None
    """The path, when it is one that is served."""
    deployment: str | None = None
    """The LLMDeployment that was asked."""
    model: str | None = None
    """The model that was asked for, as served by the deployment; of an unknown one nothing is written."""
    data_class: DataClass | None = None
    """How sensitive the request is."""
    rule: str | None = None
    """What set the class: default, label, content:uninspectable or detector:<name>; unread:default or unread:label
    where nobody looked, because nothing of this class may leave (docs/sensitivity.md)."""
    place: Place = Place.NONE
    """Where it was served."""
    backend: str | None = None
    """The pod or target that answered or was tried last."""
    reason: Reason | None = None
    """Why it was served there, or by nobody."""
    outcome: Outcome
    """How it ended."""
    error: str | None = None
    """Why it was turned away, one word: as in `code` of the answer."""
    status: int
    """The HTTP status; 499 when the caller left before one was sent."""
    stream: bool | None = None
    """Whether the answer was asked for as a stream."""
    attempts: int = 0
    """How many backends it was sent to."""
    prompt_tokens: int | None = None
    """As reported by the backend; null when it said nothing."""
    cached_prompt_tokens: int | None = None
    """Those of them that the backend found in its cache."""
    completion_tokens: int | None = None
    """As reported by the backend; null when it said nothing."""
    cost_usd: str = dollars(0)
    """What was charged to the budget, in dollars."""
    reserved_usd: str = dollars(0)
    """What was set aside for it, over all attempts."""
    shadow_target: str | None = None
    """Under fallback.mode Shadow, the target that would have served it; null when none would have."""
    shadow_reason: Reason | None = None
    """Why it would have gone there."""
    shadow_usd: str | None = None
    """What that would have cost: at the tokens that the engine here reported, else the most that it could."""
    waited_seconds: float | None = None
    """From arrival to the last dispatch (or to the end, without one)."""
    time_to_first_token_seconds: float | None = None
    """From arrival to the first content; for an answer in one piece, to the whole of it."""
    total_seconds: float
    """From arrival to the end."""


def audit_line(facts: Facts, record: Record, timings: Timings, now: float, time: datetime) -> AuditLine:
    """The line for one request that ended at `now` (monotonic) and `time` (wall clock)."""
    dispatched = now if timings.dispatched is None else timings.dispatched
    first = timings.first_token
    return AuditLine(
        event="request",
        time=time,
        request_id=facts.request.request_id,
        namespace=facts.route.namespace,
        endpoint=facts.intake.endpoint.value,
        deployment=facts.route.name,
        model=facts.route.model_name,
        data_class=facts.classified.data_class,
        rule=facts.classified.rule,
        place=record.place,
        backend=record.backend or None,
        reason=record.reason,
        outcome=record.outcome,
        status=record.status,
        stream=facts.intake.stream,
        attempts=record.dispatches,
        prompt_tokens=record.usage.prompt_tokens if record.usage else None,
        cached_prompt_tokens=record.usage.cached_prompt_tokens if record.usage else None,
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

    def __init__(self, namespace: str, write: Callable[[bytes], object], monotonic: Callable[[], float]) -> None:
        self._namespace = namespace
        self._write = write
        self._monotonic = monotonic

    def record(self, facts: Facts, record: Record, timings: Timings) -> None:
        """Write the one line of a request."""
        self._put(audit_line(facts, record, timings, self._monotonic(), datetime.now(UTC)))

    def turned_away(self, request_id: str, endpoint: str | None, status: int, error: str, arrived: float) -> None:
        """Write the one line of a request that no model was asked. `arrived` is monotonic seconds."""
        self._put(
            AuditLine(
                event="request",
                time=datetime.now(UTC),
                request_id=request_id,
                namespace=self._namespace,
                endpoint=endpoint,
                outcome=_outcome_of(status),
                error=error,
                status=status,
                total_seconds=round(self._monotonic() - arrived, 6),
            )
        )

    def _put(self, line: AuditLine) -> None:
        self._write(orjson.dumps(line.model_dump(mode="json")) + b"\n")


def _outcome_of(status: int) -> Outcome:
    if status == CLIENT_LEFT:
        return Outcome.CLIENT_GONE
    return Outcome.TURNED_AWAY if status < 500 else Outcome.FAILED


def to_standard_output(line: bytes) -> None:
    """Write a line to standard output and flush it: a line that is lost with the process was never an audit."""
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
