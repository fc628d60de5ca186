"""Kubernetes Events of an LLMDeployment: Ready changed its status or reason; a part of the budget is spent. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from pydantic import ValidationError

from spillway.api.v1alpha1 import API_VERSION, Budget, BudgetStatus, ConditionStatus, LLMDeploymentStatus
from spillway.controller.conditions import ConditionType, Reason, find
from spillway.controller.objects import FIELD_MANAGER, Object, at, ref_of

# Why Ready may be False while nothing is wrong.
_EXPECTED = frozenset(
    {
        Reason.LOADING,
        Reason.PENDING,
        Reason.NOT_CREATED,
        Reason.SCALED_TO_ZERO,
        Reason.SUSPENDED,
        Reason.GATEWAY_MISSING,
        Reason.GATEWAY_NOT_READY,
    }
)
_MESSAGE_CHARACTERS = 1024
_ALL = 100


def events_of(
    body: Mapping[str, object], before: LLMDeploymentStatus, after: LLMDeploymentStatus, now: dt.datetime
) -> tuple[Object, ...]:
    """What the change of status from `before` to `after` is worth telling."""
    told = (transition_event(body, before, after, now), budget_event(body, before, after, now))
    return tuple(event for event in told if event is not None)


def transition_event(
    body: Mapping[str, object], before: LLMDeploymentStatus, after: LLMDeploymentStatus, now: dt.datetime
) -> Object | None:
    """The Event that tells of the change from `before` to `after`, None when Ready stays as it was or only begins."""
    old, new = find(before.conditions, ConditionType.READY), find(after.conditions, ConditionType.READY)
    if new is None or (old is not None and (old.status, old.reason) == (new.status, new.reason)):
        return None
    is_warning = new.status is not ConditionStatus.TRUE and new.reason not in _EXPECTED
    if old is None and not is_warning:
        return None
    message = new.message or f"{ref_of(body).name} is ready"
    return _event(body, new.reason, message, now, is_warning=is_warning)


def budget_event(
    body: Mapping[str, object], before: LLMDeploymentStatus, after: LLMDeploymentStatus, now: dt.datetime
) -> Object | None:
    """The Event that tells which of budget.alertPercents are spent now and were not `before`, the highest of them.

    What was told is in the status itself: spent only rises within a window, so each is told once in it.
    """
    budget, told = after.budget, before.budget
    if budget is None or not budget.limit:
        return None
    if told is not None and told.window_start != budget.window_start:
        told = None
    passed = [
        percent
        for percent in _alert_percents(body)
        if _is_spent(budget, percent) and not (told is not None and _is_spent(told, percent))
    ]
    if not passed:
        return None
    until = f" until {rfc3339(budget.window_end)}" if budget.window_end else ""
    message = f"{max(passed)} % of budget.limit are spent: {budget.spent:f} of {budget.limit:f} dollars{until}"
    return _event(body, Reason.BUDGET_ALERT, message, now, is_warning=max(passed) == _ALL)


def _alert_percents(body: Mapping[str, object]) -> tuple[int, ...]:
    try:
        return Budget.model_validate(at(body, "spec", "budget")).alert_percents
    except ValidationError:
        return ()  # a spec that cannot be used is told by SpecValid


def _is_spent(budget: BudgetStatus, percent: int) -> bool:
    return budget.spent * _ALL >= budget.limit * percent


def rfc3339(moment: dt.datetime) -> str:
    """A moment as Kubernetes writes it, in UTC and whole seconds."""
    return moment.astimezone(dt.UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _event(body: Mapping[str, object], reason: str, message: str, now: dt.datetime, *, is_warning: bool) -> Object:
    ref, moment = ref_of(body), rfc3339(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{ref.name}.", "namespace": ref.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": ref.kind,
            "name": ref.name,
            "namespace": ref.namespace,
            "uid": at(body, "metadata", "uid"),
            "resourceVersion": at(body, "metadata", "resourceVersion"),
        },
        "type": "Warning" if is_warning else "Normal",
        "reason": reason,
        "message": message[:_MESSAGE_CHARACTERS],
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": "spillway.dev/operator",
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
