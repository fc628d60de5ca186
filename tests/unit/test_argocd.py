"""What is offered to Argo CD: statuses as the operator writes them, and examples that lead to what there is."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from argocd_health import CASES, health_test, live

ARGOCD = Path(__file__).parents[2] / "manifests" / "argocd"
MANIFESTS = (ARGOCD / "application.yaml", ARGOCD / "applicationset.yaml")
GOLDEN = {
    "health_test.yaml": health_test(),
    **{f"testdata/{case.name}.yaml": live(case) for case in CASES},
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_test_data_is_what_the_operator_writes(name: str):
    text = yaml.safe_dump(GOLDEN[name], sort_keys=False, width=120)
    if os.environ.get("SPILLWAY_UPDATE_GOLDEN") == "1":
        (ARGOCD / name).write_text(text)
    assert (ARGOCD / name).read_text() == text, "SPILLWAY_UPDATE_GOLDEN=1 pytest tests/unit/test_argocd.py"


def test_no_other_test_data_is_left_over():
    assert {f"testdata/{path.name}" for path in (ARGOCD / "testdata").iterdir()} == set(GOLDEN) - {"health_test.yaml"}


def test_both_examples_lead_to_the_example():
    for path in MANIFESTS:
        spec = yaml.safe_load(path.read_text())["spec"]
        source = spec.get("template", {}).get("spec", spec)["source"]
        assert (ARGOCD.parents[1] / source["path"] / "kustomization.yaml").is_file()
        assert re.fullmatch(r"v\d+\.\d+\.\d+", source["targetRevision"])
