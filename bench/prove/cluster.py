"""What the gateways see of Kubernetes, on a real API server, and when each part of it changed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bench.operated import install
from bench.prove.asking import DEFAULT_CLASS
from spillway.api.v1alpha1 import DataClass
from spillway.simulator.controlplane import ControlPlane
from spillway.simulator.kubeapi import KubeAPI, Object

OBJECTS: Final = tuple(name for name in DEFAULT_CLASS if name != "nobody")
WATCH_SECONDS: Final = 3.0
"""How long a gateway may take to hear of an object that changed, on a busy machine."""
CEILING_SECONDS: Final = 8.0
"""The same of its namespace's label, which it reads every five seconds."""
CEILINGS: Final = {"Internal": (DataClass.PUBLIC, DataClass.INTERNAL), "Public": (DataClass.PUBLIC,), "None": ()}


@dataclass(frozen=True, slots=True)
class Rules:
    """What may leave one deployment, and where to; nothing while its fallback is a shadow."""

    classes: frozenset[DataClass]
    targets: frozenset[str]


@dataclass(slots=True)
class Version:
    """Rules from `begun`, just before they were written, until `ended`, when gateways must know the next."""

    rules: Rules
    begun: float
    ended: float = float("inf")


@dataclass
class Configured:
    """One LLMDeployment as it is now."""

    may_leave: tuple[DataClass, ...]
    targets: tuple[str, ...]
    mode: str = "Enabled"
    limit: Decimal = Decimal("0.40")
    versions: list[Version] = field(default_factory=list)


