"""What the gateways wrote into the LLMLedger, as status and conditions of its LLMDeployment. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

from spillway.api.v1alpha1 import (
    BudgetStatus,
    FallbackMode,
    FallbackState,
    FallbackStatus,
    LLMDeployment,
    LLMLedger,
    ObservedGateway,
    ObservedTarget,
)
from spillway.controller.conditions import ConditionType, Finding, Reason, no, unknown, yes
from spillway.routing.facts import Route

# Of several gateways the state that says most is shown.
_TELLING = (FallbackState.OVERFLOWING, FallbackState.BLOCKED, FallbackState.SHADOW, FallbackState.LOCAL)


def fallback_status(ledger: LLMLedger | None) -> FallbackStatus | None:
    """What the gateways of the model did of late; the share is the mean of theirs. None until one says something."""
    gateways = _gateways(ledger)
    if not gateways:
        return None
    state = next(state for state in _TELLING if any(gateway.state is state for gateway in gateways))
    telling = [gateway for gateway in gateways if gateway.state is state]
    return FallbackStatus(
        state=state,
        reason=next((gateway.reason for gateway in telling if gateway.reason), None),
        share_percent=round(sum(gateway.share_percent for gateway in gateways) / len(gateways)),
        since=min((gateway.since for gateway in telling if gateway.since), default=None),
    )


def budget_status(deployment: LLMDeployment | None, ledger: LLMLedger | None) -> BudgetStatus | None:
    """The money of the present window, None without a budget."""
    budget = deployment.spec.budget if deployment else None
    if budget is None:
        return None
    status = ledger.status if ledger else None
    return BudgetStatus(
        spent=(status.spent if status else None) or Decimal(0),
        reserved=sum((tranche.amount for tranche in status.tranches), Decimal(0)) if status else Decimal(0),
        limit=budget.limit,
        window_start=status.window_start if status else None,
        window_end=status.window_end if status else None,
    )


def fallback_ready(deployment: LLMDeployment | None, route: Route | None, ledger: LLMLedger | None) -> Finding:
    """Whether a request that may leave would find a target."""
    kind = ConditionType.FALLBACK_READY
    if deployment is None or route is None:
        return unknown(kind, Reason.NOT_RENDERED)
    if deployment.spec.fallback.mode is FallbackMode.DISABLED:
        return no(kind, Reason.DISABLED, "fallback.mode is Disabled: every request stays in the cluster")
    if not route.may_leave:
        return no(kind, Reason.POLICY_DENIED, _why_nothing_leaves(deployment))
    if not route.targets:
        refused = next(iter(route.refused_targets), None)
        if refused is None:
            return no(kind, Reason.NO_TARGET, "fallback.targets is empty")
        return no(kind, refused.reason, f"target {refused.name}: {refused.message}")
    if route.is_shadow:
        return no(kind, Reason.SHADOW, "fallback.mode is Shadow: what would leave is counted and priced, and stays")
    return _targets_ready(_gateways(ledger), [target.name for target in route.targets])


def budget_available(deployment: LLMDeployment | None, ledger: LLMLedger | None, now: dt.datetime) -> Finding:
    """Whether the present window has money left for targets."""
    kind = ConditionType.BUDGET_AVAILABLE
    if deployment is None:
        return unknown(kind, Reason.NOT_RENDERED)
    budget = deployment.spec.budget
    if budget is None:
        return no(kind, Reason.NO_BUDGET, "no budget is set: nothing may be spent")
    status = ledger.status if ledger else None
    is_this_window = status is not None and status.window_end is not None and now < status.window_end
    spent = status.spent if status is not None and status.spent is not None and is_this_window else Decimal(0)
    is_refused = any(
        gateway.state is FallbackState.BLOCKED and gateway.reason == Reason.BUDGET_EXHAUSTED
        for gateway in _gateways(ledger)
    )
    if spent >= budget.limit or (is_refused and is_this_window):
        end = status.window_end if status else None
        until = f" until {end.isoformat().replace('+00:00', 'Z')}" if end else ""
        return no(kind, Reason.BUDGET_EXHAUSTED, f"the {budget.limit} dollars of budget.limit are used up{until}")
    return yes(kind, Reason.WITHIN_BUDGET)


def route_problem(ledger: LLMLedger | None) -> str | None:
    """Which gateway cannot serve the spec as it is now, and why; None when all can."""
    for gateway in _gateways(ledger):
        if gateway.route_problem is not None:
            return f"{gateway.name} serves the spec as it last could be used: {gateway.route_problem}"
    return None


def _gateways(ledger: LLMLedger | None) -> Sequence[ObservedGateway]:
    return ledger.status.gateways if ledger is not None and ledger.status is not None else ()


def _why_nothing_leaves(deployment: LLMDeployment) -> str:
    own = deployment.spec.data_policy.may_leave
    if not own:
        return "dataPolicy.mayLeave is empty: nothing may leave; name Public or Internal there"
    return (
        f"dataPolicy.mayLeave names {', '.join(own)}, but the namespace {deployment.metadata.namespace} lets none "
        "of it leave; its owner decides by the label spillway.dev/may-leave"
    )


def _targets_ready(gateways: Sequence[ObservedGateway], names: Sequence[str]) -> Finding:
    kind = ConditionType.FALLBACK_READY
    seen: list[ObservedTarget] = [target for gateway in gateways for target in gateway.targets if target.name in names]
    if not seen:
        return unknown(kind, Reason.AWAITING_GATEWAY, "no gateway has tried a target yet")
    faults = {target.name: target for target in reversed(seen) if not target.ready}
    told = "; ".join(
        f"target {name}: {faults[name].reason or Reason.NO_TARGET} {faults[name].message or ''}".strip()
        for name in names
        if name in faults
    )
    if any(target.ready for target in seen):
        return yes(kind, Reason.READY, told)
    first = next(faults[name] for name in names if name in faults)
    return no(kind, first.reason or Reason.NO_TARGET, told)
