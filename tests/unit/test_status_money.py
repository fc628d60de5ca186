from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from spillway.api.v1alpha1 import LLMDeployment, LLMLedger
from spillway.controller.money import budget_available, budget_status, fallback_ready, fallback_status
from spillway.controller.status import route_ready
from spillway.controller.workload import Workload
from spillway.routing.compile import compile_route
from spillway.routing.facts import CompileSettings

NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
ROUTES = CompileSettings(allowed_hosts=frozenset({"api.openai.com"}), unlabelled_may_leave="Internal")
WINDOW = {"windowStart": "2026-11-01T00:00:00Z", "windowEnd": "2026-12-01T00:00:00Z"}


def deployment(mode="Enabled", may_leave=("Public",), base_url=None, **more):
    target = {
        "name": "openai",
        "provider": "OpenAI",
        "model": "gpt-4o",
        "secretRef": {"name": "openai", "key": "key"},
        "price": {"inputPerMillionTokens": "1", "outputPerMillionTokens": "2"},
    }
    if base_url:
        target["baseURL"] = base_url
    spec = {
        "model": {"uri": "hf://a/b-7b"},
        "accelerator": {"profile": "l4-24gb"},
        "cache": {"mode": "Ephemeral"},
        "access": {"mode": "None"},
        "budget": {"limit": "50.00"},
        "dataPolicy": {"mayLeave": list(may_leave)},
        "fallback": {"mode": mode, "targets": [target]},
    }
    return LLMDeployment.model_validate({"metadata": {"name": "chat", "namespace": "team"}, "spec": spec | more})


def gateway(name="gw-1", state="Local", reason=None, share=0, since=None, **targets):
    return {
        "name": name,
        "state": state,
        **({"reason": reason} if reason else {}),
        "sharePercent": share,
        **({"since": since} if since else {}),
        "targets": [
            {"name": target, "ready": not fault, **({"reason": fault, "message": "see there"} if fault else {})}
            for target, fault in targets.items()
        ],
    }


def ledger(*gateways, spent="10.000000", tranches=(), window=WINDOW):
    status = {**window, "spent": spent, "tranches": list(tranches), "gateways": list(gateways)}
    return LLMLedger.model_validate(
        {"metadata": {"name": "chat"}, "spec": {"limit": "50.00", "window": "Month"}, "status": status}
    )


def fresh_ledger():
    return LLMLedger.model_validate({"metadata": {"name": "chat"}, "spec": {"limit": "50.00", "window": "Month"}})


def said(finding):
    return f"{finding.status} {finding.reason}"


@pytest.mark.parametrize(
    ("deployment", "ceiling", "ledger", "expected"),
    [
        pytest.param(deployment("Disabled"), None, None, "False Disabled", id="fallback is off"),
        pytest.param(deployment(may_leave=()), None, ledger(gateway(openai="")), "False PolicyDenied", id="empty list"),
        pytest.param(deployment(), "None", ledger(gateway(openai="")), "False PolicyDenied", id="the ceiling is None"),
        pytest.param(
            deployment(may_leave=("Internal",)), "Public", None, "False PolicyDenied", id="the ceiling is lower"
        ),
        pytest.param(
            deployment(base_url="https://evil.example/v1"), None, None, "False HostNotAllowed", id="a host off the list"
        ),
        pytest.param(deployment(), None, None, "Unknown AwaitingGateway", id="no ledger"),
        pytest.param(deployment(), None, ledger(gateway()), "Unknown AwaitingGateway", id="no target tried"),
        pytest.param(deployment(), None, ledger(gateway(openai="")), "True Ready", id="the target answers"),
        pytest.param(
            deployment(),
            None,
            ledger(gateway(openai="SecretNotFound")),
            "False SecretNotFound",
            id="its key is missing",
        ),
        pytest.param(
            deployment(),
            None,
            ledger(gateway(openai="Unauthorized"), gateway("gw-2", openai="")),
            "True Ready",
            id="one gateway can use it",
        ),
        pytest.param(
            deployment(),
            None,
            ledger(gateway(removed="")),
            "Unknown AwaitingGateway",
            id="only a removed target was seen",
        ),
    ],
)
def test_fallback_is_ready_when_a_request_would_find_a_target(deployment, ceiling, ledger, expected):
    assert said(fallback_ready(deployment, compile_route(deployment, ceiling, ROUTES), ledger)) == expected


