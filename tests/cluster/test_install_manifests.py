"""The kustomizations on a cluster of their own: what they install belongs to the whole cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from helm_program import ROOT
from installed import (
    OPERATOR,
    apply_object,
    is_served,
    kinds_are_served,
    kubectl,
    make_namespace,
    pod_is_made,
    rights,
    rights_at_work,
    too_much,
)
from operator_process import OperatorProcess, until
from spillway.simulator.controlplane import ControlPlane, running
from spillway.simulator.kubeapi import KubeAPI

pytestmark = pytest.mark.cluster

MANIFESTS = ROOT / "manifests"


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with running() as plane:
        yield plane


@pytest.fixture
async def api(plane: ControlPlane) -> AsyncIterator[KubeAPI]:
    async with plane.api() as api:
        yield api


@asynccontextmanager
async def installed(plane: ControlPlane, api: KubeAPI, kustomization: str) -> AsyncIterator[None]:
    """A kustomization, applied; deleted in the end."""
    await kubectl(plane, "apply", "--server-side", "-k", str(MANIFESTS / kustomization))
    try:
        await kinds_are_served(api)
        yield
    finally:
        await kubectl(plane, "delete", "--wait", "-k", str(MANIFESTS / kustomization))


async def test_the_base_is_accepted_and_gives_the_operator_no_right_too_many(plane: ControlPlane, api: KubeAPI):
    async with installed(plane, api, "base"):
        await pod_is_made(api)
        assert too_much(await rights_at_work(plane, "default")) == []


async def test_the_namespaced_overlay_serves_its_namespace_and_can_do_nothing_in_another(
    plane: ControlPlane, api: KubeAPI, tmp_path: Path
):
    await make_namespace(api, "team-a")
    await make_namespace(api, "team-b")
    async with installed(plane, api, "overlays/namespaced"):
        pod = await pod_is_made(api)
        assert pod["spec"]["containers"][0]["env"] == [{"name": "SPILLWAY_NAMESPACES", "value": "team-a"}]
        assert too_much(await rights_at_work(plane, "team-a")) == []
        for namespace in ("team-b", "spillway-system"):
            assert await rights(plane, OPERATOR, namespace) == set()
        operator = OperatorProcess(plane, tmp_path, "--namespaces=team-a")
        await operator.start()
        try:
            await apply_object(api, "team-a")
            await until("the object is served", lambda: is_served(api, "team-a"))
        finally:
            await operator.stop()
            print(operator.log)
        assert "Forbidden" not in operator.log
