from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spillway.errors import NotFound, SetupError
from spillway.simulator import sweeper
from spillway.simulator.controlplane import ControlPlane, binaries
from spillway.simulator.kubeapi import KubeAPI

pytestmark = pytest.mark.cluster


async def test_it_is_the_kubernetes_that_the_build_pins(api: KubeAPI) -> None:
    assert (await api.get("/version"))["gitVersion"] == "v1.36.3"


async def test_two_at_once_do_not_see_each_other(control_plane: ControlPlane, api: KubeAPI, namespace: str) -> None:
    async with ControlPlane() as other, other.api() as other_api:
        assert other.server != control_plane.server
        assert await other_api.find(f"/api/v1/namespaces/{namespace}") is None
        assert await api.find(f"/api/v1/namespaces/{namespace}") is not None
        with pytest.raises(Exception, match="certificate verify failed"):
            async with KubeAPI(other.server, ca_file=control_plane.ca_file, token="x") as stranger:
                await stranger.get("/version")


async def test_leaving_it_ends_every_process_and_removes_the_directory() -> None:
    async with ControlPlane() as plane:
        directory = plane.directory
        assert len(processes_in(directory)) == 4
    assert processes_in(directory) == []
    assert not directory.exists()


def test_a_killed_parent_leaves_neither_process_nor_directory() -> None:
    program = (
        "import asyncio\nfrom spillway.simulator.controlplane import ControlPlane\n"
        "async def main():\n  async with ControlPlane() as p:\n    print(p.directory, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        directory = Path(parent.stdout.readline().strip())
        assert len(processes_in(directory)) == 4
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
    until = time.monotonic() + 10
    while (processes_in(directory) or directory.exists()) and time.monotonic() < until:
        time.sleep(0.05)
    assert processes_in(directory) == []
    assert not directory.exists()


async def test_a_directory_that_was_given_is_kept_with_its_logs(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)  # longer than a socket's path may be
    async with ControlPlane(deep):
        pass
    assert (deep / "kube-apiserver.log").stat().st_size > 0
    assert processes_in(deep) == []


async def test_a_program_that_does_not_start_shows_its_log(
    control_plane: ControlPlane, tmp_path: Path, monkeypatch
) -> None:
    for program in control_plane.bin_dir.iterdir():
        (tmp_path / program.name).symlink_to(program)
    (tmp_path / "kube-apiserver").unlink()
    (tmp_path / "kube-apiserver").write_text("#!/bin/sh\necho no room left on the moon; exit 3\n")
    (tmp_path / "kube-apiserver").chmod(0o755)
    monkeypatch.setenv("SPILLWAY_KUBE_BIN", str(tmp_path))
    with pytest.raises(SetupError, match=r"kube-apiserver ended with 3(?s:.*)no room left on the moon"):
        async with ControlPlane():
            pass


async def test_programs_named_by_the_environment_must_be_complete(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"lacks etcd, kube-apiserver, .* put them there or unset it"):
        await binaries.find(lambda *_: None, {"SPILLWAY_KUBE_BIN": str(tmp_path)})


async def test_a_service_account_may_only_what_rbac_grants_it(
    control_plane: ControlPlane, api: KubeAPI, namespace: str
) -> None:
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": namespace}
    meta = {"name": "reader", "namespace": namespace}
    await api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    config = await asyncio.to_thread(control_plane.kubeconfig_for_service_account, namespace, "reader")

    async def may(verb: str) -> bool:
        args = ["auth", "can-i", verb, "pods", f"--namespace={namespace}", f"--kubeconfig={config}"]
        return (await asyncio.to_thread(control_plane.kubectl, *args)).stdout.strip() == "yes"

    assert not await may("list")
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta}
    await api.create({**binding, "subjects": [subject], "roleRef": role})
    until = time.monotonic() + 10
    while not await may("list"):  # the authorizer's cache follows within a moment
        assert time.monotonic() < until
    assert not await may("delete")
    with pytest.raises(LookupError, match="not found"):
        control_plane.kubeconfig_for_service_account(namespace, "nobody")


async def test_apply_patch_and_delete_go_to_the_right_paths(api: KubeAPI, namespace: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": namespace},
        "data": {"k": "1"},
    }
    await api.apply(config)
    assert (await api.apply({**config, "data": {"k": "2"}}))["data"] == {"k": "2"}
    path = await api.path(config)
    assert (await api.patch(path, {"data": {"k": None, "l": "3"}}))["data"] == {"l": "3"}
    assert [
        item["kind"] for item in await api.list(f"/api/v1/namespaces/{namespace}/configmaps", fields="metadata.name=a")
    ] == ["ConfigMap"]
    await api.delete(config)
    await api.delete(config)
    with pytest.raises(NotFound, match='configmaps "a" not found'):
        await api.get(path)


async def test_a_watch_reports_what_is_there_and_each_change(api: KubeAPI, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    big = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "b", "namespace": namespace},
        "data": {"k": "x" * 300_000},
    }
    await api.create(big)
    seen = []
    async with asyncio.timeout(10):
        async for event in api.watch(path, fields="metadata.name=b"):
            seen.append((event.type, event.object["kind"], len(event.object["data"]["k"])))
            if len(seen) == 1:
                await api.patch(f"{path}/b", {"data": {"k": "y" * 200_000}})
            elif len(seen) == 2:
                await api.delete(big)
            else:
                break
    assert seen == [
        ("ADDED", "ConfigMap", 300_000),
        ("MODIFIED", "ConfigMap", 200_000),
        ("DELETED", "ConfigMap", 200_000),
    ]


def processes_in(directory: Path) -> list[int]:
    """Our processes that run in the directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == directory and (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_the_sweeper_finds_grandchildren_in_other_sessions() -> None:
    env = {**os.environ, sweeper.MARK: "test-mark"}
    with subprocess.Popen(["sh", "-c", "setsid sleep 600 & echo; wait"], env=env, stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        until = time.monotonic() + 5
        while len(sweeper.marked("test-mark")) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert sweeper.sweep("test-mark")
        assert sweeper.marked("test-mark") == []