class Cluster:
    """The objects of one namespace, as their administrator changes them."""

    def __init__(self, plane: ControlPlane, api: KubeAPI, namespace: str, targets: Mapping[str, str]) -> None:
        """`targets` are base URLs by name."""
        self.api = api
        self.namespace = namespace
        self.ceiling = "Internal"
        self.objects = {
            "chat": Configured((DataClass.INTERNAL, DataClass.PUBLIC), tuple(targets)),
            "guarded": Configured((DataClass.PUBLIC,), tuple(targets)[:1]),
            "solo": Configured((), (), mode="Disabled"),
        }
        self._plane = plane
        self._urls = dict(targets)
        self._path = f"/apis/spillway.dev/v1alpha1/namespaces/{namespace}"

    async def create(self, directory: Path) -> None:
        """Our kinds, the namespace, its gateways' account (with a token in `directory`), the objects, their ledgers."""
        await install(self.api)
        await self.api.apply(_namespace(self.namespace, self.ceiling))
        await self._account(directory)
        for name, configured in self.objects.items():
            self._now_in_force(name, time.monotonic())
            await self.api.apply(self._deployment(name, configured))
            await self.api.apply(_ledger(self.namespace, name, configured.limit))

    async def _account(self, directory: Path) -> None:
        meta = {"name": "spillway-gateway", "namespace": self.namespace}
        group = "rbac.authorization.k8s.io"
        await self.api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
        await self.api.apply(
            {
                "apiVersion": f"{group}/v1",
                "kind": "RoleBinding",
                "metadata": meta,
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "spillway-gateway"},
                "subjects": [{"kind": "ServiceAccount", **meta}],
            }
        )
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 86400},
        }
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/spillway-gateway/token"
        made = await self.api.post(path, request)
        (directory / "token").write_text(made["status"]["token"])
        (directory / "ca.crt").write_bytes(self._plane.ca_file.read_bytes())

    async def set_ceiling(self, ceiling: str) -> None:
        """The namespace's label spillway.dev/may-leave."""
        begun = time.monotonic()
        self.ceiling = ceiling
        await self.api.apply(_namespace(self.namespace, ceiling))
        for name in self.objects:
            self._now_in_force(name, begun, CEILING_SECONDS)

    async def change(self, name: str, **changes: object) -> None:
        """Fields of an object (`may_leave`, `targets`, `mode`)."""
        begun = time.monotonic()
        configured = self.objects[name]
        for field_name, value in changes.items():
            setattr(configured, field_name, value)
        await self.api.apply(self._deployment(name, configured))
        self._now_in_force(name, begun, WATCH_SECONDS)

    async def raise_limit(self, name: str, by: Decimal) -> None:
        """More money in the same window: in the object and, as the operator would, in its ledger."""
        configured = self.objects[name]
        configured.limit += by
        await self.api.apply(self._deployment(name, configured))
        await self.api.apply(_ledger(self.namespace, name, configured.limit))

    async def ledger(self, name: str) -> Object:
        """The LLMLedger's status."""
        found = await self.api.get(f"{self._path}/llmledgers/{name}")
        return dict(found.get("status") or {})

    async def make_pod(self, name: str, labels: Mapping[str, str], port_name: str, port: int) -> None:
        """A pod that no node has: whoever calls this is its kubelet."""
        container = {"name": "main", "image": "x", "ports": [{"name": port_name, "containerPort": port}]}
        await self.api.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": self.namespace,
                    "labels": {"app.kubernetes.io/managed-by": "spillway", **labels},
                },
                "spec": {"containers": [container], "nodeSelector": {"spillway.dev/nowhere": "true"}},
            }
        )

    async def set_ready(self, pod: str, *, ready: bool) -> None:
        """What its kubelet says of a pod."""
        status = {
            "phase": "Running",
            "podIP": "127.0.0.1",
            "podIPs": [{"ip": "127.0.0.1"}],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        }
        await self.api.patch(f"/api/v1/namespaces/{self.namespace}/pods/{pod}/status", {"status": status})

    def _now_in_force(self, name: str, begun: float, heard_within: float = 0.0) -> None:
        configured = self.objects[name]
        if configured.versions:
            configured.versions[-1].ended = time.monotonic() + heard_within
        spills = configured.mode == "Enabled"
        classes = frozenset(configured.may_leave) & frozenset(CEILINGS[self.ceiling]) if spills else frozenset()
        configured.versions.append(Version(Rules(classes, frozenset(configured.targets)), begun))

    def _deployment(self, name: str, configured: Configured) -> Object:
        spec: dict[str, Any] = {
            "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
            "accelerator": {"profile": "l4-24gb"},
            "slo": {"timeToFirstTokenMilliseconds": 300},
            "queue": {"maxRequests": 1000, "maxWaitSeconds": 30},
            "cache": {"mode": "Ephemeral"},
            "dataPolicy": {
                "defaultClass": DEFAULT_CLASS[name].value,
                "mayLeave": [one.value for one in configured.may_leave],
                "detectors": ["PII", "Secrets"],
            },
        }
        if configured.targets:
            targets = [self._target(target, name) for target in configured.targets]
            spec["fallback"] = {"mode": configured.mode, "targets": targets}
            spec["budget"] = {"limit": f"{configured.limit:.2f}", "window": "Month"}
            spec["access"] = {"mode": "None"}
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": "spillway.dev/v1alpha1", "kind": "LLMDeployment", "metadata": metadata, "spec": spec}

    def _target(self, target: str, deployment: str) -> Object:
        return {
            "name": target,
            "provider": "OpenAICompatible",
            "baseURL": self._urls[target],
            "model": cloud_model(deployment),
            "secretRef": {"name": target, "key": "api-key"},
            "caBundleRef": {"name": target, "key": "ca.crt"},
            "timeoutSeconds": 5,
            "maxConcurrentRequests": 100,
            "price": {"inputPerMillionTokens": "0.50", "outputPerMillionTokens": "2.00"},
        }


def cloud_model(deployment: str) -> str:
    """The model's name at the targets: whose bill a request is on."""
    return f"big-{deployment}"


def _namespace(name: str, ceiling: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"spillway.dev/may-leave": ceiling}},
    }


def _ledger(namespace: str, name: str, limit: Decimal) -> Object:
    return {
        "apiVersion": "spillway.dev/v1alpha1",
        "kind": "LLMLedger",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"limit": f"{limit:.2f}", "window": "Month"},
    }
