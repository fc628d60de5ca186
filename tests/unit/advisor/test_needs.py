"""What is needed: how it is written, and what is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest

from spillway.advisor.needs import Needs, parse_needs, read_needs
from spillway.errors import InvalidObject


@pytest.mark.parametrize(
    ("written", "tokens"),
    [("50M", 50_000_000), ("2B", 2 * 10**9), ("1.5b", 15 * 10**8), ("500K", 500_000), (7, 7), ('"10,000,000"', 10**7)],
)
def test_tokens_are_written_as_people_write_them(written: object, tokens: int):
    assert read_needs(f"tokensPerMonth: {written}").tokens_per_month == tokens


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("{}", "tokensPerMonth", "field required; state it, such as tokensPerMonth: 50M"),
        ("tokensPerMonth: -5", "tokensPerMonth", "greater than or equal to 1 (it is -5)"),
        ("tokensPerMonth: 0", "tokensPerMonth", "greater than or equal to 1"),
        ("tokensPerMonth: 2000T", "tokensPerMonth", "less than or equal to 1000000000000000"),
        ("tokensPerMonth: lots", "tokensPerMonth", '"500K", "50M" or "2B" (it is \'lots\')'),
        ("tokensPerMonth: 1.5", "tokensPerMonth", "valid integer"),
        ("tokensPerMonth: true", "tokensPerMonth", "valid integer"),
        ("tokensPerMonth: 1M\ndata: Secret", "data", "'MayLeave', 'Varies', 'PartMustStay' or 'MustStay'"),
        ("tokensPerMonth: 1M\nteam: {ops: 1}", "team.ops", "the fields here are mlEngineers, devOps, sre"),
        ("tokensPerMonth: 1M\nfoo: 1", "foo", "the fields here are name, tokensPerMonth, request"),
        ("tokensPerMonth: 1M\nteam: {devOps: -1}", "team.devOps", "greater than or equal to 0"),
        ("tokensPerMonth: 1M\nfrontierPercent: 101", "frontierPercent", "less than or equal to 100"),
        ("tokensPerMonth: 1M\nfrontierPercent: .nan", "frontierPercent", "finite"),
        ("tokensPerMonth: 1M\ntraffic: {peakToAverage: 0.5}", "traffic.peakToAverage", "greater than or equal to 1"),
        ("tokensPerMonth: 1M\nrequest: {promptTokens: 5, cachedPromptTokens: 6}", "request", "at most promptTokens"),
        ("tokensPerMonth: 1M\nfirstToken: {limitMilliseconds: 0}", "firstToken.limitMilliseconds", "or equal to 1"),
        ("tokensPerMonth: 1M\nfirstToken: {limitMilliseconds: 9, percentile: 100}", "firstToken.percentile", "99.99"),
        ("tokensPerMonth: 1M\ncertifications: [ISO]", "certifications[0]", "'SOC2', 'BAA', 'VendorLiability'"),
        ("tokensPerMonth: 1M\nselfHost: {tokensPerSecond: 0}", "selfHost.tokensPerSecond", "or equal to 1"),
        ("tokensPerMonth: 1M\nname: a-engine", "name", "not end with -engine"),
        ("- 1", "needs", "no mapping"),
        ("{", "needs", "no YAML"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_field_with_the_choices(text: str, field: str, said: str):
    with pytest.raises(InvalidObject) as caught:
        read_needs(text)
    assert caught.value.field == field
    assert said in str(caught.value)


def test_only_the_volume_has_to_be_stated():
    needs = read_needs("tokensPerMonth: 50M")
    assert (needs.cloud, needs.self_host.setup, needs.frontier_percent) == ("OpenAI/gpt-4o", "rented-a100", Decimal(0))


def test_requests_a_second_are_the_tokens_over_those_of_a_request():
    needs = parse_needs({"tokensPerMonth": 30 * 86_400 * 300, "request": {"promptTokens": 200, "answerTokens": 100}})
    assert needs.requests_per_second == pytest.approx(1)


def test_needs_survive_being_written_and_read():
    needs = read_needs("tokensPerMonth: 2B\nteam: {mlEngineers: 0.5}\nfirstToken: {limitMilliseconds: 200}")
    assert Needs.model_validate(needs.model_dump(mode="json", by_alias=True)) == needs
