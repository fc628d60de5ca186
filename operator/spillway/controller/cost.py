"""What the gateways counted and the profile costs, as the cost of an LLMDeployment's status. Pure."""

from __future__ import annotations

from spillway.advisor.costs import Mix
from spillway.advisor.keeping import Leaving, Rate, keep, per_hour
from spillway.advisor.running import running, usual_mix
from spillway.api.v1alpha1 import CostStatus, LLMDeployment, LLMLedger, ServedTokens
from spillway.routing.facts import Route
from spillway.sizing.plan import Plan


def cost_status(
    deployment: LLMDeployment, plan: Plan, route: Route, ledger: LLMLedger | None, told: CostStatus | None
) -> CostStatus | None:
    """The cost of the replicas that the spec asks for; None where neither an hourlyCost nor a price is stated.

    While no later minute was measured than the one that `told` rests on, it stands: gateways report within a second of
    one another, and status is to be written for them once a minute.
    """
    seen = _served(ledger)
    until = max((served.until for served in seen), default=None)
    if told is not None and until is not None and told.measured_until == until:
        return told
    rate = per_hour([Rate(_mix(served), served.requests, served.seconds) for served in seen])
    mix = rate.request if rate is not None else usual_mix(plan.context_length)
    replicas = 0 if deployment.spec.suspend else deployment.spec.replicas
    found = running(deployment, plan, replicas, mix)
    if found.replica_usd_per_hour is None and found.target is None:
        return None
    kept = keep(found, rate, _leaving(deployment, route))
    return CostStatus(
        local_per_million_tokens=kept.local_usd_per_million,
        cloud_per_million_tokens=kept.cloud_usd_per_million,
        break_even_tokens_per_day=kept.break_even_tokens_per_day,
        utilization_percent=kept.utilization_percent,
        recommendation=kept.recommendation,
        measured_until=until,
    )


def _served(ledger: LLMLedger | None) -> tuple[ServedTokens, ...]:
    if ledger is None or ledger.status is None:
        return ()
    return tuple(gateway.served for gateway in ledger.status.gateways if gateway.served is not None)


def _mix(served: ServedTokens) -> Mix:
    cached = min(served.cached_prompt_tokens, served.prompt_tokens)
    return Mix(served.prompt_tokens, served.completion_tokens, cached)


def _leaving(deployment: LLMDeployment, route: Route) -> Leaving:
    """How much may go to a target, as far as the object says: a request that states no class is of the default one."""
    if not route.may_leave or not route.targets:
        return Leaving.NOTHING
    return Leaving.ALL if deployment.spec.data_policy.default_class in route.may_leave else Leaving.A_PART
