"""From needs to a recommendation, and why."""

from __future__ import annotations

from datetime import date

import pytest

from spillway.advisor.advice import Advice, advise
from spillway.advisor.decision import Force, Reason, Recommendation, decide
from spillway.advisor.flowchart import flowchart, triggers
from spillway.advisor.needs import parse_needs
from spillway.advisor.people import missing, people, team_scale, team_scales
from spillway.advisor.scenarios import find_scenario, scenarios
from spillway.errors import InvalidObject

TODAY = date(2025, 12, 15)
TEAM = {"mlEngineers": 2, "devOps": 1}


def advice(tokens: object = "50M", **changes: object) -> Advice:
    return advise(parse_needs({"tokensPerMonth": tokens} | changes), TODAY)


def by_criterion(given: Advice) -> dict[str, Reason]:
    return {reason.criterion: reason for reason in given.reasons}


@pytest.mark.parametrize(
    ("name", "recommended"),
    [("startup", "API"), ("healthcare", "SelfHost"), ("ecommerce", "Hybrid"), ("trading", "SelfHost")],
)
def test_each_published_case_ends_as_its_source_says(name: str, recommended: str):
    case = find_scenario(name)
    assert case.recommends == recommended
    given = advise(case.needs, TODAY)
    assert given.recommendation == recommended
    assert any(reason.says == recommended and reason.weight for reason in given.reasons)


def test_there_are_four_cases_and_no_other_is_known():
    assert [case.name for case in scenarios()] == ["startup", "healthcare", "ecommerce", "trading"]
    with pytest.raises(InvalidObject, match="state one of startup, healthcare, ecommerce, trading"):
        find_scenario("bank")


@pytest.mark.parametrize(
    ("tokens", "changes", "recommended"),
    [
        ("50M", {}, "API"),
        ("50M", {"data": "MustStay"}, "SelfHost"),
        ("50M", {"offline": True}, "SelfHost"),
        ("50M", {"data": "PartMustStay"}, "Hybrid"),
        ("400M", {"data": "PartMustStay", "team": TEAM}, "SelfHost"),
        ("1.5B", {"team": TEAM}, "SelfHost"),
        ("1.5B", {"team": TEAM, "frontierPercent": 100}, "API"),
        ("1.5B", {"team": TEAM, "frontierPercent": 10}, "Hybrid"),
        ("1.5B", {"team": TEAM, "traffic": {"peakToAverage": 6}}, "Hybrid"),
        ("500M", {"firstToken": {"limitMilliseconds": 90}}, "SelfHost"),
        ("400M", {"team": TEAM, "customWeights": True}, "API"),
        ("600M", {"team": TEAM, "customWeights": True}, "SelfHost"),
    ],
)
def test_what_is_needed_decides(tokens: str, changes: dict[str, object], recommended: str):
    assert advice(tokens, **changes).recommendation == recommended


def test_the_users_own_dollars_weigh_more_than_a_rule_of_thumb():
    cheap = by_criterion(advice("2B", cloud="OpenAI/gpt-4o-mini"))
    assert (cheap["volume"].says, cheap["volume"].weight) == ("SelfHost", 1)
    assert (cheap["cost"].says, cheap["cost"].weight) == ("API", 3)


def test_what_is_ruled_out_does_not_hide_which_of_the_others_is_cheaper():
    cost = by_criterion(advice("400M", data="PartMustStay"))["cost"]
    # a GPU that is needed anyway has room for all: $4,000, and $4,600 with a fifth at the API
    assert (cost.says, cost.weight) == ("SelfHost", 3)
    assert cost.text == "API would cost least, but is ruled out; SelfHost costs 13 % less than Hybrid"


def test_where_one_answer_is_left_the_cost_says_what_it_is_dearer_than():
    cost = by_criterion(advice("50M", data="MustStay"))["cost"]
    assert (cost.says, cost.weight) == ("API", 3)


def test_what_costs_about_the_same_decides_nothing():
    # 500M at $7.50 is $3,750, one rented A100 $4,000
    cost = by_criterion(advice("500M"))["cost"]
    assert (cost.says, cost.weight) == (None, 0)
    assert "$3,750.00" in cost.figure
    assert "$4,000.00" in cost.figure


@pytest.mark.parametrize(
    ("tokens", "says", "weight"),
    [
        ("9M", "API", 2),
        ("10M", "API", 1),
        ("499M", "API", 1),
        ("500M", None, 0),
        ("1B", None, 0),
        ("1001M", "SelfHost", 1),
    ],
)
def test_the_published_marks_of_volume(tokens: str, says: str | None, weight: int):
    volume = by_criterion(advice(tokens))["volume"]
    assert (volume.says, volume.weight) == (says, weight)


@pytest.mark.parametrize(("tokens", "said"), [("660M", None), ("670M", "$5,000: begin to plan"), ("1340M", "$10,000")])
def test_the_marks_of_the_bill(tokens: str, said: str | None):
    bill = by_criterion(advice(tokens)).get("bill")
    assert (bill is None) if said is None else (bill is not None and said in bill.text)


def test_the_law_comes_before_quality_and_says_so():
    given = advice(data="MustStay", frontierPercent=100)
    assert given.recommendation == "SelfHost"
    assert [reason.criterion for reason in given.decision.overruled] == ["quality"]
    assert any(warning.startswith("quality asks for what must not be") for warning in given.warnings)


@pytest.mark.parametrize(
    ("limit", "says", "weight"),
    [(90, "SelfHost", 3), (199, "SelfHost", 3), (240, "SelfHost", 2), (5000, None, 0)],
)
def test_latency_says_so_by_what_each_place_keeps(limit: int, says: str | None, weight: int):
    needs = {"model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"}, "request": {"promptTokens": 100}}
    latency = by_criterion(advice("500M", firstToken={"limitMilliseconds": limit}, **needs))["latency"]
    assert (latency.says, latency.weight) == (says, weight)
    assert f"within {limit} ms for 95 %" in latency.figure


