"""All that we offer to install or apply, by kubeconform, with the schemas of the API server that we run on."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import openapi_schemas
from chart_values import EVERY_VALUE
from go_programs import go_program
from helm_program import ROOT, rendered
from installed import kinds_are_served, kubectl, monitoring_is_served
from operator_process import until
from spillway.api import crd
from spillway.simulator.controlplane import ControlPlane
from spillway.simulator.kubeapi import KubeAPI

pytestmark = pytest.mark.cluster

MANIFESTS = ROOT / "manifests"


def kubeconform(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    location = f"-schema-location={folder}/{openapi_schemas.LOCATION}"
    options = ["-strict", "-summary", "-output=json", location]
    return subprocess.run(
        [go_program("kubeconform"), *options], input=text, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
async def schemas(api: KubeAPI, tmp_path: Path) -> Path:
    for kind in crd.KINDS:
        await api.apply(crd.render_crd(kind))
    await kinds_are_served(api)
    await monitoring_is_served(api)
    folder = tmp_path / "schemas"
    folder.mkdir()

    async def told() -> bool:
        """Of a new kind the API server publishes the schema a moment after it serves it."""
        paths = (await api.get("/openapi/v3"))["paths"]
        return {"apis/spillway.dev/v1alpha1", "apis/monitoring.coreos.com/v1"} <= paths.keys()

    await until("the schemas of our kinds are published", told)
    await openapi_schemas.write(api, folder)
    return folder


async def test_all_that_we_offer_is_valid_to_the_last_field(schemas: Path, control_plane: ControlPlane, tmp_path: Path):
    documents: list[dict[str, Any]] = [*rendered(tmp_path), *rendered(tmp_path, values=EVERY_VALUE)]
    for folder in ("base", "overlays/namespaced", "overlays/monitoring", "argocd/example"):
        documents += yaml.safe_load_all(await kubectl(control_plane, "kustomize", str(MANIFESTS / folder)))
    for sample in (MANIFESTS / "samples").glob("*.yaml"):
        documents += yaml.safe_load_all(sample.read_text())

    done = await asyncio.to_thread(kubeconform, schemas, yaml.safe_dump_all(documents))

    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["summary"] == {
        "valid": len(documents),
        "invalid": 0,
        "errors": 0,
        "skipped": 0,
    }


async def test_what_is_wrong_is_found(schemas: Path):
    for where, value in (
        (("spec", "replica"), 2),
        (("spec", "replicas"), "two"),
        (("spec", "accelerator", "profil"), "l4"),
    ):
        document = yaml.safe_load((MANIFESTS / "samples/minimal.yaml").read_text())
        inner = document
        for key in where[:-1]:
            inner = inner[key]
        inner[where[-1]] = value
        done = await asyncio.to_thread(kubeconform, schemas, yaml.safe_dump(document))
        assert (done.returncode, where[-1] in done.stdout) == (1, True), done.stdout
