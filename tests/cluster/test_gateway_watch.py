"""The gateway's eyes and its purse on a real API server, with the rights of its own role and no more."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from spillway.errors import Conflict, Forbidden, LedgerConflict, LedgerUnreachable, WatchExpired
from spillway.gateway.account import Lease, advance
from spillway.gateway.kube import KubeClient
from spillway.gateway.ledger import Ledger
from spillway.gateway.ledger_store import KubeLedgerStore
from spillway.gateway.purse import Purse
from spillway.gateway.routes import Replicas
from spillway.gateway.store import Snapshot
from spillway.gateway.watch import ENGINE_PODS, PodSink, deployments_path, follow, follow_namespace, pods_path
from spillway.simulator.controlplane import ControlPlane
from spillway.simulator.kubeapi import KubeAPI

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 30.0


async def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS} s: {what}"
        await asyncio.sleep(0.02)


@pytest.fixture
async def client(
    api: KubeAPI, control_plane: ControlPlane, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KubeClient]:
    """The gateway's client, as its service account bound to its role in this namespace."""
    for path in [*sorted((ROOT / "crds").glob("*spillway*.yaml")), ROOT / "manifests/base/gateway-rbac.yaml"]:
        for obj in yaml.safe_load_all(path.read_text()):
            await api.apply(obj)
    for kind in ("llmdeployments", "llmledgers"):
        control_plane.kubectl("wait", "--for=condition=Established", f"crd/{kind}.spillway.dev", "--timeout=30s")
    meta = {"name": "spillway-gateway", "namespace": namespace}
    await api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    await api.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "spillway-gateway",
            },
            "subjects": [{"kind": "ServiceAccount", **meta}],
        }
    )
    made = await api.post(
        f"/api/v1/namespaces/{namespace}/serviceaccounts/spillway-gateway/token",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}},
    )
    (tmp_path / "token").write_text(made["status"]["token"])
    (tmp_path / "ca.crt").write_bytes(control_plane.ca_file.read_bytes())
    host, _, port = control_plane.server.removeprefix("https://").rpartition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    async with KubeClient(tmp_path) as client:
        yield client


@contextlib.asynccontextmanager
async def background(*works: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Table:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.replicas: dict[str, Replicas] = {}
        self.labels: dict[str, str] = {}

    def replace(self, objects: Any) -> None:
        self.objects = {obj["metadata"]["name"]: obj for obj in objects}

    def apply(self, obj: Any) -> None:
        self.objects[obj["metadata"]["name"]] = obj

    def remove(self, name: str) -> None:
        del self.objects[name]

    def set_replicas(self, replicas: Any) -> None:
        self.replicas = dict(replicas)

    def set_namespace_labels(self, labels: Any) -> None:
        self.labels = dict(labels)


def deployment(namespace: str, name: str = "chat") -> dict[str, Any]:
    return {
        "apiVersion": "spillway.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
            "accelerator": {"profile": "l4-24gb"},
            "cache": {"mode": "Ephemeral"},
        },
    }


async def test_objects_are_followed_from_their_list_through_each_change(
    client: KubeClient, api: KubeAPI, namespace: str
) -> None:
    table, lists = Table(), 0

    def synced() -> None:
        nonlocal lists
        lists += 1

    await api.create(deployment(namespace, "old"))
    async with background(follow(client, deployments_path(namespace), table, synced)):
        await eventually(lambda: lists == 1, "it listed")
        assert set(table.objects) == {"old"}
        assert table.objects["old"]["kind"] == "LLMDeployment"
        await api.create(deployment(namespace, "new"))
        await eventually(lambda: set(table.objects) == {"old", "new"}, "the new one is seen")
        await api.patch(f"{deployments_path(namespace)}/new", {"spec": {"replicas": 3}})
        await eventually(lambda: table.objects["new"]["spec"].get("replicas") == 3, "its change is seen")
        await api.delete(f"{deployments_path(namespace)}/old")
        await eventually(lambda: set(table.objects) == {"new"}, "its end is seen")
    assert lists == 1


