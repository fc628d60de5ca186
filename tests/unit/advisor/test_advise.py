"""`spillway advise`, through the command line."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from spillway.advisor.needs import Needs
from spillway.api.v1alpha1 import parse_deployment
from spillway.cli import app
from spillway.report.ask import QUESTIONS, ask


def run(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["advise", *map(str, arguments)], input=stdin)


def told(*arguments: object, stdin: str | None = None) -> dict[str, object]:
    return json.loads(run(*arguments, "--json", stdin=stdin).output)


@pytest.mark.parametrize(
    ("name", "recommended"),
    [("startup", "API"), ("healthcare", "SelfHost"), ("ecommerce", "Hybrid"), ("trading", "SelfHost")],
)
def test_json_carries_the_recommendation_of_each_case(name: str, recommended: str):
    found = told("--scenario", name)
    assert found["recommendation"] == recommended
    assert {"criterion", "figure", "says", "weight", "text"} <= set(found["reasons"][0])


def test_json_has_dollars_as_strings_to_the_cent():
    costs = told("--needs", "-", stdin="tokensPerMonth: 1B")["costs"]
    assert (costs["apiUsdPerMonth"], costs["selfHostUsdPerMonth"]) == ("7500.00", "4000.00")
    assert (costs["savedUsdPerMonth"], costs["breakEvenTokensPerMonth"]) == ("3500.00", 533_333_333)


def test_needs_that_json_prints_can_be_asked_with_again():
    first = told("--scenario", "trading")
    again = told("--needs", "-", stdin=json.dumps(first["needs"]))
    assert again == first


def test_the_table_has_every_reason_with_its_figure_and_weight():
    printed = " ".join(run("--scenario", "healthcare").output.split())
    for said in (
        "healthcare: SelfHost (API ruled out, Hybrid ruled out, SelfHost 7)",
        "API $1,500.00",
        "MustStay",
        "3 !",
    ):
        assert said in printed


def test_a_hybrid_is_printed_with_objects_that_apply():
    printed = run("--scenario", "ecommerce").output
    text = printed[printed.index("apiVersion:") : printed.index("note:")]
    assert parse_deployment(yaml.safe_load(text)).metadata.name == "ecommerce"
    objects = told("--scenario", "ecommerce")["patterns"][0]["objects"]
    assert objects[0] == yaml.safe_load(text)


def test_nothing_is_coloured_when_it_is_piped():
    command = [sys.executable, "-m", "spillway", "advise", "--scenario", "ecommerce"]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    assert b"Hybrid" in printed
    assert b"\x1b" not in printed


def test_prices_of_ones_own_replace_those_that_come_along(tmp_path: Path):
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        '- {provider: Acme, model: big, inputUsdPerMillion: "1", outputUsdPerMillion: "1", source: s, date: 2026-01-01}'
    )
    needs = "tokensPerMonth: 1B\ncloud: big"
    assert told("--needs", "-", "--prices", prices, stdin=needs)["costs"]["apiUsdPerMonth"] == "1000.00"
    refused = run("--needs", "-", "--prices", prices, stdin="tokensPerMonth: 1B")
    assert "state one of Acme/big" in str(refused.exception)


def test_setups_of_ones_own_replace_those_that_come_along(tmp_path: Path):
    setups = tmp_path / "setups.yaml"
    ours = (
        "- {name: ours, accelerator: l40s-48gb, accelerators: 2, capacityTokensPerMonth: 1000000000,"
        ' cost: {kind: Rented, usdPerHour: "2.50"}, source: quotation, date: 2026-11-01}'
    )
    setups.write_text(ours)
    needs = "tokensPerMonth: 3B\nselfHost: {setup: ours}"
    found = told("--needs", "-", "--setups", setups, stdin=needs)
    assert (found["costs"]["units"], found["costs"]["selfHostUsdPerMonth"]) == (3, "5400.00")
    assert [row["setup"] for row in found["plots"]["bySetup"]] == ["ours"]
    refused = run("--needs", "-", "--setups", setups, stdin="tokensPerMonth: 1B")
    assert "selfHost.setup: there is no setup 'rented-a100'; state one of ours" in str(refused.exception)
    for text, said in (
        (f"{ours}\n{ours}", "setups: ours is there twice"),
        ("[]", "setups: the file holds none"),
        (ours.replace('"2.50"', "0"), "setups[0].cost.Rented.usdPerHour: input should be greater than 0"),
    ):
        setups.write_text(text)
        assert said in str(run("--needs", "-", "--setups", setups, stdin=needs).exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--needs: there is no file, and no terminal to ask on; state it, or --scenario startup|healthcare|"),
        (["--scenario", "bank"], "--scenario: there is no scenario 'bank'; state one of startup, healthcare"),
        (["--scenario", "startup", "--needs", "x.yaml"], "--scenario: there is --needs as well"),
        (["--needs", "nowhere.yaml"], "--needs: nowhere.yaml cannot be read"),
        (["--scenario", "startup", "--prices", "nowhere.yaml"], "--prices: nowhere.yaml cannot be read"),
    ],
)
def test_options_that_cannot_be_used_are_named(arguments: list[str], said: str):
    assert said in str(run(*arguments, stdin="").exception)


def test_an_error_is_one_message_with_the_field_and_the_choices():
    command = [sys.executable, "-m", "spillway", "advise", "--needs", "-"]
    done = subprocess.run(command, input="tokensPerMonth: 1M\ndata: No", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: data: input should be 'MayLeave', 'Varies', 'PartMustStay' or 'MustStay'")
    assert "Traceback" not in done.stderr


def test_help_has_an_example():
    assert "Example: echo 'tokensPerMonth: 2B' | spillway advise --needs -" in run("--help").output


def answered(*answers: str) -> tuple[Needs, list[str]]:
    lines: Iterator[str] = iter(answers)
    complaints: list[str] = []
    return ask(lambda _: next(lines, ""), complaints.append), complaints


def test_questions_make_needs():
    needs, complaints = answered("2B", "", "200", "Varies", "5", "500", "10", "true")
    assert not complaints
    assert (needs.tokens_per_month, needs.request.prompt_tokens, needs.request.answer_tokens) == (2 * 10**9, 500, 200)
    assert (needs.data, needs.traffic.peak_to_average, needs.custom_weights) == ("Varies", 5, True)
    assert needs.first_token is not None
    assert needs.first_token.limit_milliseconds == 500


def test_an_answer_that_cannot_be_used_is_asked_for_again():
    needs, complaints = answered("", "many", "-1", "50M")
    assert needs.tokens_per_month == 50_000_000
    assert len(complaints) == 3
    assert all(complaint.startswith("tokensPerMonth: ") for complaint in complaints)


def test_every_question_has_a_field_and_its_default():
    assert len({question.field for question in QUESTIONS}) == len(QUESTIONS)
    asked, _ = answered("50M", *(question.default for question in QUESTIONS[1:]))
    plain, _ = answered("50M")
    assert asked == plain


def test_on_a_terminal_it_asks():
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "spillway", "advise", "--json"]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.write(ours, b"2B\n" + b"\n" * (len(QUESTIONS) - 1))
    printed, asked = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert json.loads(printed)["needs"]["tokensPerMonth"] == 2 * 10**9
    assert "Tokens a month" in asked
