"""What an installation is worth: the rights of the operator's account, and the operator at work with just these."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from operator_process import KINDS, OperatorProcess, until
from spillway.errors import Forbidden, Unreachable
from spillway.simulator.controlplane import ControlPlane
from spillway.simulator.kubeapi import KubeAPI

OPERATOR = "system:serviceaccount:spillway-system:spillway-operator"
MONITORING = "/apis/monitoring.coreos.com/v1"
NOBODY = "system:serviceaccount:spillway-system:nobody"
# What a gateway may do in its own namespace, and it works with.
GATEWAY_RIGHTS = {
    "llmdeployments.spillway.dev": "get list watch",
    "llmledgers.spillway.dev": "get list watch",
    "llmledgers.spillway.dev/status": "get patch update",
    "pods": "get list watch",
    "namespaces": "get",
}
# What the operator may change, beside what is made for one object: all of it has fixed names.
OURS = {
    "serviceaccounts": {"spillway-gateway"},
    "networkpolicies": {"spillway-gateway", "spillway-engine", "spillway-engine-egress", "spillway-model"},
    "poddisruptionbudgets": {"spillway-gateway"},
    "rolebindings": {"spillway-gateway", "spillway-gateway-namespaced"},
}
RIGHT = re.compile(r"^(\S*) +\[(.*?)\] +\[(.*?)\] +\[(.*?)\]$")


@dataclass(frozen=True, slots=True)
class Right:
    """A line of `kubectl auth can-i --list`."""

    resource: str
    urls: str
    names: str
    verbs: tuple[str, ...]


async def rights(plane: ControlPlane, account: str, namespace: str) -> set[Right]:
    """What an account may do in a namespace, beyond what every account may."""
    return await _listed(plane, account, namespace) - await _listed(plane, NOBODY, namespace)


async def rights_at_work(plane: ControlPlane, namespace: str) -> set[Right]:
    """The operator's rights where it works, once the authorizer has them: its cache follows within a moment."""

    async def granted() -> set[Right]:
        found = await rights(plane, OPERATOR, namespace)
        return found if "deployments.apps" in {right.resource for right in found} else set()

    return await until("the operator has its rights", granted)


async def _listed(plane: ControlPlane, account: str, namespace: str) -> set[Right]:
    asked = ["auth", "can-i", "--list", "--no-headers", f"--namespace={namespace}", f"--as={account}"]
    said = (await kubectl(plane, *asked)).splitlines()
    found = [RIGHT.match(line.rstrip()) for line in said]
    assert found
    assert all(found), said
    return {Right(match[1], match[2], match[3], tuple(match[4].split())) for match in found if match}


def too_much(granted: set[Right]) -> list[Right]:
    """Those that an operator must not have."""
    return [right for right in granted if _is_too_much(right)]


def _is_too_much(right: Right) -> bool:
    """Wildcards, Secrets, tokens, pods to enter or delete, roles to write, all but one to bind, others' walls."""
    resource, verbs = right.resource.partition(".")[0], set(right.verbs)
    if "*" in right.resource + right.urls or verbs & {"*", "escalate", "impersonate"}:
        return True
    if "bind" in verbs:
        return (resource, right.names) not in {("clusterroles", "spillway-gateway"), ("roles", "spillway-gateway")}
    if resource in OURS:
        names = set(right.names.split())
        return not verbs <= ({"patch", "delete"} if names and names <= OURS[resource] else {"get", "list", "create"})
    if resource in {"pods", "nodes", "roles", "clusterroles", "clusterrolebindings", "namespaces"}:
        return not verbs <= {"get", "list", "watch"}
    return resource == "secrets" or resource.startswith(("pods/", "serviceaccounts/"))


