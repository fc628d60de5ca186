"""The manifests of one LLMDeployment: its ledger, its engine, and the Service in front of it."""

from __future__ import annotations

from collections.abc import Mapping

from spillway.api.v1alpha1 import BudgetWindow, EngineType, LLMDeployment, Resources
from spillway.render.files import model_files
from spillway.render.model import fetch_steps, render_model
from spillway.render.ollama import pull_steps, render_ollama
from spillway.render.settings import RenderSettings
from spillway.render.template import Manifest, render
from spillway.render.vllm import render_vllm
from spillway.sizing.plan import Plan


def render_deployment(deployment: LLMDeployment, plan: Plan, settings: RenderSettings) -> tuple[Manifest, ...]:
    """The manifests of `deployment`, in the order in which they are applied; each is owned by it but a kept claim.

    Raises:
        InvalidObject: a field cannot be rendered as it is.
    """
    spec = deployment.spec
    values: dict[str, object] = {
        "deployment": deployment,
        "spec": spec,
        "name": deployment.metadata.name,
        "namespace": deployment.metadata.namespace,
        "owner": owner_references(deployment),
        "plan": plan,
        "replicas": 0 if spec.suspend else spec.replicas,
        "resources": container_resources(spec.resources, plan),
        "tolerations": [toleration.model_dump(exclude_defaults=True) for toleration in plan.profile.tolerations],
        "pull_secrets": [{"name": secret.name} for secret in spec.engine.image_pull_secrets],
    }
    if spec.engine.type is EngineType.OLLAMA:
        engine, steps = render_ollama(values, deployment, plan, settings), pull_steps(deployment, settings)
    else:
        engine = render_vllm(values, deployment, plan, model_files(deployment), settings)
        steps = fetch_steps(deployment, settings)
    return (
        render("ledger.yaml.j2", **values, budget=ledger_budget(deployment)),
        *render_model(values, deployment, steps, settings),
        *engine,
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


def container_resources(stated: Resources, plan: Plan) -> dict[str, dict[str, str]]:
    """Requests and limits of an engine's container: its accelerators, its memory, and cores without a limit.

    A limit on cores would stop the engine in the middle of a step for what other steps have used; kept cores are its
    own under contention, and it may take idle ones.
    """
    devices = {plan.profile.resource_name: str(plan.accelerators)} if plan.accelerators else {}
    memory = {"memory": stated.memory} if stated.memory else {}
    cores = {"cpu": stated.cpu} if stated.cpu else {}
    return {"limits": devices | memory, "requests": devices | cores | memory}


def ledger_budget(deployment: LLMDeployment) -> Mapping[str, str]:
    """The spec of the ledger: without a budget its limit is zero, so what was spent outlives a budget's absence."""
    budget = deployment.spec.budget
    if budget is None:
        return {"limit": "0", "window": BudgetWindow.MONTH.value, "timeZone": "Etc/UTC"}
    return {"limit": format(budget.limit, "f"), "window": budget.window.value, "timeZone": budget.time_zone}
