"""The manifests of one LLMDeployment: its ledger, its engine, and the Service in front of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from spillway.api.v1alpha1 import BudgetWindow, LLMDeployment
from spillway.render.settings import RenderSettings
from spillway.render.template import Manifest, render
from spillway.sizing.plan import GPU_MEMORY_UTILIZATION, Plan

ENGINE_PORT = 8000
STARTUP_TIMEOUT_SECONDS = 3600
DRAIN_SECONDS = 120


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where the engine finds the model: `argument` is what it is started with."""

    argument: str
    revision: str = ""
    claim: str = ""


def render_deployment(deployment: LLMDeployment, plan: Plan, settings: RenderSettings) -> tuple[Manifest, ...]:
    """The manifests of `deployment`, in the order in which they are applied; each is owned by it."""
    values: dict[str, object] = {
        "deployment": deployment,
        "spec": deployment.spec,
        "name": deployment.metadata.name,
        "namespace": deployment.metadata.namespace,
        "owner": owner_references(deployment),
        "plan": plan,
        "settings": settings,
    }
    return (
        render("ledger.yaml.j2", **values, budget=ledger_budget(deployment)),
        render(
            "vllm/deployment.yaml.j2",
            **values,
            model=model_files(deployment),
            image=deployment.spec.engine.image or settings.vllm_image,
            port=ENGINE_PORT,
            max_requests=max_engine_requests(deployment, plan),
            startup_timeout_seconds=STARTUP_TIMEOUT_SECONDS,
            drain_seconds=DRAIN_SECONDS,
            gpu_memory_utilization=GPU_MEMORY_UTILIZATION,
            tolerations=[toleration.model_dump(exclude_defaults=True) for toleration in plan.profile.tolerations],
        ),
        render("vllm/service.yaml.j2", **values, port=ENGINE_PORT),
        render("gateway/front.yaml.j2", **values),
    )


def owner_references(deployment: LLMDeployment) -> list[Mapping[str, object]]:
    """What lets the garbage collector take a child with its parent."""
    return [
        {
            "apiVersion": deployment.api_version,
            "kind": deployment.kind,
            "name": deployment.metadata.name,
            "uid": deployment.metadata.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def model_files(deployment: LLMDeployment) -> ModelFiles:
    """Where the engine finds the model of `deployment`."""
    scheme, place = deployment.spec.model.uri.split("://", 1)
    if scheme == "hf":
        return ModelFiles(argument=place, revision=deployment.spec.model.revision or "")
    claim, _, path = place.partition("/")
    return ModelFiles(argument=f"/models/{path}".rstrip("/"), claim=claim)


def ledger_budget(deployment: LLMDeployment) -> Mapping[str, str]:
    """The spec of the ledger: without a budget its limit is zero, so what was spent outlives a budget's absence."""
    budget = deployment.spec.budget
    if budget is None:
        return {"limit": "0", "window": BudgetWindow.MONTH.value, "timeZone": "Etc/UTC"}
    return {"limit": format(budget.limit, "f"), "window": budget.window.value, "timeZone": budget.time_zone}


def max_engine_requests(deployment: LLMDeployment, plan: Plan) -> int:
    """Requests that an engine takes, running and waiting, before it answers 503.

    The backstop behind the gateway's own count: a full batch, and as many waiting as there are steps in the time to the
    first token when a step takes all of the time per output token. Whoever stands further back is late for certain as
    soon as each prompt fills a step.
    """
    slo = deployment.spec.slo
    return plan.max_sequences + ceil(slo.time_to_first_token_milliseconds / slo.time_per_output_token_milliseconds)
