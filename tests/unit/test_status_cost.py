"""The cost in status, by what gateways wrote into the ledger."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from spillway.api.v1alpha1 import CostStatus, LLMDeployment, LLMLedger
from spillway.controller.cost import cost_status
from spillway.routing.compile import compile_route
from spillway.routing.facts import CompileSettings
from spillway.sizing.plan import plan_deployment
from spillway.sizing.profiles import by_name, default_profiles

ROUTES = CompileSettings(allowed_hosts=frozenset({"api.openai.com"}), unlabelled_may_leave="Internal")
TARGET = {"name": "openai", "provider": "OpenAI", "model": "gpt-4o", "secretRef": {"name": "openai", "key": "key"}}
PRICE = {"inputPerMillionTokens": "1", "outputPerMillionTokens": "2"}


def ledger(*served: tuple[int, int, int], until: str = "2026-11-21T12:00:00Z") -> LLMLedger:
    """Gateways that each served (prompt, completion, seconds)."""
    gateways = [
        {
            "name": f"gw-{place}",
            "state": "Local",
            "served": {
                "requests": 10,
                "promptTokens": prompt,
                "completionTokens": completion,
                "seconds": seconds,
                "until": until,
            },
        }
        for place, (prompt, completion, seconds) in enumerate(served)
    ]
    return LLMLedger.model_validate(
        {"metadata": {"name": "chat"}, "spec": {"limit": "0", "window": "Month"}, "status": {"gateways": gateways}}
    )


def cost(
    found: LLMLedger | None = None, told: CostStatus | None = None, hourly: str | None = "0.70", **spec: object
) -> CostStatus | None:
    """The cost of one L4, whose requests are Public by default and may leave."""
    deployment = LLMDeployment.model_validate(
        {
            "metadata": {"name": "chat", "namespace": "team"},
            "spec": {
                "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
                "accelerator": {"profile": "l4-24gb"},
                "dataPolicy": {"defaultClass": "Public", "mayLeave": ["Public"]},
                "fallback": {"mode": "Shadow", "targets": [TARGET | {"price": PRICE}]},
            }
            | spec,
        }
    )
    profile = default_profiles()["l4-24gb"].model_copy(update={"hourly_cost": Decimal(hourly) if hourly else None})
    plan = plan_deployment(deployment, by_name([profile]))
    return cost_status(deployment, plan, compile_route(deployment, None, ROUTES), found, told)


def shown(found: CostStatus | None) -> dict[str, object]:
    return {} if found is None else found.model_dump(mode="json", by_alias=True, exclude_none=True)


def test_gateways_are_added_up_and_dollars_have_six_places():
    found = shown(cost(ledger((500_000, 1_000_000, 3600), (500_000, 1_000_000, 3600))))
    assert found["localPerMillionTokens"] == "0.233333"
    assert found["cloudPerMillionTokens"] == "1.666667"
    assert found["breakEvenTokensPerDay"] == 10_080_000
    assert (found["recommendation"], found["measuredUntil"]) == ("KeepLocal", "2026-11-21T12:00:00Z")


@pytest.mark.parametrize(
    ("found", "spec", "recommended"),
    [
        pytest.param(ledger((1_000_000, 2_000_000, 3600)), {}, "KeepLocal", id="cheaper here"),
        pytest.param(ledger((10_000, 20_000, 3600)), {}, "PreferCloud", id="hardly used"),
        pytest.param(ledger((10_000, 20_000, 3600)), {"replicas": 3}, "PreferCloud", id="hardly used, by three"),
        pytest.param(
            ledger((10_000, 20_000, 3600)),
            {"dataPolicy": {"defaultClass": "Sensitive", "mayLeave": ["Public"]}},
            "Hybrid",
            id="a part must stay",
        ),
        pytest.param(ledger((10_000, 20_000, 3600)), {"dataPolicy": {}}, "KeepLocal", id="nothing may leave"),
        pytest.param(ledger((10_000, 20_000, 600)), {}, "Unknown", id="ten minutes"),
        pytest.param(None, {}, "Unknown", id="no ledger"),
    ],
)
def test_the_recommendation_heeds_what_may_leave(found: LLMLedger | None, spec: dict[str, object], recommended: str):
    assert shown(cost(found, **spec))["recommendation"] == recommended


def test_of_one_minute_the_first_that_was_told_stands():
    first = cost(ledger((1_000_000, 2_000_000, 3600)))
    assert cost(ledger((1_000_000, 2_000_000, 3600), (9_000_000, 9_000_000, 3600)), told=first) is first
    later = cost(ledger((9_000_000, 9_000_000, 3600), until="2026-11-21T12:01:00Z"), told=first)
    assert later is not None
    assert later.measured_until == dt.datetime(2026, 11, 21, 12, 1, tzinfo=dt.UTC)


def test_what_was_measured_is_forgotten_when_gateways_tell_of_nothing_more():
    first = cost(ledger((1_000_000, 2_000_000, 3600)))
    assert "localPerMillionTokens" not in shown(cost(ledger(), told=first))


def test_without_an_hourly_cost_and_a_price_there_is_none():
    assert cost(hourly=None, fallback={}) is None
    assert "breakEvenTokensPerDay" not in shown(cost(hourly=None))
    assert "cloudPerMillionTokens" not in shown(cost(fallback={}))


def test_what_is_suspended_costs_nothing_and_is_not_advised_on():
    found = shown(cost(ledger((1_000_000, 2_000_000, 3600)), suspend=True))
    assert found["localPerMillionTokens"] == "0.000000"
    assert found["recommendation"] == "Unknown"
    assert "breakEvenTokensPerDay" not in found
