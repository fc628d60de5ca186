"""The four ways to run both, as objects that the API and the gateway take."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest

from spillway.advisor.advice import advise
from spillway.advisor.figures import Figures, figures
from spillway.advisor.needs import Needs, parse_needs
from spillway.advisor.patterns import Pattern, burst, by_complexity, by_sensitivity, by_stage
from spillway.advisor.prices import find_price, own_prices
from spillway.advisor.scenarios import find_scenario
from spillway.advisor.setups import find_setup, own_setups
from spillway.api.v1alpha1 import DataClass, FallbackReason, LLMDeployment, Provider, parse_deployment
from spillway.routing.compile import compile_route
from spillway.routing.facts import CompileSettings
from spillway.sizing.plan import plan_deployment
from spillway.sizing.profiles import default_profiles

SETTINGS = CompileSettings(
    allowed_hosts=frozenset(
        {"api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com", "api.together.xyz"}
    ),
    unlabelled_may_leave="Internal",
)
ALL = [by_complexity, by_sensitivity, by_stage, burst]


def made(make: Callable[[Needs, Figures], Pattern], **changes: object) -> dict[str, LLMDeployment]:
    needs = parse_needs({"tokensPerMonth": "2B", "name": "shop"} | changes)
    price, setup = find_price(own_prices(), needs.cloud), find_setup(own_setups(), needs.self_host.setup)
    objects = [parse_deployment(each) for each in make(needs, figures(needs, price, setup)).objects]
    return {each.metadata.name: each for each in objects}


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("cloud", [price.name for price in own_prices()])
def test_every_object_parses_compiles_and_fits(make: Callable[[Needs, Figures], Pattern], cloud: str):
    for deployment in made(make, cloud=cloud).values():
        route = compile_route(deployment, None, SETTINGS)
        assert not route.refused_targets
        assert bool(route.targets) is (deployment.spec.fallback.mode == "Enabled")
        assert plan_deployment(deployment, default_profiles()).fits


def test_by_sensitivity_only_what_is_labelled_may_leave():
    (deployment,) = made(by_sensitivity).values()
    route = compile_route(deployment, None, SETTINGS)
    assert route.default_class is DataClass.SENSITIVE
    assert route.may_leave == {DataClass.INTERNAL, DataClass.PUBLIC}
    assert route.detectors


def test_bursts_leave_when_the_replicas_are_full():
    (deployment,) = made(burst).values()
    assert FallbackReason.SATURATED in deployment.spec.fallback.reasons
    assert deployment.spec.replicas == 1


def test_by_complexity_the_hardest_have_no_replica_here():
    found = made(by_complexity)
    assert [each.spec.replicas for each in found.values()] == [1, 1, 0]
    assert set(found) == {"shop-small", "shop", "shop-hard"}
    assert found["shop-hard"].spec.fallback.reasons == (FallbackReason.NO_ENDPOINTS,)
    assert found["shop"].spec.fallback.mode == "Disabled"


def test_by_stage_production_never_leaves():
    found = made(by_stage)
    assert found["shop"].spec.fallback.mode == "Disabled"
    assert (found["shop-dev"].spec.replicas, found["shop-dev"].spec.fallback.mode) == (0, "Enabled")


def test_the_budget_is_a_fifth_over_what_is_expected_to_leave():
    # 20 % of 2B tokens at $7.50
    (deployment,) = made(burst).values()
    assert deployment.spec.budget is not None
    assert deployment.spec.budget.limit == Decimal(3600)


def test_plain_files_are_quantised_while_loading_and_sixteen_bits_stay():
    plain = {"uri": "hf://meta-llama/Llama-3.1-8B-Instruct"}
    assert made(burst, model=plain)["shop"].spec.quantization.method == "FP8"
    assert made(burst, model=plain | {"precision": "SixteenBits"})["shop"].spec.quantization.method == "Auto"


@pytest.mark.parametrize(
    ("tokens", "changes", "names"),
    [
        ("250M", {"data": "PartMustStay"}, ["tiered by sensitivity"]),
        ("2B", {"data": "PartMustStay", "traffic": {"peakToAverage": 5}}, ["tiered by sensitivity", "burst"]),
        ("2B", {"frontierPercent": 20}, ["tiered by complexity"]),
        (
            "250M",
            {"data": "PartMustStay", "stillExperimenting": True},
            ["tiered by sensitivity", "development and production"],
        ),
    ],
)
def test_the_needs_choose_the_pattern(tokens: str, changes: dict[str, object], names: list[str]):
    needs = parse_needs({"tokensPerMonth": tokens, "team": {"mlEngineers": 1, "devOps": 1}} | changes)
    given = advise(needs, date(2025, 12, 15))
    assert given.recommendation == "Hybrid"
    assert [pattern.name for pattern in given.patterns] == names


@pytest.mark.parametrize("make", ALL)
def test_the_greatest_volume_still_makes_objects_that_can_be_applied(make: Callable[[Needs, Figures], Pattern]):
    found = made(make, tokensPerMonth="1000T", traffic={"peakToAverage": 1000}, selfHost={"tokensPerSecond": 1})
    assert found["shop"].spec.replicas == 1000


def test_nothing_is_to_be_applied_where_an_api_is_advised():
    assert advise(find_scenario("startup").needs, date(2025, 12, 15)).patterns == ()


@pytest.mark.parametrize(("name", "replicas"), [("healthcare", 1), ("trading", 2)])
def test_what_is_self_hosted_has_an_object_that_serves_the_peak_and_lets_nothing_leave(name: str, replicas: int):
    (pattern,) = advise(find_scenario(name).needs, date(2025, 12, 15)).patterns
    (deployment,) = (parse_deployment(each) for each in pattern.objects)
    assert (pattern.name, deployment.metadata.name, deployment.spec.replicas) == ("self-hosted", name, replicas)
    assert not compile_route(deployment, None, SETTINGS).may_leave
    assert plan_deployment(deployment, default_profiles()).fits


def test_a_profile_that_the_administrator_has_to_add_is_told():
    needs = parse_needs({"tokensPerMonth": "2B", "data": "MustStay", "selfHost": {"setup": "owned-server"}})
    (pattern,) = advise(needs, date(2025, 12, 15)).patterns
    assert "the profile l40s-48gb is the administrator's to add" in pattern.text


def test_nothing_is_given_to_apply_that_would_not_fit():
    model = {"uri": "hf://meta-llama/Llama-3.1-405B-Instruct", "precision": "SixteenBits"}
    needs = parse_needs({"tokensPerMonth": "2B", "data": "MustStay", "model": model})
    assert advise(needs, date(2025, 12, 15)).patterns == ()


@pytest.mark.parametrize(
    ("api", "address"),
    [
        ("OpenAI", None),
        ("Anthropic", None),
        ("Gemini", None),
        ("AzureOpenAI", "https://my-resource.openai.azure.com/openai/v1"),
        ("OpenAICompatible", "https://api.example.com/v1"),
    ],
)
def test_a_target_of_each_provider_can_be_applied(api: str, address: str | None):
    price = own_prices()[0].model_copy(update={"api": Provider(api), "base_url": None})
    needs = parse_needs({"tokensPerMonth": "2B"})
    found = burst(needs, figures(needs, price, find_setup(own_setups(), needs.self_host.setup)))
    (target,) = parse_deployment(found.objects[0]).spec.fallback.targets
    assert (target.provider, target.base_url) == (api, address)


def test_what_may_leave_is_searched_for_persons_and_for_secrets():
    (deployment,) = made(by_sensitivity).values()
    assert set(deployment.spec.data_policy.detectors) == {"PII", "Secrets"}
