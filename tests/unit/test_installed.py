"""The rights that an installed operator must not have are seen, and it is given names for just what it makes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from crd_cases import DEPLOYMENT, changed
from helm_program import ROOT
from installed import OURS, Right, too_much
from spillway.api.v1alpha1 import parse_deployment
from spillway.controller.cluster import path_of
from spillway.render import RenderSettings, render_namespace


@pytest.mark.parametrize(
    ("resource", "names", "verbs", "is_too_much"),
    [
        ("rolebindings.rbac.authorization.k8s.io", "", "list create", False),
        ("rolebindings.rbac.authorization.k8s.io", "spillway-gateway spillway-gateway-namespaced", "patch", False),
        ("rolebindings.rbac.authorization.k8s.io", "", "patch", True),
        ("rolebindings.rbac.authorization.k8s.io", "", "list create delete", True),
        ("rolebindings.rbac.authorization.k8s.io", "spillway-gateway admins", "patch", True),
        ("networkpolicies.networking.k8s.io", "spillway-engine", "patch delete", False),
        ("networkpolicies.networking.k8s.io", "spillway-engine", "deletecollection", True),
        ("networkpolicies.networking.k8s.io", "", "update", True),
        ("poddisruptionbudgets.policy", "", "delete", True),
        ("serviceaccounts", "", "patch", True),
        ("serviceaccounts/token", "", "create", True),
        ("services", "", "patch delete", False),
    ],
)
def test_a_right_to_change_what_is_anothers_is_too_much(resource: str, names: str, verbs: str, is_too_much: bool):
    assert bool(too_much({Right(resource, "", names, tuple(verbs.split()))})) == is_too_much


def test_the_operator_may_change_by_name_all_that_it_makes_for_a_namespace():
    every_kind = [
        parse_deployment(
            changed(DEPLOYMENT, {"metadata.namespace": "models", "metadata.name": name, "spec.cache": cache})
        )
        for name, cache in (("one", {"mode": "Ephemeral"}), ("two", {"mode": "PersistentVolume"}))
    ]
    made: dict[str, set[str]] = {}
    for namespaced in (False, True):
        manifests: tuple[Any, ...] = render_namespace(
            "models", every_kind, RenderSettings(image="x", namespaced=namespaced)
        )
        for manifest in manifests:
            _, _, plural = path_of(manifest["kind"], "").rpartition("/")
            if plural in OURS:
                made.setdefault(plural, set()).add(manifest["metadata"]["name"])
    roles = yaml.safe_load_all((ROOT / "manifests/base/operator-rbac.yaml").read_text())
    (rules,) = [
        it["rules"] for it in roles if (it["kind"], it["metadata"]["name"]) == ("ClusterRole", "spillway-operator")
    ]
    named = {
        resource: set(rule["resourceNames"])
        for rule in rules
        for resource in rule["resources"]
        if "resourceNames" in rule and "bind" not in rule["verbs"]
    }
    assert made == named == OURS
