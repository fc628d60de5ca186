"""The chart on a cluster of its own: what it installs belongs to the whole cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from chart_values import EVERY_VALUE
from helm_program import CHART, ROOT, helm, template
from installed import (
    MONITORING,
    OPERATOR,
    apply_object,
    clusterroles_of_ours,
    gateway_bindings,
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
from operator_process import KINDS, until
from spillway.simulator.controlplane import ControlPlane
from spillway.simulator.kubeapi import KubeAPI

pytestmark = pytest.mark.cluster

SYSTEM = "/api/v1/namespaces/spillway-system"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
async def plane(own_plane: ControlPlane, own_api: KubeAPI) -> ControlPlane:
    """With the namespace that the chart is installed into, as strict as namespaces can be."""
    await make_namespace(own_api, "spillway-system", **{"pod-security.kubernetes.io/enforce": "restricted"})
    return own_plane


@pytest.fixture
def api(own_api: KubeAPI) -> KubeAPI:
    return own_api


async def helm_on(plane: ControlPlane, home: Path, *args: str, tool: str = "helm") -> str:
    """What Helm prints; fails with what it complains of."""
    where = ("--namespace=spillway-system", f"--kubeconfig={plane.kubeconfig}")
    done = await asyncio.to_thread(helm, *args, *where, home=home, tool=tool)
    assert done.returncode == 0, done.stderr
    return done.stdout


@asynccontextmanager
async def release(
    plane: ControlPlane, api: KubeAPI, home: Path, *options: str, tool: str = "helm"
) -> AsyncIterator[str]:
    """The chart, installed; what Helm printed. Uninstalled in the end."""
    said = await helm_on(plane, home, "install", "spillway", str(CHART), *options, tool=tool)
    try:
        await kinds_are_served(api)
        yield said
    finally:
        await helm_on(plane, home, "uninstall", "spillway", "--wait", tool=tool)


async def settings(api: KubeAPI, directory: Path) -> list[str]:
    """The options of an operator outside the cluster that is told what the installed one is."""
    deployment = await api.get("/apis/apps/v1/namespaces/spillway-system/deployments/spillway-operator")
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    told = {variable["name"].removeprefix("SPILLWAY_"): variable["value"] for variable in variables}
    profiles = directory / "profiles.yaml"
    profiles.write_text((await api.get(f"{SYSTEM}/configmaps/spillway-profiles"))["data"]["profiles.yaml"])
    told["PROFILES_FILE"] = str(profiles)
    taken = ("IMAGE", "NAMESPACES", "PROFILES_FILE", "ALLOWED_HOSTS", "UNLABELLED_NAMESPACE_MAY_LEAVE")
    return [f"--{name.lower().replace('_', '-')}={told[name]}" for name in taken if name in told]


async def test_monitors_and_alerts_are_installed_where_their_kinds_are(
    plane: ControlPlane, api: KubeAPI, tmp_path: Path
):
    await monitoring_is_served(api)
    where = f"{MONITORING}/namespaces/spillway-system"
    async with release(plane, api, tmp_path):
        for path in ("podmonitors/spillway-gateway", "podmonitors/spillway-engine", "prometheusrules/spillway"):
            assert await api.find(f"{where}/{path}") is not None


async def test_installed_for_the_whole_cluster_it_serves_objects_and_has_no_right_too_many(
    plane: ControlPlane, api: KubeAPI, tmp_path: Path
):
    await make_namespace(api, "anywhere")
    async with release(plane, api, tmp_path, "--set=profiles.tiny.memoryGiB=22") as notes:
        assert "serves the LLMDeployments of every namespace" in notes
        assert (await pod_is_made(api))["spec"]["serviceAccountName"] == "spillway-operator"
        assert too_much(await rights_at_work(plane, "anywhere")) == []
        async with operator_at_work(plane, tmp_path, *await settings(api, tmp_path)):
            await apply_object(api, "anywhere", profile="tiny")
            await until("the object is served", lambda: is_served(api, "anywhere"))
        await api.delete(f"{KINDS}/namespaces/anywhere/llmdeployments/chat")


async def test_installed_for_one_namespace_it_can_do_nothing_in_another(
    plane: ControlPlane, api: KubeAPI, tmp_path: Path
):
    await make_namespace(api, "team-a")
    await make_namespace(api, "team-b")
    async with release(plane, api, tmp_path, "--set=watchNamespaces={team-a}") as notes:
        assert "serves the LLMDeployments of team-a" in notes
        assert too_much(await rights_at_work(plane, "team-a")) == []
        for namespace in ("team-b", "spillway-system", "kube-system"):
            assert await rights(plane, OPERATOR, namespace) == set()
        assert await clusterroles_of_ours(api) == []
        async with operator_at_work(plane, tmp_path, *await settings(api, tmp_path)):
            await apply_object(api, "team-b")
            await apply_object(api, "team-a")
            await until("the object is served", lambda: is_served(api, "team-a"))
            await gateway_is_at_home_in(plane, api, "team-a", "team-b", "spillway-system")
            left_alone = await api.get(f"{KINDS}/namespaces/team-b/llmdeployments/chat")
            assert "status" not in left_alone
        for namespace in ("team-a", "team-b"):
            await api.delete(f"{KINDS}/namespaces/{namespace}/llmdeployments/chat")


async def test_upgraded_to_a_list_of_namespaces_it_loses_its_rights_in_all_others_and_binds_roles(
    plane: ControlPlane, api: KubeAPI, tmp_path: Path
):
    await make_namespace(api, "team-a")
    await make_namespace(api, "team-b")

    async def upgrade(namespaces: str) -> None:
        await helm_on(plane, tmp_path, "upgrade", "spillway", str(CHART), f"--set-json=watchNamespaces={namespaces}")
        await rights_at_work(plane, "team-a")

    async def binds(*wanted: str) -> None:
        """The operator, as it is installed now, binds just this for the gateway."""

        async def bound() -> bool:
            return await gateway_bindings(api, "team-a") == [(*wanted, "spillway-gateway")]

        async with operator_at_work(plane, tmp_path, *await settings(api, tmp_path)):
            await until(f"the gateway's binding is {wanted}", bound)

    async def has_none() -> bool:
        return await rights(plane, OPERATOR, "team-b") == set()

    async with release(plane, api, tmp_path):
        await rights_at_work(plane, "team-b")
        await apply_object(api, "team-a")
        await binds("spillway-gateway", "ClusterRole")
        await upgrade('["team-a"]')
        await until("it has no right in another namespace", has_none)
        await binds("spillway-gateway-namespaced", "Role")
        await upgrade("[]")
        await binds("spillway-gateway", "ClusterRole")
        await api.delete(f"{KINDS}/namespaces/team-a/llmdeployments/chat")


async def test_helm_3_installs_upgrades_and_uninstalls_it_too(plane: ControlPlane, api: KubeAPI, tmp_path: Path):
    deployment = "/apis/apps/v1/namespaces/spillway-system/deployments/spillway-operator"
    await make_namespace(api, "team-a")
    async with release(plane, api, tmp_path, tool="helm3") as notes:
        assert "serves the LLMDeployments of every namespace" in notes
        await pod_is_made(api)
        assert too_much(await rights_at_work(plane, "team-a")) == []
        options = ("--set=watchNamespaces={team-a}", "--set=gateway.replicas=3")
        notes = await helm_on(plane, tmp_path, "upgrade", "spillway", str(CHART), *options, tool="helm3")
        assert "serves the LLMDeployments of team-a" in notes
        assert await clusterroles_of_ours(api) == []
        told = (await api.get(deployment))["spec"]["template"]["spec"]["containers"][0]["env"]
        assert {"name": "SPILLWAY_GATEWAY_REPLICAS", "value": "3"} in told
    assert await api.find(deployment) is None
    assert await api.find(f"{DEFINITIONS}/llmdeployments.spillway.dev") is not None


@pytest.mark.parametrize("tool", ["helm", "helm3"])
async def test_of_a_helm_test_that_fails_its_pod_is_left_and_its_account_is_not(
    plane: ControlPlane, api: KubeAPI, tmp_path: Path, tool: str
):
    where = ("--namespace=spillway-system", f"--kubeconfig={plane.kubeconfig}")
    kinds = "pods,serviceaccounts,clusterroles,clusterrolebindings"
    ours = (*where[:1], "--selector=app.kubernetes.io/component=test")
    async with release(plane, api, tmp_path, tool=tool):
        # no node is there for its pod
        done = await asyncio.to_thread(helm, "test", "spillway", "--timeout=3s", *where, home=tmp_path, tool=tool)
        assert done.returncode != 0, done.stdout
        left = await kubectl(plane, "get", kinds, *ours, "-o=name")
        await kubectl(plane, "delete", "pods", "--force", *ours)
        assert left.split() == ["pod/spillway-test-chat"]


async def test_what_any_value_comes_to_is_accepted_to_the_last_field(plane: ControlPlane, api: KubeAPI, tmp_path: Path):
    for namespace in EVERY_VALUE["watchNamespaces"]:
        await make_namespace(api, namespace)
    await monitoring_is_served(api)
    made = template(tmp_path, values=EVERY_VALUE)
    assert made.returncode == 0, made.stderr
    dry = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "-f", "-")
    # a pod, that of `helm test`, is refused whose account is not there, and a dry run makes none
    account = ("serviceaccount", "spillway-test", "--namespace=spillway-system")
    await kubectl(plane, "create", *account)
    try:
        answers = (await kubectl(plane, *dry, stdin=made.stdout)).splitlines()
    finally:
        await kubectl(plane, "delete", *account)
    assert "deployment.apps/spillway-operator serverside-applied (server dry run)" in answers


async def test_uninstalled_it_leaves_objects_and_their_kinds_and_takes_them_over_again(
    plane: ControlPlane, api: KubeAPI, tmp_path: Path
):
    await make_namespace(api, "kept")
    async with release(plane, api, tmp_path):
        await apply_object(api, "kept")
    assert await api.find(f"{KINDS}/namespaces/kept/llmdeployments/chat") is not None
    assert await api.find("/apis/rbac.authorization.k8s.io/v1/clusterroles/spillway-operator") is None
    async with release(plane, api, tmp_path, "--set=crds.keep=false"):
        assert await api.find(f"{KINDS}/namespaces/kept/llmdeployments/chat") is not None
    for kind in ("llmdeployments", "llmledgers"):
        path = f"{DEFINITIONS}/{kind}.spillway.dev"
        await until("the kinds are gone, for they were not to be kept", lambda path=path: _gone(api, path))


async def _gone(api: KubeAPI, path: str) -> bool:
    return await api.find(path) is None


async def test_what_the_notes_tell_to_apply_is_accepted_and_so_is_every_sample(
    plane: ControlPlane, api: KubeAPI, tmp_path: Path
):
    async with release(plane, api, tmp_path) as notes:
        example = notes.partition("<<EOF\n")[2].partition("EOF\n")[0]
        assert yaml.safe_load(example)["kind"] == "LLMDeployment"
        dry = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--namespace=default", "-f")
        await kubectl(plane, *dry, "-", stdin=example)
        samples = sorted((ROOT / "manifests/samples").glob("*.yaml"))
        assert samples
        for sample in samples:
            assert "serverside-applied (server dry run)" in await kubectl(plane, *dry, str(sample)), sample.name
