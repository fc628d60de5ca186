"""Kubernetes Events of an LLMDeployment: one when Ready changes its status or its reason, none otherwise. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from spillway.api.v1alpha1 import API_VERSION, ConditionStatus, LLMDeploymentStatus
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
    ref = ref_of(body)
    moment = now.replace(microsecond=0).isoformat().replace("+00:00", "Z")
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
        "reason": new.reason,
        "message": (new.message or f"{ref.name} is ready")[:_MESSAGE_CHARACTERS],
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": "spillway.dev/operator",
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
