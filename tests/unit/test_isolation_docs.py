"""docs/isolation.md names each NetworkPolicy that the operator makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crd_cases import DEPLOYMENT, changed
from spillway.api.v1alpha1 import parse_deployment
from spillway.render import RenderSettings, render_namespace

PAGE = (Path(__file__).parents[2] / "docs" / "isolation.md").read_text()
SETTINGS = RenderSettings(image="ghcr.io/spillway-dev/spillway:test")
CACHES = ({"mode": "Ephemeral"}, {"mode": "PersistentVolume", "size": "40Gi"})


@pytest.mark.parametrize("caches", [CACHES[:1], CACHES[1:], CACHES], ids=["fetched", "on a claim", "both"])
def test_each_policy_is_a_row(caches: tuple[dict[str, str], ...]):
    change = {"metadata.namespace": "models"}
    of = [parse_deployment(changed(DEPLOYMENT, {**change, "spec.cache": cache})) for cache in caches]
    made = {
        one["metadata"]["name"]
        for one in render_namespace("models", of, SETTINGS, ())
        if one["kind"] == "NetworkPolicy"
    }
    rows = re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE)
    assert made <= set(rows)
    assert (made == set(rows)) == (len(caches) == 2)
