"""LLMDeployments become routes: the same pure code for every gateway, so there is no routing table to keep in step."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from spillway.api import v1alpha1 as api
from spillway.routing.budget import micros
from spillway.routing.facts import CompileSettings, KeyRef, Price, RefusedTarget, Route, Target
from spillway.routing.outcomes import Reason
from spillway.routing.providers import SURFACES

CEILING_LABEL: Final = "spillway.dev/may-leave"
CEILINGS: Final = {
    "None": frozenset[api.DataClass](),
    "Public": frozenset({api.DataClass.PUBLIC}),
    "Internal": frozenset({api.DataClass.PUBLIC, api.DataClass.INTERNAL}),
}
"""What a namespace's label lets leave. No label reaches Sensitive, and a word that is not here lets nothing leave."""
DEFAULT_CONTEXT_TOKENS: Final = 8192


def effective_may_leave(
    deployment: api.LLMDeployment, namespace_ceiling: str | None, unlabelled_may_leave: str
) -> frozenset[api.DataClass]:
    """Classes that may leave: the object's own, as far as its namespace's label (None: no label) allows them."""
    return frozenset(deployment.spec.data_policy.may_leave) & most_that_leaves(namespace_ceiling, unlabelled_may_leave)


def most_that_leaves(namespace_ceiling: str | None, unlabelled_may_leave: str) -> frozenset[api.DataClass]:
    """What a namespace with this label (None: without one) lets leave at all."""
    return CEILINGS.get(unlabelled_may_leave if namespace_ceiling is None else namespace_ceiling, CEILINGS["None"])


def compile_route(deployment: api.LLMDeployment, namespace_ceiling: str | None, settings: CompileSettings) -> Route:
    """One object as the gateway serves it; `namespace_ceiling` is its namespace's label, None without one."""
    spec = deployment.spec
    is_shadow = spec.fallback.mode is api.FallbackMode.SHADOW
    is_paid = spec.fallback.mode is api.FallbackMode.ENABLED and spec.budget is not None and spec.access is not None
    enabled = is_paid or is_shadow
    targets: list[Target] = []
    refused: list[RefusedTarget] = []
    for target in spec.fallback.targets if enabled else ():
        compiled = _compile_target(target, settings)
        if isinstance(compiled, Target):
            targets.append(compiled)
        else:
            refused.append(compiled)
    plan = deployment.status.plan if deployment.status else None
    may_leave = effective_may_leave(deployment, namespace_ceiling, settings.unlabelled_may_leave)
    return Route(
        namespace=deployment.metadata.namespace or "default",
        name=deployment.metadata.name,
        uid=deployment.metadata.uid or "",
        model_name=deployment.model_name,
        slo_ttft_seconds=spec.slo.time_to_first_token_milliseconds / 1000,
        max_held=spec.queue.max_requests,
        max_wait_seconds=float(spec.queue.max_wait_seconds),
        context_length=(plan.context_length if plan else None) or spec.context_length or DEFAULT_CONTEXT_TOKENS,
        kv_capacity_tokens=plan.kv_cache_tokens if plan else None,
        max_sequences=plan.max_sequences if plan else None,
        default_class=spec.data_policy.default_class,
        may_leave=may_leave if enabled else frozenset(),
        detectors=frozenset(detector.value for detector in spec.data_policy.detectors),
        spill_reasons=frozenset(Reason(reason.value) for reason in spec.fallback.reasons),
        targets=tuple(targets),
        refused_targets=tuple(refused),
        budget_limit_micros=micros(spec.budget.limit) if spec.budget else None,
        is_shadow=is_shadow,
        engine=spec.engine.type,
    )


def closed(route: Route) -> Route:
    """The same with nothing left open: what becomes of a deployment that is deleted while requests wait for it."""
    return replace(route, targets=(), refused_targets=(), may_leave=frozenset())


def _compile_target(target: api.Target, settings: CompileSettings) -> Target | RefusedTarget:
    base_url = target.base_url or SURFACES[target.provider].base_url
    if base_url is None or target.price is None:
        return RefusedTarget(
            target.name, "PriceMissing" if base_url else "BaseURLMissing", "state price and baseURL of the target"
        )
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if parts.scheme != "https" or not {host, parts.netloc} & settings.allowed_hosts:
        allowed = ", ".join(sorted(settings.allowed_hosts)) or "none"
        return RefusedTarget(
            target.name, "HostNotAllowed", f"{parts.netloc} is not on the administrator's list of hosts ({allowed})"
        )
    return Target(
        name=target.name,
        base_url=base_url.rstrip("/"),
        model=target.model,
        price=_compile_price(target.price),
        timeout_seconds=float(target.timeout_seconds),
        max_concurrent_requests=target.max_concurrent_requests,
        credential=KeyRef(target.secret_ref.name, target.secret_ref.key) if target.secret_ref else None,
        ca_bundle=KeyRef(target.ca_bundle_ref.name, target.ca_bundle_ref.key) if target.ca_bundle_ref else None,
        provider=target.provider,
    )


def _compile_price(price: api.Price) -> Price:
    cached = price.cached_input_per_million_tokens
    return Price(
        input_micros_per_million=micros(price.input_per_million_tokens),
        output_micros_per_million=micros(price.output_per_million_tokens),
        cached_input_micros_per_million=micros(price.input_per_million_tokens if cached is None else cached),
    )
