"""Objects become routes; the namespace and the administrator have the last word."""

from __future__ import annotations

from typing import Any

import pytest

from spillway.api.v1alpha1 import DataClass, LLMDeployment
from spillway.routing.compile import compile_route
from spillway.routing.facts import CompileSettings, KeyRef, Price
from spillway.routing.outcomes import Reason

SETTINGS = CompileSettings(
    allowed_hosts=frozenset({"api.openai.com", "llm.corp.example:8443"}), unlabelled_may_leave="Internal"
)


def deployment(**spec: Any) -> LLMDeployment:
    target = {
        "name": "openai",
        "provider": "OpenAI",
        "model": "gpt-4o",
        "secretRef": {"name": "openai", "key": "api-key"},
    }
    target["price"] = {"inputPerMillionTokens": "2.50", "outputPerMillionTokens": "10.00"}
    values: dict[str, Any] = {
        "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
        "accelerator": {"profile": "l4-24gb"},
        "dataPolicy": {"defaultClass": "Internal", "mayLeave": ["Internal", "Public"]},
        "fallback": {"mode": "Enabled", "targets": [target | spec.pop("target", {})]},
        "budget": {"limit": "50.00"},
        "access": {"mode": "None"},
    }
    metadata = {"name": "chat", "namespace": "team", "uid": "u-1"}
    document = {
        "apiVersion": "spillway.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": metadata,
        "spec": values | spec,
    }
    return LLMDeployment.model_validate(document)


def test_an_object_compiles_to_what_the_gateway_serves() -> None:
    route = compile_route(deployment(), None, SETTINGS)
    assert (route.model_name, route.slo_ttft_seconds, route.budget_limit_micros) == ("chat", 2.0, 50_000_000)
    assert route.spill_reasons == {Reason.SATURATED, Reason.NO_ENDPOINTS, Reason.LOADING, Reason.BACKEND_ERROR}
    (target,) = route.targets
    assert target.base_url == "https://api.openai.com/v1"
    assert target.price == Price(2_500_000, 10_000_000, 2_500_000)
    assert target.credential == KeyRef("openai", "api-key")


@pytest.mark.parametrize(
    ("label", "leaves"),
    [
        (None, {DataClass.INTERNAL, DataClass.PUBLIC}),
        ("Internal", {DataClass.INTERNAL, DataClass.PUBLIC}),
        ("Public", {DataClass.PUBLIC}),
        ("None", set()),
        ("none", set()),
        ("Sensitive", set()),
        ("", set()),
    ],
)
def test_the_namespaces_label_is_a_ceiling(label: str | None, leaves: set[DataClass]) -> None:
    assert compile_route(deployment(), label, SETTINGS).may_leave == leaves


def test_nothing_leaves_unless_the_object_says_so() -> None:
    assert compile_route(deployment(dataPolicy={}), None, SETTINGS).may_leave == set()


def test_without_fallback_nothing_may_leave_whatever_the_policy() -> None:
    route = compile_route(deployment(fallback={"mode": "Disabled"}), None, SETTINGS)
    assert (route.may_leave, route.targets) == (frozenset(), ())


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://llm.corp.example:8443/v1", True),
        ("https://llm.corp.example/v1", False),
        ("https://api.openai.com.evil.example/v1", False),
        ("https://api.openai.com:444/v1", True),
    ],
)
def test_only_hosts_on_the_administrators_list_are_called(url: str, allowed: bool) -> None:
    route = compile_route(deployment(target={"provider": "OpenAICompatible", "baseURL": url}), None, SETTINGS)
    assert bool(route.targets) is allowed
    assert [refused.reason for refused in route.refused_targets] == ([] if allowed else ["HostNotAllowed"])


def test_a_cached_price_of_nothing_is_not_taken_for_an_absent_one() -> None:
    price = {"inputPerMillionTokens": "2.50", "outputPerMillionTokens": "10.00", "cachedInputPerMillionTokens": "0"}
    (target,) = compile_route(deployment(target={"price": price}), None, SETTINGS).targets
    assert target.price.cached_input_micros_per_million == 0


def test_what_a_replica_takes_at_once_is_what_the_operator_planned() -> None:
    assert (compile_route(deployment(), None, SETTINGS).max_sequences) is None
    planned = deployment().model_dump(by_alias=True, mode="json", exclude_none=True)
    plan = {"accelerators": 1, "tensorParallel": 1, "contextLength": 4096, "kvCacheTokens": 16384, "maxSequences": 4}
    route = compile_route(LLMDeployment.model_validate(planned | {"status": {"plan": plan}}), None, SETTINGS)
    assert (route.context_length, route.kv_capacity_tokens, route.max_sequences) == (4096, 16384, 4)
