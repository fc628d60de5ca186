"""Conditions: what each type means, the words of `reason`, and how a new observation joins the old list. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from spillway.api.v1alpha1 import Condition, ConditionStatus


class ConditionType(StrEnum):
    """What is observed of an LLMDeployment; in the order of status.conditions."""

    READY = "Ready"
    """The model answers through the gateway on accelerators of this cluster."""
    SPEC_VALID = "SpecValid"
    """The spec can be carried out as it is."""
    MODEL_READY = "ModelReady"
    """The model is where the engine reads it."""
    WORKLOAD_READY = "WorkloadReady"
    """At least one replica of the engine answers."""
    ROUTE_READY = "RouteReady"
    """The namespace's gateway answers, and serves the spec as it is."""
    FALLBACK_READY = "FallbackReady"
    """A request that may leave would find a target."""
    BUDGET_AVAILABLE = "BudgetAvailable"
    """There is money left for targets in the present window."""
    PROGRESSING = "Progressing"
    """It is on its way to what the spec asks for."""
    STALLED = "Stalled"
    """It will not get there without a change by a person."""


class Reason(StrEnum):
    """Our own words for `reason`; those of the kubelet and the scheduler are passed on as they are (`failures.py`)."""

    VALID = "Valid"
    READY = "Ready"
    PARTLY_READY = "PartlyReady"
    LOADING = "Loading"
    DOWNLOADING = "Downloading"
    DOWNLOADED = "Downloaded"
    EPHEMERAL = "Ephemeral"
    ON_CLAIM = "OnClaim"
    WAITING_FOR_MODEL = "WaitingForModel"
    PENDING = "Pending"
    ROLLING_OUT = "RollingOut"
    SCALED_TO_ZERO = "ScaledToZero"
    SUSPENDED = "Suspended"
    NOT_RENDERED = "NotRendered"
    NOT_CREATED = "NotCreated"
    GATEWAY_MISSING = "GatewayMissing"
    GATEWAY_NOT_READY = "GatewayNotReady"
    SPEC_NOT_SERVED = "SpecNotServed"
    DISABLED = "Disabled"
    SHADOW = "Shadow"
    POLICY_DENIED = "PolicyDenied"
    AWAITING_GATEWAY = "AwaitingGateway"
    NO_TARGET = "NoTarget"
    NO_BUDGET = "NoBudget"
    WITHIN_BUDGET = "WithinBudget"
    BUDGET_ALERT = "BudgetAlert"
    BUDGET_EXHAUSTED = "BudgetExhausted"
    COMPLETE = "Complete"
    PROGRESSING = "Progressing"
    NOT_STALLED = "NotStalled"
    REFUSED = "RefusedByCluster"


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition as it is observed now, before it is known whether it is news."""

    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str = ""


def yes(kind: ConditionType, reason: str, message: str = "") -> Finding:
    """The condition holds."""
    return Finding(kind, ConditionStatus.TRUE, reason, message)


def no(kind: ConditionType, reason: str, message: str = "") -> Finding:
    """The condition does not hold."""
    return Finding(kind, ConditionStatus.FALSE, reason, message)


def unknown(kind: ConditionType, reason: str, message: str = "") -> Finding:
    """It cannot be known yet whether the condition holds."""
    return Finding(kind, ConditionStatus.UNKNOWN, reason, message)


def conditions(
    findings: Iterable[Finding], previous: Sequence[Condition], generation: int, now: dt.datetime
) -> tuple[Condition, ...]:
    """The findings as conditions of `generation`; the time of one moves only when its status does.

    `now` is aware of its time zone and is taken to whole seconds, as the API server does.
    """
    before = {condition.type: condition for condition in previous}
    moment = now.replace(microsecond=0)

    def since(finding: Finding) -> dt.datetime:
        old = before.get(finding.type)
        return old.last_transition_time if old is not None and old.status == finding.status else moment

    return tuple(
        Condition(
            type=finding.type,
            status=finding.status,
            observed_generation=generation,
            last_transition_time=since(finding),
            reason=finding.reason,
            message=finding.message,
        )
        for finding in findings
    )


def find(conditions: Sequence[Condition], kind: ConditionType) -> Condition | None:
    """The condition of that type, None if it is not there."""
    return next((condition for condition in conditions if condition.type == kind), None)
