"""What should exist for one LLMDeployment: object -> plan -> manifests, or the reason why nothing can. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spillway.api.v1alpha1 import DataClass, LLMDeployment, LLMDeploymentStatus, PlanStatus, parse_deployment
from spillway.controller.model import Model, arrange, model_of
from spillway.controller.objects import Object, Ref, text_at
from spillway.errors import InvalidObject
from spillway.render import RenderSettings, render_deployment
from spillway.routing.compile import compile_route
from spillway.routing.facts import CompileSettings, Route
from spillway.sizing.cache import cache_shortage
from spillway.sizing.models import ModelFacts
from spillway.sizing.plan import GIB, Plan, plan_deployment
from spillway.sizing.profiles import Profiles


@dataclass(frozen=True, slots=True)
class Policy:
    """What the administrator set up for every object: hardware, images, and what may leave at most."""

    profiles: Profiles
    render: RenderSettings
    routes: CompileSettings

    def may_leave(self, deployments: Sequence[LLMDeployment], ceiling: str | None) -> dict[str, tuple[DataClass, ...]]:
        """What of each object may leave a namespace whose label says `ceiling`, by object name."""
        return {
            deployment.metadata.name: effective_classes(compile_route(deployment, ceiling, self.routes))
            for deployment in deployments
        }


@dataclass(frozen=True, slots=True)
class Desired:
    """What one LLMDeployment comes to; with a `problem` nothing is rendered, and what exists is left as it is.

    A `warning` is told and stops nothing. What is `kept` is neither applied nor deleted. `sized`: the whole of `plan`.
    """

    deployment: LLMDeployment | None = None
    route: Route | None = None
    plan: PlanStatus | None = None
    children: tuple[Object, ...] = ()
    problem: InvalidObject | None = None
    warning: InvalidObject | None = None
    model: Model | None = None
    kept: frozenset[Ref] = frozenset()
    sized: Plan | None = None


def previous_status(body: Mapping[str, object]) -> LLMDeploymentStatus:
    """The status as it is; one that cannot be read (another version wrote it) counts as none."""
    try:
        return LLMDeploymentStatus.model_validate(body.get("status") or {})
    except ValueError:
        return LLMDeploymentStatus()


def _plan(deployment: LLMDeployment, profiles: Profiles, model: Model) -> tuple[Plan, bool]:
    """The plan, and whether it is one: a model of unknown size is known when it is there.

    Until then it is downloaded, for which it does not matter how many accelerators it will take.
    """
    try:
        return plan_deployment(deployment, profiles, model.facts), True
    except InvalidObject as problem:
        if model.is_there or problem.reason != "UnknownModel":
            raise
    accelerator = deployment.spec.accelerator.model_copy(update={"count": 1})
    spec = deployment.spec.model_copy(update={"accelerator": accelerator})
    return plan_deployment(deployment.model_copy(update={"spec": spec}), profiles), False


@dataclass(frozen=True, slots=True)
class _Rendered:
    """All that an object can come to; which of it is wanted now depends on how far its model is."""

    plan: Plan
    is_sized: bool
    manifests: tuple[Object, ...]
    warning: InvalidObject | None


@dataclass(slots=True)
class _Known:
    """One object as it was read last, and what was rendered of it then, for what was known of its model."""

    spec: object
    ceiling: str | None
    deployment: LLMDeployment
    route: Route
    model: tuple[bool, ModelFacts | None] | None = None
    rendered: _Rendered | InvalidObject | None = None

    def render(self, model: Model, policy: Policy) -> _Rendered:
        """The manifests; raises InvalidObject."""
        if self.rendered is None or self.model != (model.is_there, model.facts):
            self.model = (model.is_there, model.facts)
            try:
                plan, is_sized = _plan(self.deployment, policy.profiles, model)
                manifests = render_deployment(self.deployment, plan, policy.render)
                warning = plan.warning or cache_shortage(self.deployment, plan)
                self.rendered = _Rendered(plan, is_sized, manifests, warning)
            except InvalidObject as problem:
                self.rendered = problem
        if isinstance(self.rendered, InvalidObject):
            raise self.rendered
        return self.rendered


class Desires:
    """What objects come to, remembered for those that were asked about last: most passes find the spec as it was.

    Rendering is most of a pass without writes; what is remembered of one object is all of its manifests.
    """

    def __init__(self, policy: Policy, at_most: int = 512) -> None:
        self._policy = policy
        self._at_most = at_most
        self._known: dict[str, _Known] = {}

    def of(
        self,
        body: Mapping[str, object],
        ceiling: str | None,
        children: Sequence[Object] = (),
        pods: Sequence[Object] = (),
    ) -> Desired:
        """What should exist for the object `body` in a namespace whose label says `ceiling` (None: no label).

        That depends on what exists already, `children` and `pods`, as far as the engine waits for its model.
        """
        try:
            known = self._recall(body, ceiling)
        except InvalidObject as problem:
            return Desired(problem=problem)
        deployment, route = known.deployment, known.route
        model = model_of(deployment, children, pods, previous_status(body))
        try:
            rendered = known.render(model, self._policy)
            wanted, kept = arrange(model, rendered.manifests, children)
        except InvalidObject as problem:
            return Desired(deployment, route, problem=problem, model=model)
        sized = rendered.plan if rendered.is_sized else None
        shown = None if sized is None else plan_status(sized)
        return Desired(deployment, route, shown, wanted, warning=rendered.warning, model=model, kept=kept, sized=sized)

    def _recall(self, body: Mapping[str, object], ceiling: str | None) -> _Known:
        uid, spec = text_at(body, "metadata", "uid"), body.get("spec")
        known = self._known.pop(uid, None)
        if known is None or (known.spec, known.ceiling) != (spec, ceiling):
            deployment = parse_deployment(body)
            known = _Known(spec, ceiling, deployment, compile_route(deployment, ceiling, self._policy.routes))
        self._known[uid] = known
        if len(self._known) > self._at_most:
            del self._known[next(iter(self._known))]
        return known


def effective_classes(route: Route) -> tuple[DataClass, ...]:
    """The classes that may leave, in a stable order."""
    return tuple(sorted(route.may_leave))


def readable(bodies: Sequence[Mapping[str, object]]) -> tuple[LLMDeployment, ...]:
    """Those of the objects that can be read, by name; the others say in their own status what is wrong with them."""
    found = []
    for body in bodies:
        try:
            found.append(parse_deployment(body))
        except InvalidObject:
            continue
    return tuple(sorted(found, key=lambda deployment: deployment.metadata.name))


def plan_status(plan: Plan) -> PlanStatus:
    """The plan as status shows it."""
    return PlanStatus(
        accelerators=plan.accelerators,
        tensor_parallel=plan.tensor_parallel,
        quantization=plan.quantization,
        memory_required=_gibibytes(plan.memory_required_bytes),
        memory_available=_gibibytes(plan.memory_available_bytes),
        context_length=plan.context_length,
        # the cache of a plan that does not fit is none, which the engine, if it starts, knows better
        kv_cache_tokens=plan.kv_cache_tokens if plan.fits else None,
        max_sequences=plan.max_sequences,
    )


def _gibibytes(amount: int | None) -> str | None:
    return None if amount is None else f"{amount / GIB:.1f}Gi"
