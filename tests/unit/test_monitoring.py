"""Alerts and dashboard: they ask for what gateways and engines really tell, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

import promql
from go_programs import go_program
from helm_program import CHART, ROOT, rendered
from spillway.gateway.metrics import Metrics
from spillway.routing.outcomes import Outcome, Place, Reason
from spillway.simulator.engine.batching import Coefficients
from spillway.simulator.engine.metrics import Metrics as EngineMetrics

COEFFICIENTS = Coefficients(0.019, 0.00023, 0.0001, 5e-8, 512, 256, 250_000)
RULES = CHART / "files" / "rules.yaml"
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text())
# What Prometheus adds to each series of a PodMonitor, and the series `up` of each pod.
# https://prometheus-operator.dev/docs/developer/getting-started/
SCRAPED = frozenset({"namespace", "pod", "container", "endpoint", "instance", "job"})
# By the relabelling of the PodMonitor of engines.
OF_ENGINES = frozenset({"deployment"})
WORDS = {
    "place": {word.value for word in Place},
    "reason": {word.value for word in Reason},
    "outcome": {word.value for word in Outcome} | {"ok", "failed", "malformed"},
    "told_by": {"self", "others"},
}


def series() -> Mapping[str, frozenset[str]]:
    """The labels of each series that there is."""
    known = {"up": SCRAPED}
    for one in Metrics(lambda: 0.0).listed:
        labels = SCRAPED | set(one.labels)
        names = {one.name} if one.kind != "histogram" else {f"{one.name}_{part}" for part in ("bucket", "sum", "count")}
        known |= {name: labels | {"le"} if name.endswith("_bucket") else labels for name in names}
    engine = EngineMetrics("chat", COEFFICIENTS, max_model_len=8192, utilization=0.9)
    for family in text_string_to_metric_families(generate_latest(engine.registry).decode()):
        for sample in family.samples:
            known[sample.name] = known.get(sample.name, SCRAPED | OF_ENGINES) | set(sample.labels)
    return known


def alerts() -> Iterator[tuple[str, str]]:
    """The name and expression of each alert."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def panels() -> Iterator[tuple[str, str]]:
    """Each query of the dashboard, with Grafana's variables put in, and those variables' own."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], re.sub(r"\$__\w+", "5m", target["expr"])
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
            assert asked, variable["definition"]
            yield variable["label"], f"sum by ({asked[2]}) ({asked[1]})"


QUERIES = [*alerts(), *panels()]


def unknown(text: str, known: Mapping[str, frozenset[str]]) -> list[str]:
    """What a query asks for and nobody tells."""
    query = promql.read(text)
    wrong = [f"metric {one.metric}" for one in query.selectors if one.metric not in known]
    for one in query.selectors:
        labels = known.get(one.metric, frozenset())
        used = {label for label, _, _ in one.matchers} | query.grouped_by
        wrong += [f"label {label} of {one.metric}" for label in sorted(used - labels)]
        for label, _, value in one.matchers:
            words = value.split("|") if label in WORDS else []
            wrong += [f"{label} {word!r}" for word in words if word not in WORDS[label]]
    return wrong if query.selectors else ["no metric at all"]


@pytest.mark.parametrize(("name", "query"), QUERIES, ids=[name for name, _ in QUERIES])
def test_what_a_query_asks_for_is_told(name: str, query: str):
    assert unknown(query, series()) == []


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("rate(spillway_request_total[5m])", ["metric spillway_request_total"]),
        ('sum(spillway_requests_total{plaice="cloud"})', ["label plaice of spillway_requests_total"]),
        ("sum by (model) (spillway_requests_total) > 1", ["label model of spillway_requests_total"]),
        ('spillway_requests_total{reason="Tired"} / 2', ["reason 'Tired'"]),
        (
            "histogram_quantile(0.5, sum by (le) (rate(vllm:time_to_first_token_seconds_sum[5m])))",
            ["label le of vllm:time_to_first_token_seconds_sum"],
        ),
        ("vector(1)", ["no metric at all"]),
    ],
)
def test_what_nobody_tells_is_found(query: str, wrong: list[str]):
    assert unknown(query, series()) == wrong


def test_everything_that_gateways_tell_is_on_the_dashboard():
    asked = {one.metric for _, query in panels() for one in promql.read(query).selectors}
    names = {one.name if one.kind != "histogram" else f"{one.name}_bucket" for one in Metrics(lambda: 0.0).listed}
    assert names - asked == set()


def test_an_alerts_words_mention_labels_that_it_has():
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            query = promql.read(rule["expr"])
            has = query.grouped_by or SCRAPED
            text = " ".join(rule["annotations"].values())
            assert set(re.findall(r"\$labels\.(\w+)", text)) <= has, rule["alert"]


def test_the_dashboard_is_one_that_grafana_takes():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(DASHBOARD["panels"]))) <= variables
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies over another"
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]


@pytest.mark.parametrize("page", [False, True], ids=["the chart's", "the page's"])
def test_prometheus_takes_the_rules_and_they_fire_when_they_should(tmp_path: Path, page: bool):
    rules, tests = RULES, ROOT / "tests/data/rules_test.yaml"
    if page:
        (text,) = re.findall(r"```yaml\n(groups:.*?)```", (ROOT / "docs/observability.md").read_text(), re.DOTALL)
        rules, tests = tmp_path / "kube_state_rules.yaml", tmp_path / "kube_state_rules_test.yaml"
        rules.write_text(text)
        tests.write_text((ROOT / "tests/data" / tests.name).read_text())
    for arguments in (["check", "rules", "--lint-fatal", "--lint=all", str(rules)], ["test", "rules", str(tests)]):
        done = subprocess.run(
            [go_program("promtool"), *arguments], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_to_fire_and_to_be_quiet():
    tests = yaml.safe_load((ROOT / "tests/data/rules_test.yaml").read_text())["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    names = {name for name, _ in alerts()}
    assert {check["alertname"] for check in checks if check["exp_alerts"]} == names
    assert {check["alertname"] for check in checks if not check["exp_alerts"]} == names


def monitored(home: Path, *options: str) -> list[dict[str, Any]]:
    kinds = {"PodMonitor", "PrometheusRule"}
    return [document for document in rendered(home, *options) if document["kind"] in kinds]


def test_monitors_and_alerts_are_there_where_their_kinds_are(tmp_path: Path):
    there = "--api-versions=monitoring.coreos.com/v1"
    assert monitored(tmp_path) == []
    assert len(monitored(tmp_path, there)) == 3
    assert monitored(tmp_path, there, "--set=monitoring.prometheusOperator=Never") == []
    assert len(monitored(tmp_path, "--set=monitoring.prometheusOperator=Always")) == 3


def test_the_prometheus_operator_knows_every_field_of_them(tmp_path: Path):
    documents = monitored(tmp_path, "--set=monitoring.prometheusOperator=Always")
    overlay = ROOT / "manifests" / "overlays" / "monitoring"
    files = [yaml.safe_load_all((overlay / name).read_text()) for name in ("podmonitors.yaml", "rules.yaml")]
    both = [documents, [document for file in files for document in file]]
    for made in both:
        text = yaml.safe_dump_all(made).removeprefix("---\n")
        program = go_program("prometheus-operator-read", "prometheus-operator")
        done = subprocess.run([program], input=text, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    specs = [{document["metadata"]["name"]: document["spec"] for document in made} for made in both]
    assert specs[0] == specs[1], "the overlay has what the chart has"


def test_for_listed_namespaces_their_pods_alone_are_looked_for(tmp_path: Path):
    made = monitored(tmp_path, "--set=monitoring.prometheusOperator=Always", "--set=watchNamespaces={team-a,team-b}")
    selectors = [document["spec"].get("namespaceSelector") for document in made]
    assert selectors == [{"matchNames": ["team-a", "team-b"]}, {"matchNames": ["team-a", "team-b"]}, None]


def test_the_dashboard_of_a_release_is_the_file(tmp_path: Path):
    made = [
        document
        for document in rendered(tmp_path, "--set=monitoring.dashboard.create=true")
        if document["metadata"]["name"] == "spillway-dashboard"
    ]
    assert json.loads(made[0]["data"]["spillway.json"]) == DASHBOARD
    assert made[0]["metadata"]["labels"]["grafana_dashboard"] == "1"
