"""Argo CD's test data of health.lua, in its own form: statuses as the operator writes them, and the health of each.

https://github.com/argoproj/argo-cd/blob/v3.2.6/docs/operator-manual/health.md
"""

from __future__ import annotations

import dataclasses
from typing import Any

from spillway.api.v1alpha1 import ModelStatus
from spillway.controller.conditions import ConditionType, Reason, no
from spillway.controller.model import Model
from spillway.controller.status import Facts, status_of
from status_facts import FACTS, LOADING_POD, NOW, SUSPENDED, UNKNOWN_PROFILE, facts, workload

UNSEEN = "The operator has not seen its latest change yet"
DOWNLOADING = Model(
    status=ModelStatus(source="8d2c", percent=40),
    finding=no(ConditionType.MODEL_READY, Reason.DOWNLOADING, "40 percent of 14.2 GiB"),
)
DEADLINE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
NONE_WANTED = FACTS.deployment.model_copy(update={"spec": FACTS.deployment.spec.model_copy(update={"replicas": 0})})


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """A file of the test data: what the operator found (None: before its first visit), and what Argo CD makes of it."""

    name: str
    status: str
    message: str
    found: Facts | None
    generation: int = FACTS.generation


CASES = (
    Case("healthy", "Healthy", "Ready: 2 of 2 replicas answer", facts()),
    Case(
        "healthy_noReplicaWanted",
        "Healthy",
        "ScaledToZero: replicas is 0",
        facts(engine=workload(wanted=0, ready=0), deployment=NONE_WANTED),
    ),
    Case("progressing_noStatus", "Progressing", "The operator has not seen it yet", None),
    Case("progressing_changed", "Progressing", UNSEEN, facts(), generation=FACTS.generation + 1),
    Case(
        "progressing_downloading",
        "Progressing",
        "Downloading: 40 percent of 14.2 GiB",
        facts(model=DOWNLOADING, engine=None),
    ),
    Case(
        "progressing_loading",
        "Progressing",
        "Loading: 0 of 2 replicas answer; the engine is starting or loading the model",
        facts(engine=workload(ready=0), pods=(LOADING_POD,)),
    ),
    Case(
        "progressing_rollingOut",
        "Progressing",
        "RollingOut: 1 of 2 replicas answer",
        facts(engine=workload(ready=1, updated=1)),
    ),
    Case(
        "degraded_invalidSpec",
        "Degraded",
        f"UnknownProfile: {UNKNOWN_PROFILE}",
        facts(problem=UNKNOWN_PROFILE, plan=None, model=None, engine=None),
    ),
    Case(
        "degraded_deadlineExceeded",
        "Degraded",
        "Loading: 0 of 2 replicas answer; the engine is starting or loading the model",
        facts(engine=workload(ready=0, conditions=[DEADLINE]), pods=(LOADING_POD,)),
    ),
    Case(
        "suspended",
        "Suspended",
        "Suspended: suspend is true; all but the engine's pods stays",
        facts(engine=workload(wanted=0, ready=0), deployment=SUSPENDED),
    ),
)


def live(case: Case) -> dict[str, Any]:
    """The object as the API server holds it."""
    deployment = (case.found or FACTS).deployment
    assert deployment is not None
    spec = deployment.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    meta = {"name": "chat", "namespace": "team", "generation": case.generation}
    body = {"apiVersion": "spillway.dev/v1alpha1", "kind": "LLMDeployment", "metadata": meta, "spec": spec}
    if case.found is None:
        return body
    return body | {"status": status_of(case.found, NOW).model_dump(mode="json", by_alias=True, exclude_none=True)}


def health_test() -> dict[str, Any]:
    """What Argo CD keeps in `health_test.yaml` beside `health.lua`."""
    return {
        "tests": [
            {
                "healthStatus": {"status": case.status, "message": case.message},
                "inputPath": f"testdata/{case.name}.yaml",
            }
            for case in CASES
        ]
    }
