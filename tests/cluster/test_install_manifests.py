"""The kustomizations on a cluster of their own: what they install belongs to the whole cluster."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm_program import ROOT
from installed import (
    OPERATOR,
    apply_object,
    clusterroles_of_ours,
    gateway_is_at_home_in,
    is_served,
    kinds_are_served,
    kubectl,
    make_namespace,
    monitoring_is_served,
    operator_at_work,
    pod_is_made,
    rights,
    rights_at_work,
    too_much,
)
from llm_deployments import LLMDeployments
from operator_process import until
from spillway import __version__
from spillway.simulator.controlplane import ControlPlane
from spillway.simulator.kubeapi import KubeAPI
from spillway.simulator.node import GpuNode

pytestmark = pytest.mark.cluster

MANIFESTS = ROOT / "manifests"
SYNC = "argocd.argoproj.io/sync-options"
IMAGE = f"ghcr.io/spillway-dev/spillway:{__version__}"


@asynccontextmanager
async def installed(plane: ControlPlane, api: KubeAPI, kustomization: str) -> AsyncIterator[None]:
    """A kustomization, applied; deleted in the end."""
    await kubectl(plane, "apply", "--server-side", "-k", str(MANIFESTS / kustomization))
    try:
        await kinds_are_served(api)
        yield
    finally:
        await kubectl(plane, "delete", "--wait", "-k", str(MANIFESTS / kustomization))


def told(pod: dict[str, Any]) -> dict[str, str]:
    """What the operator of a pod is told by its environment."""
    return {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}


@pytest.mark.parametrize("folder", ["base", "overlays/monitoring", "overlays/namespaced", "argocd/example"])
def test_the_line_of_images_that_the_readme_tells_moves_operator_and_gateways(
    control_plane: ControlPlane, tmp_path: Path, folder: str
):
    (example,) = re.findall(r"```yaml\n(.*?)```", (MANIFESTS / "README.md").read_text(), re.DOTALL)
    mine = yaml.safe_load(example)
    assert mine["resources"] == ["manifests/base"]
    # kustomize takes no absolute path
    mine["resources"] = [os.path.relpath(MANIFESTS / folder, tmp_path.resolve())]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(mine))
    made = yaml.safe_load_all(control_plane.kubectl("kustomize", str(tmp_path)).stdout)
    (pod,) = [one["spec"]["template"]["spec"] for one in made if one["kind"] == "Deployment"]
    assert pod["containers"][0]["image"] == "registry.example/spillway:mine"
    assert told(pod)["SPILLWAY_IMAGE"] == "registry.example/spillway:mine"


def test_the_argo_cd_example_keeps_the_kinds_though_they_drop_out_of_git(control_plane: ControlPlane):
    made = yaml.safe_load_all(control_plane.kubectl("kustomize", str(MANIFESTS / "argocd/example")).stdout)
    kept = [
        one["metadata"]["name"] for one in made if one["metadata"].get("annotations", {}).get(SYNC) == "Prune=false"
    ]
    assert kept == ["llmdeployments.spillway.dev", "llmledgers.spillway.dev"]


async def test_the_base_is_accepted_and_gives_the_operator_no_right_too_many(own_plane: ControlPlane, own_api: KubeAPI):
    async with installed(own_plane, own_api, "base"):
        await pod_is_made(own_api)
        assert too_much(await rights_at_work(own_plane, "default")) == []


async def test_the_monitoring_overlay_has_all_of_the_base_and_is_accepted(own_plane: ControlPlane, own_api: KubeAPI):
    await monitoring_is_served(own_api)
    base = await kubectl(own_plane, "kustomize", str(MANIFESTS / "base"))
    overlay = await kubectl(own_plane, "kustomize", str(MANIFESTS / "overlays/monitoring"))
    kinds = [[(d["kind"], d["metadata"]["name"]) for d in yaml.safe_load_all(text)] for text in (base, overlay)]
    assert set(kinds[1]) - set(kinds[0]) == {
        ("PodMonitor", "spillway-gateway"),
        ("PodMonitor", "spillway-engine"),
        ("PrometheusRule", "spillway"),
        ("ConfigMap", "spillway-dashboard"),
    }
    assert set(kinds[0]) <= set(kinds[1])
    async with installed(own_plane, own_api, "overlays/monitoring"):
        pod = await pod_is_made(own_api)
        assert told(pod["spec"]) == {"SPILLWAY_IMAGE": IMAGE, "SPILLWAY_MONITORING_NAMESPACES": "monitoring"}


async def test_the_namespaced_overlay_serves_its_namespace_and_can_do_nothing_in_another(
    own_plane: ControlPlane, own_api: KubeAPI, tmp_path: Path
):
    await make_namespace(own_api, "team-a")
    await make_namespace(own_api, "team-b")
    async with installed(own_plane, own_api, "overlays/namespaced"):
        pod = await pod_is_made(own_api)
        assert told(pod["spec"]) == {"SPILLWAY_IMAGE": IMAGE, "SPILLWAY_NAMESPACES": "team-a"}
        assert too_much(await rights_at_work(own_plane, "team-a")) == []
        for namespace in ("team-b", "spillway-system"):
            assert await rights(own_plane, OPERATOR, namespace) == set()
        assert await clusterroles_of_ours(own_api) == []
        soon = {"SPILLWAY_SIMULATED_LOAD_SECONDS": "1"}
        async with (
            GpuNode(own_api, name="gpu", engine_env=soon),
            operator_at_work(own_plane, tmp_path, "--namespaces=team-a"),
        ):
            await apply_object(own_api, "team-a")
            await LLMDeployments(own_api, "team-a").ready("chat")
            await gateway_is_at_home_in(own_plane, own_api, "team-a", "team-b", "spillway-system")


async def test_what_the_readme_tells_before_the_removal_takes_down_gateways_and_engines(
    own_plane: ControlPlane, own_api: KubeAPI, tmp_path: Path
):
    page = (MANIFESTS / "README.md").read_text().replace("\\\n", " ")
    told_to = [
        shlex.split(line) for line in re.findall(r"^\$ kubectl (.*)$", page.partition("To remove it")[2], re.MULTILINE)
    ]
    delete, wait, remove, _claims = told_to
    assert (delete[0], wait[0], remove) == ("delete", "wait", ["delete", "-k", "manifests/base"])
    await make_namespace(own_api, "leaving")
    async with installed(own_plane, own_api, "base"):
        await rights_at_work(own_plane, "leaving")
        async with operator_at_work(own_plane, tmp_path):
            await apply_object(own_api, "leaving")
            await until("the object is served", lambda: is_served(own_api, "leaving"))
            await kubectl(own_plane, *delete)
            await kubectl(own_plane, *wait)
            left = "deployments,services,serviceaccounts,rolebindings,networkpolicies,jobs,llmdeployments,llmledgers"
            assert (
                await kubectl(own_plane, "get", left, "-A", "-o=name", "-l=app.kubernetes.io/managed-by=spillway") == ""
            )
        await kubectl(own_plane, *wait)  # nothing is there to wait for
