"""What is observed becomes status, whole, every time: the decider reads values and returns one. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from spillway.api.v1alpha1 import (
    CostStatus,
    LastFailure,
    LLMDeployment,
    LLMDeploymentStatus,
    LLMLedger,
    PlanStatus,
    PolicyStatus,
)
from spillway.controller.conditions import ConditionType, Finding, Reason, conditions, find, no, unknown, yes
from spillway.controller.cost import cost_status
from spillway.controller.failures import last_failure
from spillway.controller.model import Model
from spillway.controller.money import budget_available, budget_status, fallback_ready, fallback_status, route_problem
from spillway.controller.objects import GATEWAY_NAME, Key
from spillway.controller.workload import Pod, Workload
from spillway.errors import InvalidObject, SpillwayError
from spillway.routing.facts import Route
from spillway.sizing.plan import Plan

# What WorkloadReady says when the engine is as the spec wants it.
_SETTLED = frozenset({Reason.READY, Reason.SCALED_TO_ZERO, Reason.SUSPENDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that status rests on, as one pass found it.

    `deployment`, `route` and `plan` are None when the spec cannot be used; `problem` then says why. `problem` may also
    be the API server's refusal of something that was rendered. A `warning` stops nothing. `engine` and `gateway` are
    None while they do not exist.
    """

    key: Key
    generation: int
    previous: LLMDeploymentStatus
    deployment: LLMDeployment | None
    problem: SpillwayError | None
    warning: InvalidObject | None = None
    plan: PlanStatus | None
    sized: Plan | None = None
    route: Route | None
    model: Model | None = None
    engine: Workload | None
    selector: str | None
    pods: tuple[Pod, ...]
    gateway: Workload | None
    ledger: LLMLedger | None


def status_of(facts: Facts, now: dt.datetime) -> LLMDeploymentStatus:
    """The whole status; equal facts give an equal status whatever the time, apart from conditions that change."""
    failure = last_failure(facts.pods, facts.previous.last_failure)
    if facts.engine is not None and _all_answer(facts.engine):
        failure = None
    deployment, spec = facts.deployment, facts.deployment.spec if facts.deployment else None
    return LLMDeploymentStatus(
        observed_generation=facts.generation,
        conditions=conditions(_findings(facts, failure, now), facts.previous.conditions, facts.generation, now),
        model=facts.model.status if facts.model else facts.previous.model,
        replicas=facts.engine.status.replicas if facts.engine else 0,
        ready_replicas=facts.engine.status.ready_replicas if facts.engine else 0,
        selector=facts.selector,
        url=f"http://{facts.key.name}.{facts.key.namespace}.svc/v1",
        model_name=deployment.model_name if deployment else None,
        engine=spec.engine.type if spec else None,
        plan=facts.plan,
        policy=PolicyStatus(may_leave=tuple(sorted(facts.route.may_leave))) if facts.route else None,
        last_failure=failure,
        fallback=fallback_status(facts.ledger),
        budget=budget_status(deployment, facts.ledger),
        cost=_cost(facts),
    )


def _cost(facts: Facts) -> CostStatus | None:
    """What is known of costs; what was told stands until another minute was measured, or the spec changed."""
    if facts.deployment is None or facts.sized is None or facts.route is None:
        return None
    told = facts.previous.cost if facts.previous.observed_generation == facts.generation else None
    return cost_status(facts.deployment, facts.sized, facts.route, facts.ledger, told)


def route_ready(gateway: Workload | None, ledger: LLMLedger | None = None) -> Finding:
    """Whether the namespace's gateway answers, and serves the spec as it is."""
    kind = ConditionType.ROUTE_READY
    if gateway is None:
        return no(kind, Reason.GATEWAY_MISSING, f"the Deployment {GATEWAY_NAME} does not exist yet")
    if gateway.status.ready_replicas < 1:
        return no(kind, Reason.GATEWAY_NOT_READY, f"no pod of {GATEWAY_NAME} is ready")
    problem = route_problem(ledger)
    if problem is not None:
        return no(kind, Reason.SPEC_NOT_SERVED, problem)
    return yes(kind, Reason.READY)


def _findings(facts: Facts, failure: LastFailure | None, now: dt.datetime) -> Sequence[Finding]:
    spec, workload = _spec_valid(facts), _workload_ready(facts, failure)
    route = route_ready(facts.gateway, facts.ledger)
    model, stalled = _model_ready(facts), _stalled(facts, workload)
    # while the next model is downloaded, the present one is served
    needed = (spec, workload, route) if workload.status == "True" else (spec, model, workload, route)
    return (
        _ready(*needed),
        spec,
        model,
        workload,
        route,
        fallback_ready(facts.deployment, facts.route, facts.ledger),
        budget_available(facts.deployment, facts.ledger, now),
        _progressing(model, workload, route, stalled),
        stalled,
    )


