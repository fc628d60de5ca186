"""What a cluster asks of the chart's pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from chart_values import EVERY_VALUE
from helm_program import hooks_of_test, rendered, template

OPERATOR = "--show-only=templates/operator.yaml"


def operator_pod(made: list[dict[str, Any]]) -> dict[str, Any]:
    (deployment,) = [one for one in made if one["kind"] == "Deployment"]
    return deployment["spec"]["template"]


def test_the_pod_of_helm_test_runs_where_the_operator_does_and_may_only_list(tmp_path: Path):
    for served in ([], ["team-a", "team-b"]):
        made = rendered(tmp_path, values={**EVERY_VALUE, "watchNamespaces": served})
        operator = operator_pod(made)["spec"]
        (test,) = [one["spec"] for one in made if one["kind"] == "Pod"]
        for key in ("nodeSelector", "tolerations", "affinity", "securityContext", "imagePullSecrets"):
            assert test[key] == operator[key]
        assert test["containers"][0]["securityContext"] == operator["containers"][0]["securityContext"]
        hooks = hooks_of_test(made)
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


def test_what_somebody_adds_to_the_pod_takes_nothing_from_it(tmp_path: Path):
    checksum, component = "spillway.dev/profiles-checksum", "app.kubernetes.io/component"
    mine = {"podAnnotations": {checksum: "mine", "a": "b"}, "podLabels": {component: "mine", "a": "b"}}
    text = template(tmp_path, OPERATOR, values={"operator": mine}).stdout
    assert text.count(checksum) == 1
    found, before = (operator_pod(made)["metadata"] for made in ([yaml.safe_load(text)], rendered(tmp_path, OPERATOR)))
    assert found == {key: {**before[key], "a": "b"} for key in ("annotations", "labels")}