async def test_pods_become_replicas_when_they_are_ready(client: KubeClient, api: KubeAPI, namespace: str) -> None:
    def pod(name: str, component: str) -> dict[str, Any]:
        labels = {
            "app.kubernetes.io/managed-by": "spillway",
            "app.kubernetes.io/component": component,
            "spillway.dev/deployment": "chat",
        }
        container = {"name": "engine", "image": "x", "ports": [{"name": "http", "containerPort": 8000}]}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            # No scheduler knows this node name, and no kubelet acts on it: the test is the node.
            "spec": {"containers": [container], "nodeSelector": {"spillway.dev/nowhere": "true"}},
        }

    table: Any = Table()
    for name, component in (("engine-0", "engine"), ("engine-1", "engine"), ("other", "gateway")):
        await api.create(pod(name, component))
    works = follow(client, pods_path(namespace), PodSink(table), lambda: None, labelSelector=ENGINE_PODS)
    async with background(works):
        await eventually(lambda: table.replicas == {"chat": Replicas({}, 2)}, "both are on their way")
        ready = {
            "phase": "Running",
            "podIP": "127.0.0.9",
            "podIPs": [{"ip": "127.0.0.9"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        await api.patch(f"{pods_path(namespace)}/engine-0/status", {"status": ready})
        await eventually(
            lambda: table.replicas == {"chat": Replicas({"engine-0": "127.0.0.9:8000"}, 1)}, "one is ready"
        )
        await api.delete(f"{pods_path(namespace)}/engine-0", grace_seconds=0)
        await eventually(lambda: table.replicas == {"chat": Replicas({}, 1)}, "it is gone")


async def test_the_namespaces_label_is_seen_and_no_other_namespace_can_be_read(
    client: KubeClient, api: KubeAPI, namespace: str
) -> None:
    table: Any = Table()
    await api.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {"spillway.dev/may-leave": "Public"}}})
    async with background(follow_namespace(client, namespace, table, lambda: None)):
        await eventually(lambda: table.labels.get("spillway.dev/may-leave") == "Public", "the label is seen")
    with pytest.raises(Forbidden):
        await client.get("/api/v1/namespaces/default")
    with pytest.raises(Forbidden):
        await client.get(f"/api/v1/namespaces/{namespace}/secrets")


async def test_a_version_that_is_too_old_asks_for_a_new_list(client: KubeClient, namespace: str) -> None:
    with pytest.raises(WatchExpired):
        async for _ in client.watch(deployments_path(namespace), "1"):
            pass


@pytest.fixture
async def ledger(client: KubeClient, api: KubeAPI, namespace: str) -> KubeLedgerStore:
    await api.create(
        {
            "apiVersion": "spillway.dev/v1alpha1",
            "kind": "LLMLedger",
            "metadata": {"name": "chat", "namespace": namespace},
            "spec": {"limit": "0.10", "window": "Month"},
        }
    )
    return KubeLedgerStore(client, namespace)


async def test_of_two_writes_from_one_version_the_second_is_a_conflict(ledger: KubeLedgerStore) -> None:
    snapshot = await ledger.read("chat")
    now = datetime.now(UTC)
    account = advance(snapshot.account, "pod-a:1", now)
    account = replace(account, leases={"pod-a:1": Lease(1234, now)})

    written = await ledger.write("chat", Snapshot(snapshot.version, account))
    with pytest.raises(LedgerConflict):
        await ledger.write("chat", Snapshot(snapshot.version, account))

    again = await ledger.read("chat")
    assert (again.version, again.account) == (written.version, written.account)
    assert again.account.limit_micros == 100_000
    assert again.account.leases == {"pod-a:1": Lease(1234, now)}


async def test_the_api_server_itself_refuses_to_pass_the_limit(ledger: KubeLedgerStore) -> None:
    snapshot = await ledger.read("chat")
    now = datetime.now(UTC)
    account = replace(advance(snapshot.account, "pod-a:1", now), leases={"pod-a:1": Lease(100_001, now)})

    with pytest.raises(LedgerUnreachable, match=r"may not pass spec.limit"):
        await ledger.write("chat", Snapshot(snapshot.version, account))


async def test_gateways_spend_from_one_ledger_and_it_adds_up(
    ledger: KubeLedgerStore, api: KubeAPI, namespace: str
) -> None:
    ledgers = [Ledger("chat", ledger, Purse(f"pod-{n}:1"), lambda: datetime.now(UTC), time.monotonic) for n in range(3)]
    spent = 0

    async def spend(number: int) -> None:
        nonlocal spent
        one, key = ledgers[number % 3], str(number)
        with contextlib.suppress(Exception):
            await one.reserve(key, 3000)
            spent += 2500
            await one.settle(key, 2500)

    async with background(*(one.run() for one in ledgers)):
        await asyncio.gather(*(spend(number) for number in range(60)))
        for one in ledgers:
            await one.close()

    path = f"/apis/spillway.dev/v1alpha1/namespaces/{namespace}/llmledgers/chat"
    status = (await api.get(path))["status"]
    assert 50_000 < spent <= 100_000
    assert status["spent"] == f"0.{spent:06d}"[-8:]
    assert not status.get("tranches")
    assert status["windowStart"].endswith("-01T00:00:00Z")


async def test_a_write_to_the_spec_is_not_the_gateways(
    client: KubeClient, ledger: KubeLedgerStore, namespace: str
) -> None:
    path = f"/apis/spillway.dev/v1alpha1/namespaces/{namespace}/llmledgers/chat"
    found = dict(await client.get(path))

    with pytest.raises((Forbidden, Conflict)):
        await client.put(path, found | {"spec": {"limit": "99.00", "window": "Month"}})
