"""What GitOps tools ask for: an object that nobody changes stays as it was applied, to the byte."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from installed import kinds_are_served, kubectl
from operator_process import KINDS, ROOT, OperatorProcess, until
from spillway.api import crd
from spillway.simulator.controlplane import ControlPlane
from spillway.simulator.kubeapi import KubeAPI

pytestmark = pytest.mark.cluster

SAMPLES = sorted((ROOT / "manifests" / "samples").glob("*.yaml"))
EXAMPLE = ROOT / "manifests" / "argocd" / "example"
CHILDREN = (
    "/apis/apps/v1/namespaces/{namespace}/deployments",
    "/api/v1/namespaces/{namespace}/services",
    f"{KINDS}/namespaces/{{namespace}}/llmledgers",
)
LISTS = re.compile(
    r'apiserver_request_total\{[^}]*resource="llmdeployments",scope="namespace",subresource="",verb="LIST"[^}]*\} (\S+)'
)
RECONCILES = 12  # an hour of them, at the chart's operator.resyncSeconds
# What a client-side apply writes into an annotation, and an annotation may hold in all.
# https://github.com/kubernetes/apimachinery/blob/v0.36.3/pkg/api/validation/objectmeta.go
ANNOTATION_BYTES = 262_144
TRACKING = {
    "argocd.argoproj.io/tracking-id": "models:spillway.dev/LLMDeployment:team/chat",
    "example.org/note": "kept as it is",
}
LABELS = {"argocd.argoproj.io/instance": "models", "team": "a"}


@pytest.fixture
def operator_environment() -> Mapping[str, str]:
    return {"SPILLWAY_RESYNC_SECONDS": "1"}


def tracked(sample: Path) -> str:
    """A sample as Argo CD applies it: with a tracking annotation and label."""
    document = yaml.safe_load(sample.read_text())
    document["metadata"] |= {"annotations": TRACKING, "labels": LABELS}
    return yaml.safe_dump(document)


def kept(found: dict[str, Any]) -> bytes:
    """What the operator must leave alone: everything but status and what the API server counts."""
    meta = {key: found["metadata"].get(key) for key in ("name", "labels", "annotations", "finalizers", "generation")}
    return json.dumps({"metadata": meta, "spec": found["spec"]}, sort_keys=True).encode()


async def walks(api: KubeAPI) -> int:
    """How often all LLMDeployments were listed: once for each resync, which makes a pass over every one of them."""
    found = (LISTS.match(line) for line in (await api.text("/metrics")).splitlines())
    return sum(int(float(match[1])) for match in found if match)


async def test_an_unchanged_object_stays_in_sync(
    operator: OperatorProcess, control_plane: ControlPlane, api: KubeAPI, namespace: str
):
    manifests = {sample.stem: tracked(sample) for sample in SAMPLES}
    names = {sample: yaml.safe_load(manifest)["metadata"]["name"] for sample, manifest in manifests.items()}
    where = (f"--namespace={namespace}", "-f", "-")
    objects = f"{KINDS}/namespaces/{namespace}/llmdeployments"

    async def all_seen() -> bool:
        found = [await api.get(f"{objects}/{name}") for name in names.values()]
        return all(one.get("status", {}).get("observedGeneration") == 1 for one in found)

    for manifest in manifests.values():
        await kubectl(control_plane, "apply", *where, stdin=manifest)
    applied = {sample: kept(await api.get(f"{objects}/{name}")) for sample, name in names.items()}
    await until("the operator has seen them", all_seen)
    begun = await walks(api)

    async def an_hours_worth() -> bool:
        return await walks(api) >= begun + RECONCILES

    await until(f"{RECONCILES} passes over each of them", an_hours_worth, seconds=90)

    for sample, manifest in manifests.items():
        found = await api.get(f"{objects}/{names[sample]}")
        assert kept(found) == applied[sample], sample
        assert await kubectl(control_plane, "diff", *where, stdin=manifest) == "", sample
        dry = ["apply", "--server-side", "--field-manager=argocd-controller", "--force-conflicts", "--dry-run=server"]
        answered = json.loads(await kubectl(control_plane, *dry, "-o=json", *where, stdin=manifest))
        assert kept(answered) == kept(found), f"{sample}: a sync would change it"
    for path in CHILDREN:
        children = await api.list(path.format(namespace=namespace), labels="app.kubernetes.io/managed-by=spillway")
        assert children, f"{path}: the operator made none"
        for child in children:
            marks = {**child["metadata"].get("labels", {}), **child["metadata"].get("annotations", {})}
            assert not marks.keys() & (TRACKING.keys() | LABELS.keys()), "Argo CD would prune it"


async def test_client_side_apply_takes_the_kinds_and_the_operator(own_plane: ControlPlane, own_api: KubeAPI):
    for _ in range(2):
        await kubectl(own_plane, "apply", "-k", str(ROOT / "manifests" / "base"))
        await kinds_are_served(own_api)
    for kind in crd.KINDS:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.plural}.spillway.dev"
        annotations = (await own_api.get(path))["metadata"]["annotations"]
        written = annotations["kubectl.kubernetes.io/last-applied-configuration"]
        assert sum(len(key) + len(value) for key, value in annotations.items()) < ANNOTATION_BYTES
        assert len(written) > 1000


async def test_the_example_is_in_waves_and_each_wave_can_be_applied_after_the_one_before(
    own_plane: ControlPlane, own_api: KubeAPI
):
    documents = list(yaml.safe_load_all(await kubectl(own_plane, "kustomize", str(EXAMPLE))))
    waves: dict[int, list[dict[str, Any]]] = {}
    for document in documents:
        wave = document["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", "0")
        waves.setdefault(int(wave), []).append(document)
    assert sorted(waves) == [-2, -1, 0]
    assert {document["kind"] for document in waves[-2]} == {"CustomResourceDefinition"}
    assert [document["metadata"]["name"] for document in waves[-1] if document["kind"] == "Deployment"] == [
        "spillway-operator"
    ]
    assert [document["kind"] for document in waves[0]] == ["Namespace", "LLMDeployment"]
    for wave in sorted(waves):
        text = yaml.safe_dump_all(waves[wave])
        await kubectl(own_plane, "apply", "-f", "-", stdin=text)
        if wave == min(waves):
            await kinds_are_served(own_api)