def _ready(*rests_on: Finding) -> Finding:
    for finding in rests_on:
        if finding.status != "True":
            return no(ConditionType.READY, finding.reason, finding.message)
    telling = next((finding for finding in rests_on if finding.type is ConditionType.WORKLOAD_READY), rests_on[-1])
    return yes(ConditionType.READY, telling.reason, telling.message)


def _spec_valid(facts: Facts) -> Finding:
    if isinstance(facts.problem, InvalidObject):
        return no(ConditionType.SPEC_VALID, facts.problem.reason, str(facts.problem))
    if facts.warning is not None:
        return yes(ConditionType.SPEC_VALID, facts.warning.reason, str(facts.warning))
    return yes(ConditionType.SPEC_VALID, Reason.VALID)


def _model_ready(facts: Facts) -> Finding:
    if facts.model is None:
        return unknown(ConditionType.MODEL_READY, Reason.NOT_RENDERED, "nothing is downloaded for an invalid spec")
    return facts.model.finding


def _workload_ready(facts: Facts, failure: LastFailure | None) -> Finding:
    kind, engine = ConditionType.WORKLOAD_READY, facts.engine
    if engine is None:
        if isinstance(facts.problem, InvalidObject):
            return unknown(kind, Reason.NOT_RENDERED, "nothing is rendered from an invalid spec")
        if facts.problem is not None:
            return no(kind, Reason.REFUSED, str(facts.problem))
        if facts.model is not None and not facts.model.is_there:
            return no(kind, Reason.WAITING_FOR_MODEL, "the engine is started when the model is there")
        return no(kind, Reason.NOT_CREATED, "the engine's Deployment does not exist yet")
    told = find(facts.previous.conditions, kind)
    if not engine.is_observed and told is not None and told.observed_generation == facts.generation:
        # its controller has not looked at it again yet, and the spec is as it was: what was found then still holds
        return Finding(kind, told.status, told.reason, told.message)
    wanted, ready = engine.spec.replicas, engine.status.ready_replicas
    answering = f"{ready} of {wanted} replicas answer"
    if wanted == 0:
        return _none_wanted(facts.deployment)
    if engine.is_observed and _all_answer(engine):
        return yes(kind, Reason.READY, answering)
    why = _failure_text(failure)
    if ready > 0:
        is_rollout = not engine.is_observed or engine.status.updated_replicas < wanted
        return yes(kind, Reason.ROLLING_OUT if is_rollout else Reason.PARTLY_READY, f"{answering}{why}")
    if failure is not None:
        return no(kind, failure.reason, f"{answering}{why}")
    refused = engine.condition("ReplicaFailure")
    if refused is not None and refused.status == "True":
        return no(kind, refused.reason or Reason.REFUSED, refused.message)
    if not facts.pods:
        return no(kind, Reason.PENDING, f"{answering}; no pod exists yet")
    return no(kind, Reason.LOADING, f"{answering}; the engine is starting or loading the model")


def _none_wanted(deployment: LLMDeployment | None) -> Finding:
    if deployment is not None and deployment.spec.suspend:
        return no(ConditionType.WORKLOAD_READY, Reason.SUSPENDED, "suspend is true; all but the engine's pods stays")
    return no(ConditionType.WORKLOAD_READY, Reason.SCALED_TO_ZERO, "replicas is 0")


def _stalled(facts: Facts, workload: Finding) -> Finding:
    kind = ConditionType.STALLED
    if isinstance(facts.problem, InvalidObject):
        return yes(kind, facts.problem.reason, str(facts.problem))
    if facts.problem is not None:
        return yes(kind, Reason.REFUSED, str(facts.problem))
    if facts.model is not None and facts.model.is_stalled:
        return yes(kind, facts.model.finding.reason, facts.model.finding.message)
    deadline = facts.engine.condition("Progressing") if facts.engine else None
    if deadline is not None and deadline.status == "False" and workload.reason not in _SETTLED:
        return yes(kind, workload.reason, workload.message or deadline.message)
    return no(kind, Reason.NOT_STALLED)


def _progressing(model: Finding, workload: Finding, route: Finding, stalled: Finding) -> Finding:
    kind = ConditionType.PROGRESSING
    if stalled.status == "True":
        return no(kind, stalled.reason, stalled.message)
    if model.status == "False":
        return yes(kind, model.reason, model.message)
    if workload.reason not in _SETTLED:
        return yes(kind, workload.reason, workload.message)
    if route.status != "True":
        return yes(kind, route.reason, route.message)
    return no(kind, Reason.COMPLETE)


def _all_answer(engine: Workload) -> bool:
    """Whether as many replicas as are wanted run the present template and answer, as its controller last counted."""
    status = engine.status
    return status.updated_replicas == status.ready_replicas == status.replicas == engine.spec.replicas


def _failure_text(failure: LastFailure | None) -> str:
    if failure is None:
        return ""
    exit_code = "" if failure.exit_code is None else f" (exit code {failure.exit_code})"
    message = f": {failure.message}" if failure.message else ""
    return f"; pod {failure.pod_name}: {failure.reason}{exit_code}{message}"
