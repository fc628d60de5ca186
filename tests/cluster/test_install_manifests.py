"""The kustomizations on a cluster of their own: what they install belongs to the whole cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from helm_program import ROOT
from installed import (
    OPERATOR,
    apply_object,
    clusterroles_of_ours,
    gateway_is_at_home_in,
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
from spillway.simulator.controlplane import ControlPlane
from spillway.simulator.kubeapi import KubeAPI
from spillway.simulator.node import GpuNode

pytestmark = pytest.mark.cluster

MANIFESTS = ROOT / "manifests"


@asynccontextmanager
async def installed(plane: ControlPlane, api: KubeAPI, kustomization: str) -> AsyncIterator[None]:
    """A kustomization, applied; deleted in the end."""
    await kubectl(plane, "apply", "--server-side", "-k", str(MANIFESTS / kustomization))
    try:
        await kinds_are_served(api)
        yield
    finally:
        await kubectl(plane, "delete", "--wait", "-k", str(MANIFESTS / kustomization))


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
        assert pod["spec"]["containers"][0]["env"] == [
            {"name": "SPILLWAY_MONITORING_NAMESPACES", "value": "monitoring"}
        ]


async def test_the_namespaced_overlay_serves_its_namespace_and_can_do_nothing_in_another(
    own_plane: ControlPlane, own_api: KubeAPI, tmp_path: Path
):
    await make_namespace(own_api, "team-a")
    await make_namespace(own_api, "team-b")
    async with installed(own_plane, own_api, "overlays/namespaced"):
        pod = await pod_is_made(own_api)
        assert pod["spec"]["containers"][0]["env"] == [{"name": "SPILLWAY_NAMESPACES", "value": "team-a"}]
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
