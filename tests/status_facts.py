"""What one pass of the operator found, for tests of what it makes of it: two replicas answer, unless said otherwise."""

from __future__ import annotations

import dataclasses
import datetime as dt

from spillway.api.v1alpha1 import LLMDeployment, LLMDeploymentStatus, PlanStatus
from spillway.controller.model import model_of
from spillway.controller.objects import Key
from spillway.controller.status import Facts
from spillway.controller.workload import Pod, Workload
from spillway.errors import InvalidObject
from spillway.routing.compile import compile_route
from spillway.routing.facts import CompileSettings

NOW = dt.datetime(2026, 11, 21, 12, 0, 30, 123456, tzinfo=dt.UTC)
DEPLOYMENT = LLMDeployment.model_validate(
    {
        "metadata": {"name": "chat", "namespace": "team", "uid": "u1", "generation": 3},
        "spec": {
            "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct", "servedName": "qwen"},
            "accelerator": {"profile": "l4-24gb"},
            "cache": {"mode": "Ephemeral"},
            "dataPolicy": {"mayLeave": ["Public", "Internal"]},
        },
    }
)
SUSPENDED = DEPLOYMENT.model_copy(update={"spec": DEPLOYMENT.spec.model_copy(update={"suspend": True})})
ROUTES = CompileSettings(allowed_hosts=frozenset({"api.openai.com"}), unlabelled_may_leave="Internal")
UNKNOWN_PROFILE = InvalidObject(
    "spec.accelerator.profile",
    "there is no accelerator profile 'h999'",
    "the administrator's profiles are: l4-24gb",
    reason="UnknownProfile",
)


def workload(wanted=2, ready=2, updated=None, *, pods=None, observed=1, conditions=()):
    return Workload.model_validate(
        {
            "metadata": {"name": "x", "generation": 1},
            "spec": {"replicas": wanted},
            "status": {
                "observedGeneration": observed,
                "replicas": wanted if pods is None else pods,
                "updatedReplicas": wanted if updated is None else updated,
                "readyReplicas": ready,
                "conditions": list(conditions),
            },
        }
    )


def pod(name="chat-1", *, conditions=(), containers=(), **status):
    return Pod.model_validate(
        {"metadata": {"name": name}, "status": {"conditions": conditions, "containerStatuses": containers, **status}}
    )


LOADING_POD = pod(containers=[{"name": "engine", "state": {"running": {}}}])
FACTS = Facts(
    key=Key("team", "chat"),
    generation=3,
    previous=LLMDeploymentStatus(),
    deployment=DEPLOYMENT,
    problem=None,
    plan=PlanStatus(accelerators=1, tensor_parallel=1, context_length=8192),
    route=compile_route(DEPLOYMENT, None, ROUTES),
    model=model_of(DEPLOYMENT, (), (), LLMDeploymentStatus()),
    engine=workload(),
    selector="app=chat",
    pods=(),
    gateway=workload(),
    ledger=None,
)


def facts(**changes):
    return dataclasses.replace(FACTS, **changes)