def test_a_model_that_misses_the_limit_here_too_says_nothing_for_self_hosting():
    latency = by_criterion(advice("500M", firstToken={"limitMilliseconds": 180}))["latency"]
    assert (latency.says, latency.weight) == (None, 0)
    assert "does not keep it either" in latency.text


@pytest.mark.parametrize(
    ("asked", "says"),
    [("SOC2", "API"), ("VendorLiability", "API"), ("BAA", None), ("RegionalEndpoint", None), ("ZeroRetention", None)],
)
def test_certificates_that_only_a_vendor_has_ask_for_one(asked: str, says: str | None):
    assert by_criterion(advice(certifications=[asked]))["certification"].says == says


@pytest.mark.parametrize(
    ("tokens", "models", "scale"),
    [
        (10**8, 1, "single model, low traffic"),
        (10**9, 1, "production, moderate traffic"),
        (10**8, 2, "multi-model, high traffic"),
    ],
)
def test_the_scale_of_a_team(tokens: int, models: int, scale: str):
    assert team_scale(tokens, models).scale == scale


def test_the_published_teams():
    assert [(people(scale.minimum), people(scale.recommended)) for scale in team_scales()] == [
        ("0.5 ML engineer", "1 ML engineer, 0.25 DevOps"),
        ("1 ML engineer, 0.5 DevOps", "2 ML engineer, 1 DevOps"),
        ("2 ML engineer, 1 DevOps", "4 ML engineer, 2 DevOps, 1 SRE"),
    ]


def test_engineers_of_one_kind_do_not_stand_in_for_another():
    scale = team_scale(10**9, 1)
    plenty = parse_needs({"tokensPerMonth": 1, "team": {"mlEngineers": 9}}).team
    assert people(missing(plenty, scale.minimum)) == "0.5 DevOps"


@pytest.mark.parametrize(
    ("changes", "answer", "steps"),
    [
        ({"data": "MustStay"}, "SelfHost", 1),
        ({"tokensPerMonth": 150_000_001}, "SelfHost", 2),
        ({"tokensPerMonth": 150_000_000}, "API", 3),
        ({"customWeights": True}, "SelfHost", 3),
        ({"offline": True}, "SelfHost", 3),
        ({}, "API", 3),
    ],
)
def test_the_flowchart(changes: dict[str, object], answer: str, steps: int):
    found, asked = flowchart(parse_needs({"tokensPerMonth": "1M"} | changes))
    assert (found, len(asked)) == (answer, steps)


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({}, []),
        ({"data": "MustStay"}, ["data residency"]),
        ({"tokensPerMonth": "3B"}, ["cost at scale"]),
        ({"firstToken": {"limitMilliseconds": 100}}, ["latency"]),
        ({"customWeights": True, "offline": True}, ["customisation", "offline"]),
    ],
)
def test_the_five_triggers(changes: dict[str, object], held: list[str]):
    found = triggers(parse_needs({"tokensPerMonth": "1M"} | changes))
    assert len(found) == 5
    assert [each.name for each in found if each.holds] == held


def test_between_equals_the_api_comes_first():
    assert decide(()).recommendation is Recommendation.API


def test_a_reason_that_only_weighs_rules_nothing_out():
    weighs = Reason(criterion="c", figure="f", says=Recommendation.SELF_HOST, weight=1, text="t")
    excludes = Reason(
        criterion="d",
        figure="f",
        says=None,
        weight=0,
        text="t",
        force=Force.EXCLUDES,
        excludes=frozenset({Recommendation.SELF_HOST}),
    )
    assert decide((weighs,)).recommendation is Recommendation.SELF_HOST
    assert decide((weighs, excludes)).recommendation is Recommendation.API


def test_self_hosting_that_is_full_before_it_pays_never_breaks_even():
    # a full unit serves 2.5B tokens a month, which cost $1,125 at $0.45 a million
    assert advice(cloud="OpenAI/gpt-4o-mini").figures.break_even_tokens_per_month is None
    assert round(advice().figures.break_even_tokens_per_month or 0) == 533_333_333


def test_a_measured_speed_replaces_the_stated_capacity():
    measured = advice("2B", selfHost={"tokensPerSecond": 500})
    assert measured.figures.units == 2  # 1.296B a month each
    assert not any("roofline" in warning for warning in advice(selfHost={"tokensPerSecond": 500}).warnings)


def test_a_capacity_above_the_roofline_is_warned_of():
    assert any("by the roofline this model serves at most" in warning for warning in advice().warnings)


def test_a_model_that_fits_no_machine_of_the_setup_is_told():
    given = advice(model={"uri": "hf://meta-llama/Llama-3.1-405B-Instruct", "precision": "SixteenBits"})
    assert given.figures.plan is None
    assert any("does not fit a machine of a100-80gb" in warning for warning in given.warnings)


def test_old_prices_are_warned_of():
    assert any(
        "look it up" in warning for warning in advise(parse_needs({"tokensPerMonth": 1}), date(2026, 6, 1)).warnings
    )
    assert not any("look it up" in warning for warning in advice().warnings)


@pytest.mark.parametrize(
    "changes",
    [{"cloud": "x"}, {"selfHost": {"setup": "x"}}, {"model": {"uri": "hf://a/b"}}, {"model": {"uri": "b"}}],
)
def test_what_is_not_known_is_refused(changes: dict[str, object]):
    with pytest.raises(InvalidObject):
        advice(**changes)
