"""What a cluster asks of the chart's pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_values import EVERY_VALUE
from helm_program import rendered, template

OPERATOR = "--show-only=templates/operator.yaml"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Helm keeps what it keeps."""
    return tmp_path_factory.mktemp("helm")


def operator_pod(made: list[dict[str, Any]]) -> dict[str, Any]:
    (deployment,) = [one for one in made if one["kind"] == "Deployment"]
    return deployment["spec"]["template"]


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