def test_the_message_names_the_target_and_what_is_wrong_with_it():
    it = deployment()
    finding = fallback_ready(it, compile_route(it, None, ROUTES), ledger(gateway(openai="SecretNotFound")))
    assert finding.message == "target openai: SecretNotFound see there"


def test_a_denied_policy_says_who_decides():
    it = deployment(may_leave=("Internal",))
    finding = fallback_ready(it, compile_route(it, "Public", ROUTES), None)
    assert "spillway.dev/may-leave" in finding.message
    assert "namespace team" in finding.message


@pytest.mark.parametrize(
    ("ledger", "expected"),
    [
        pytest.param(None, "True WithinBudget", id="nothing spent yet"),
        pytest.param(fresh_ledger(), "True WithinBudget", id="a new ledger"),
        pytest.param(ledger(spent="49.999999"), "True WithinBudget", id="a micro-dollar is left"),
        pytest.param(ledger(spent="50.000000"), "False BudgetExhausted", id="all is spent"),
        pytest.param(
            ledger(gateway(state="Blocked", reason="BudgetExhausted"), spent="49.990000"),
            "False BudgetExhausted",
            id="what is left does not pay for a request",
        ),
        pytest.param(
            ledger(gateway(state="Blocked", reason="PolicyDenied")),
            "True WithinBudget",
            id="blocked for another reason",
        ),
        pytest.param(
            ledger(
                spent="50.000000",
                window={"windowStart": "2026-10-01T00:00:00Z", "windowEnd": "2026-11-01T00:00:00Z"},
            ),
            "True WithinBudget",
            id="a new window has begun",
        ),
    ],
)
def test_the_budget_is_available_while_the_window_has_money(ledger, expected):
    assert said(budget_available(deployment(), ledger, NOW)) == expected


def test_without_a_budget_nothing_may_be_spent():
    it = deployment("Disabled", budget=None)
    assert said(budget_available(it, None, NOW)) == "False NoBudget"
    assert budget_status(it, None) is None


def test_the_ledger_is_copied_into_status():
    tranches = [
        {"gateway": "gw-1", "amount": "0.500000", "renewed": "2026-11-21T11:59:59Z"},
        {"gateway": "gw-2", "amount": "0.250000", "renewed": "2026-11-21T11:59:59Z"},
    ]
    status = budget_status(deployment(), ledger(spent="12.345678", tranches=tranches))
    assert status.model_dump(mode="json", by_alias=True) == {
        "spent": "12.345678",
        "reserved": "0.750000",
        "limit": "50.00",
        **WINDOW,
    }
    assert budget_status(deployment(), None).spent == Decimal(0)


def test_the_state_that_says_most_is_shown():
    early, late = "2026-11-21T11:00:00Z", "2026-11-21T11:30:00Z"
    status = fallback_status(
        ledger(
            gateway("a", share=0, since=early),
            gateway("b", "Overflowing", "Saturated", 30, late),
            gateway("c", "Overflowing", None, 31, early),
            gateway("d", "Blocked", "BudgetExhausted", 0),
        )
    )
    assert (status.state, status.reason, status.share_percent) == ("Overflowing", "Saturated", 15)
    assert status.since == dt.datetime(2026, 11, 21, 11, tzinfo=dt.UTC)


def test_a_silent_gateway_is_no_state():
    assert fallback_status(None) is None
    assert fallback_status(fresh_ledger()) is None


def test_a_gateway_that_cannot_serve_the_spec_is_told_by_the_route():
    seen = gateway("gw-2") | {"routeProblem": "spec.queue.maxRequests: a valid integer"}
    answering = Workload.model_validate(
        {"metadata": {"name": "spillway-gateway"}, "spec": {"replicas": 2}, "status": {"readyReplicas": 2}}
    )

    found = route_ready(answering, ledger(gateway(), seen))

    assert said(found) == "False SpecNotServed"
    assert found.message == "gw-2 serves the spec as it last could be used: spec.queue.maxRequests: a valid integer"
    assert said(route_ready(answering, ledger(gateway()))) == "True Ready"
