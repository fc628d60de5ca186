"""What a cluster asks of the chart's pods, and what of their settings the schema cannot refuse."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_values import EVERY_VALUE
from helm_program import rendered, template
from spillway.errors import InvalidSetting
from spillway.settings import read_settings

OPERATOR = "--show-only=templates/operator.yaml"
NETWORKS = (
    *("0.0.0.0/0", "10.0.0.0/8", "10.64.0.0/10", "203.0.113.128/25", "1.2.3.4/32"),
    *(
        "10.0.0.1/8",
        "10.64.0.0/9",
        "203.0.113.128/24",
        "1.2.3.4/31",
        "256.0.0.0/8",
        "10.0.0/8",
        "010.0.0.0/8",
        "1.2.3.4/33",
    ),
    *(
        "::/0",
        "2001:db8::/32",
        "fe80::/10",
        "fe80::10/124",
        "1:2:3:4:5:6:7:8/128",
        "1:2:3:4:5:6:7:0/112",
        "::1/128",
        "a::/15",
    ),
    *("2001:db8::1/32", "fe80::11/124", "::1/0", "1::/15", "1:2:3:4:5:6:7:8/127", "::/129", "1::2::3/128", "1:2:3/128"),
    *("1:2:3:4:5:6:7:8:9/128", "1:2:3:4:5:6:7::8/128", ":::/128", "12345::/128", "1:2:3:4::5:6:7:8/128"),
)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Helm keeps what it keeps."""
    return tmp_path_factory.mktemp("helm")


def operator_pod(made: list[dict[str, Any]]) -> dict[str, Any]:
    (deployment,) = [one for one in made if one["kind"] == "Deployment"]
    return deployment["spec"]["template"]


def is_network(text: str) -> bool:
    try:
        read_settings({"SPILLWAY_EGRESS_CIDRS": text})
    except InvalidSetting:
        return False
    return True


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_is_refused_where_the_operator_would_refuse_it_at_its_start(home: Path, network: str):
    done = template(home, OPERATOR, values={"egress": {"cidrs": [network]}})
    assert (done.returncode == 0) == is_network(network), done.stderr
    if cure := re.search(r"write (\S+), or (\S+) for", done.stderr):
        assert [ip_network(cure[1]), ip_network(cure[2])] == [
            ip_network(network, strict=False),
            ip_network(network.partition("/")[0]),
        ]


def test_the_pod_of_helm_test_runs_where_the_operator_does_and_may_only_list(home: Path):
    for served in ([], ["team-a", "team-b"]):
        made = rendered(home, values={**EVERY_VALUE, "watchNamespaces": served})
        operator = operator_pod(made)["spec"]
        (test,) = [one["spec"] for one in made if one["kind"] == "Pod"]
        for key in ("nodeSelector", "tolerations", "affinity", "securityContext", "imagePullSecrets"):
            assert test[key] == operator[key]
        assert test["containers"][0]["securityContext"] == operator["containers"][0]["securityContext"]
        hooks = [one for one in made if one["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"]
        roles = [one for one in hooks if one["kind"] in {"Role", "ClusterRole"}]
        assert [role["metadata"].get("namespace") for role in roles] == (served or [None])
        for role in roles:
            assert role["rules"] == [
                {"apiGroups": ["spillway.dev"], "resources": ["llmdeployments"], "verbs": ["list"]}
            ]
        account = {"kind": "ServiceAccount", "name": test["serviceAccountName"], "namespace": "spillway-system"}
        assert [one["subjects"] for one in hooks if one["kind"].endswith("Binding")] == [[account]] * len(roles)
        (made_for_it,) = [one["metadata"]["name"] for one in hooks if one["kind"] == "ServiceAccount"]
        assert made_for_it == account["name"]


def test_what_somebody_adds_to_the_pod_takes_nothing_from_it(home: Path):
    checksum, component = "spillway.dev/profiles-checksum", "app.kubernetes.io/component"
    mine = {"podAnnotations": {checksum: "mine", "a": "b"}, "podLabels": {component: "mine", "a": "b"}}
    text = template(home, OPERATOR, values={"operator": mine}).stdout
    assert text.count(checksum) == 1
    found, before = (operator_pod(made)["metadata"] for made in ([yaml.safe_load(text)], rendered(home, OPERATOR)))
    assert found == {key: {**before[key], "a": "b"} for key in ("annotations", "labels")}
