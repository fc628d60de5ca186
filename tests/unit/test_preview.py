"""`spillway plan`, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from spillway.cli import app

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"
TOO_BIG = {
    "apiVersion": "spillway.dev/v1alpha1",
    "kind": "LLMDeployment",
    "metadata": {"name": "big"},
    "spec": {
        "model": {"uri": "hf://meta-llama/Llama-3.1-70B-Instruct"},
        "accelerator": {"profile": "l4-24gb", "count": 1},
    },
}


def plan(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, arguments)], input=stdin)


def with_spec(**spec: object) -> str:
    return yaml.safe_dump(TOO_BIG | {"spec": TOO_BIG["spec"] | spec})  # type: ignore[operator] # a mapping


def test_the_table_shows_every_term_and_what_is_left():
    printed = plan(SAMPLES / "chat.yaml").output
    for said in (
        "hf://Qwen/Qwen2.5-7B-Instruct-AWQ",
        "7.62B parameters, 28 layers, 4 KV heads of 128",
        "1 x l4-24gb (the fewest that fit, of 8 on a node)",
        "weights                 5.19",
        "activations",
        "runtime",
        "cache of one request",
        "needed",
        "22 x 0.92",
        "cache for more requests",
        "requests of full length at once",
    ):
        assert said in printed


def test_more_requests_take_more_cache():
    one, many = (
        json.loads(plan(SAMPLES / "chat.yaml", "-o", "json", *more).output)[0] for more in ((), ("--requests", 8))
    )
    assert many["memoryPerAccelerator"]["terms"][-1]["name"] == "cache of 8 requests"
    assert many["memoryPerAccelerator"]["neededBytes"] > one["memoryPerAccelerator"]["neededBytes"]


def test_json_holds_what_the_table_shows_in_bytes():
    (told,) = json.loads(plan(SAMPLES / "chat.yaml", "-o", "json").output)
    memory = told["memoryPerAccelerator"]
    assert (told["name"], told["namespace"], told["accelerators"], told["fits"]) == ("chat", "default", 1, True)
    assert sum(term["bytes"] for term in memory["terms"]) == memory["neededBytes"] <= memory["availableBytes"]
    assert told["kvCacheTokens"] / told["contextLength"] == pytest.approx(told["fullLengthRequests"], abs=0.01)
    assert told["weightsAlone"]["deviceGigabytes"] == 8


def test_cost_stands_beside_sizing_in_the_table_and_in_json():
    printed = plan(SAMPLES / "chat.yaml").output
    for said in (
        "$1.40 an hour, $1,008.00 a month: 2 replicas of 1 x l4-24gb",
        "the most by the roofline",
        "$7.50 a million tokens at openai, gpt-4o",
        "4.48M tokens a day",
        "with requests of 500 and answers of 1000 tokens",
    ):
        assert said in printed
    (told,) = json.loads(plan(SAMPLES / "chat.yaml", "-o", "json").output)
    cost = told["cost"]
    assert (cost["hourlyUsd"], cost["monthlyUsd"], cost["cloudUsdPerMillionTokens"]) == ("1.40", "1008.00", "7.50")
    assert cost["breakEvenTokensPerDay"] == 4_480_000
    for share in cost["localUsdPerMillionTokens"]:
        at_all = 33.60 * 10**6 / (cost["mostTokensPerDay"] * share["utilizationPercent"] / 100)
        assert float(share["usd"]) == pytest.approx(at_all, abs=0.005)


def test_cost_says_what_it_lacks():
    printed = plan("-", stdin=with_spec(accelerator={"profile": "cpu"}, engine={"type": "Ollama"})).output
    assert "not known: state hourlyCost in the profile cpu" in printed
    assert "no target of fallback states a price" in printed


def test_a_break_even_that_cannot_be_reached_is_told():
    document = yaml.safe_load((SAMPLES / "chat.yaml").read_text())
    document["spec"]["fallback"]["targets"][0]["price"] = {
        "inputPerMillionTokens": "0.01",
        "outputPerMillionTokens": "0.01",
    }
    assert "more than that: the target always costs less" in plan("-", stdin=yaml.safe_dump(document)).output


def test_yaml_is_the_manifests_and_nothing_else():
    printed = plan(SAMPLES / "chat.yaml", "-o", "yaml", "-n", "team").output
    objects = list(yaml.safe_load_all(printed))
    names = {(each["kind"], each["metadata"]["name"]) for each in objects}
    assert {("Deployment", "chat-engine"), ("LLMLedger", "chat"), ("Deployment", "spillway-gateway")} <= names
    assert {each["metadata"]["namespace"] for each in objects} == {"team"}


def test_the_manifests_are_those_that_an_operator_of_these_settings_would_apply(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPILLWAY_HUB_ENDPOINT", "https://hub.example.internal")
    monkeypatch.setenv("SPILLWAY_EGRESS_PROXY_URL", "http://10.0.0.9:3128")
    monkeypatch.setenv("SPILLWAY_MONITORING_NAMESPACES", "watching")
    printed = plan(SAMPLES / "chat.yaml", "-o", "yaml").output
    assert "https://hub.example.internal" in printed
    assert "http://10.0.0.9:3128" in printed
    assert "- watching" in printed


def test_manifests_may_follow_the_table():
    printed = plan(SAMPLES / "chat.yaml", "--manifests").output
    assert printed.index("needed") < printed.index("kind: LLMLedger")


def test_several_objects_of_one_file_share_a_gateway():
    text = "---\n".join((SAMPLES / f"{name}.yaml").read_text() for name in ("minimal", "chat"))
    assert [each["name"] for each in json.loads(plan("-", "-o", "json", stdin=text).output)] == ["qwen-7b", "chat"]
    objects = list(yaml.safe_load_all(plan("-", "-o", "yaml", stdin=text).output))
    assert [each["metadata"]["name"] for each in objects if each["kind"] == "Deployment"] == [
        "qwen-7b-engine",
        "chat-engine",
        "spillway-gateway",
    ]


def test_a_model_that_does_not_fit_is_shown_with_the_changes_that_help():
    result = plan("-", stdin=with_spec())
    assert result.exit_code == 0
    assert "missing" in result.output
    assert "does not fit: spec.accelerator: the model needs" in result.output
    assert "set spec.accelerator.count to 8" in " ".join(result.output.split())


def test_a_model_that_must_fit_is_shown_and_refused_and_nothing_would_be_applied():
    result = plan("-", "--manifests", stdin=with_spec(memoryCheck="Enforce"))
    assert (result.exit_code, type(result.exception).__name__) == (1, "InvalidObject")
    assert str(result.exception).startswith("big: spec.accelerator: the model needs")
    assert "missing" in result.output
    assert "kind:" not in result.output


def test_a_model_of_unknown_size_is_shown_as_such():
    text = with_spec(model={"uri": "hf://someone/foo"})
    assert "not at all: nothing tells its size" in plan("-", stdin=text).output
    (told,) = json.loads(plan("-", "-o", "json", stdin=text).output)
    assert (told["parameters"], told["kvCacheTokens"], told["fits"], told["weightsAlone"]) == (None, None, None, None)


def test_ollama_is_shown_on_a_processor():
    spec = {"model": {"uri": "ollama://llama3.2:1b"}, "engine": {"type": "Ollama"}, "accelerator": {"profile": "cpu"}}
    lines = plan("-", stdin=with_spec(**spec)).output.splitlines()
    shown = {line.split("  ")[0].strip(): " ".join(line.split()) for line in lines if line.strip()}
    assert shown["runs on"] == "runs on profile cpu"
    assert shown["cache"] == "cache 16384 tokens: 2.0 requests of full length at once"
    assert shown["rule of thumb"].startswith("rule of thumb 1.3 GB of weights alone")
    assert shown["available"] == "available 16.00 16"
    assert shown["left"] == "left 14.12 not used"


def test_a_guess_says_that_it_is_one():
    printed = plan("-", stdin=with_spec(model={"uri": "hf://someone/foo-9b"})).output
    assert "9.00B parameters" in printed
    assert "(the size in its name; the rest is that of a known model of that size)" in printed


def test_the_administrators_profiles_are_taken(tmp_path: Path):
    profiles = tmp_path / "profiles.yaml"
    profiles.write_text("- {name: l4-24gb, memoryGiB: 180}\n")
    (told,) = json.loads(plan("-", "-o", "json", "--profiles-file", profiles, stdin=with_spec()).output)
    assert told["fits"] is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (with_spec(contextLength=5), "big: spec.contextLength"),
        (with_spec(accelerator={"profile": "h999"}), "big: spec.accelerator.profile: there is no accelerator profile"),
        (
            with_spec(model={"uri": "hf://someone/foo"}, accelerator={"profile": "l4-24gb"}),
            "state spec.model.parameters",
        ),
        ("kind: Pod", "holds no object of kind LLMDeployment"),
        ("- {", "is no YAML"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, said: str):
    result = plan("-", stdin=text)
    assert result.exit_code == 1
    assert said in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.yaml"], "FILE: nowhere.yaml cannot be read"),
        ([SAMPLES / "chat.yaml", "-o", "xml"], "--output: 'xml' is not one of table, json, yaml"),
        ([SAMPLES / "chat.yaml", "--profiles-file", "nowhere.yaml"], "--profiles-file: nowhere.yaml cannot be read"),
    ],
)
def test_options_that_cannot_be_used_are_named(arguments: list[object], said: str):
    assert said in str(plan(*arguments).exception)


def test_an_error_is_one_message_without_a_trace():
    command = [sys.executable, "-m", "spillway", "plan", "nowhere.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: FILE: nowhere.yaml cannot be read")
    assert "Traceback" not in done.stderr


def test_help_has_an_example():
    assert "Example: spillway plan" in plan("--help").output


def test_a_claim_that_is_too_small_for_the_model_is_told():
    spec = with_spec(accelerator={"profile": "h100-80gb"})
    assert "will not fit on its claim: spec.cache.size: 50Gi is less than the 131 GiB" in plan("-", stdin=spec).output
    (printed,) = json.loads(plan("-", "-o", "json", stdin=spec).output)
    assert printed["cacheWarning"].startswith("spec.cache.size: 50Gi")