async def kubectl(plane: ControlPlane, *args: str, stdin: str | None = None) -> str:
    """What kubectl prints; fails with what it complains of."""
    done = await asyncio.to_thread(plane.kubectl, *args, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def kinds_are_served(api: KubeAPI) -> None:
    async def served() -> bool:
        try:
            return all([await api.find(f"{KINDS}/{kind}") is not None for kind in ("llmdeployments", "llmledgers")])
        except Unreachable:  # 429 while the storage of a new kind is set up
            return False

    await until("our kinds are served", served)


async def monitoring_is_served(api: KubeAPI) -> None:
    """The kinds of the Prometheus Operator, with any content: their fields have a test of their own."""
    for kind, plural in (("PodMonitor", "podmonitors"), ("PrometheusRule", "prometheusrules")):
        names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        version = {"name": "v1", "served": True, "storage": True, "schema": schema}
        spec = {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": names, "versions": [version]}
        meta = {"name": f"{plural}.monitoring.coreos.com"}
        definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
        await api.apply({**definition, "metadata": meta, "spec": spec})
        await until(f"{plural} are served", lambda plural=plural: _serves(api, f"{MONITORING}/{plural}"))


async def _serves(api: KubeAPI, path: str) -> bool:
    try:
        return await api.find(path) is not None
    except Unreachable:  # 429 while the storage of a new kind is set up
        return False


async def make_namespace(api: KubeAPI, name: str, **labels: str) -> None:
    meta: dict[str, Any] = {"name": name, "labels": labels}
    await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    path = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    await until(f"namespace {name} takes pods", lambda: api.find(path))


async def pod_is_made(api: KubeAPI) -> dict[str, Any]:
    """The operator's pod as its ReplicaSet made it: admission let it in."""

    async def pods() -> list[dict[str, Any]]:
        return await api.list("/api/v1/namespaces/spillway-system/pods", labels="app.kubernetes.io/component=operator")

    return (await until("the operator's pod is made", pods))[0]


@asynccontextmanager
async def operator_at_work(plane: ControlPlane, directory: Path, *options: str) -> AsyncIterator[None]:
    """An operator with the rights of the installed one, which no node runs here; it ends well and lacked no right."""
    process = OperatorProcess(plane, directory, *options)
    await process.start()
    try:
        yield
    finally:
        code = await process.stop()
        print(process.log)
    assert code == 0
    assert "Forbidden" not in process.log, "its roles allow all that it does"


async def apply_object(api: KubeAPI, namespace: str, profile: str = "l4-24gb") -> None:
    spec = {"model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"}, "accelerator": {"profile": profile}}
    spec["cache"] = {"mode": "Ephemeral"}
    meta = {"name": "chat", "namespace": namespace}
    await api.apply({"apiVersion": "spillway.dev/v1alpha1", "kind": "LLMDeployment", "metadata": meta, "spec": spec})


async def is_served(api: KubeAPI, namespace: str) -> bool:
    """Whether the operator has made all that `apply_object` asks for, and said so."""
    found = await api.find(f"{KINDS}/namespaces/{namespace}/llmdeployments/chat")
    made = [
        await api.find(f"{prefix}/namespaces/{namespace}/{name}") is not None
        for prefix, name in (
            ("/apis/apps/v1", "deployments/chat-engine"),
            ("/apis/apps/v1", "deployments/spillway-gateway"),
            (KINDS, "llmledgers/chat"),
        )
    ]
    return all(made) and bool(await gateway_bindings(api, namespace)) and bool((found or {}).get("status"))


async def gateway_bindings(api: KubeAPI, namespace: str) -> list[tuple[str, str, str]]:
    """Each binding of the namespace's gateway: its name, and the kind and name of the role."""
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
    found = await api.list(path, labels="app.kubernetes.io/instance=spillway-gateway")
    return [(one["metadata"]["name"], one["roleRef"]["kind"], one["roleRef"]["name"]) for one in found]


async def clusterroles_of_ours(api: KubeAPI) -> list[str]:
    """The names of Spillway's ClusterRoles and of their bindings for the whole cluster."""
    path = "/apis/rbac.authorization.k8s.io/v1"
    return [
        one["metadata"]["name"]
        for kind in ("clusterroles", "clusterrolebindings")
        for one in await api.list(f"{path}/{kind}", labels="app.kubernetes.io/name=spillway")
    ]


async def gateway_is_at_home_in(plane: ControlPlane, api: KubeAPI, namespace: str, *others: str) -> None:
    """Of a namespace that has the gateway's role as a Role: it has its rights there, and none in the others."""
    assert await gateway_bindings(api, namespace) == [("spillway-gateway-namespaced", "Role", "spillway-gateway")]
    account = f"system:serviceaccount:{namespace}:spillway-gateway"

    async def granted() -> bool:
        found = await rights(plane, account, namespace)
        return {right.resource: " ".join(right.verbs) for right in found} == GATEWAY_RIGHTS

    await until("the gateway has its rights", granted)
    for other in others:
        assert await rights(plane, account, other) == set()
    token = plane.kubectl("create", "token", "spillway-gateway", f"--namespace={namespace}").stdout.strip()
    async with KubeAPI(plane.server, ca_file=plane.ca_file, token=token) as gateway:
        for path in ("", "/pods"):
            assert await gateway.find(f"/api/v1/namespaces/{namespace}{path}") is not None
            for other in others:
                with pytest.raises(Forbidden):
                    await gateway.find(f"/api/v1/namespaces/{other}{path}")
