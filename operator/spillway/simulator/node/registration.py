"""The Node object and its Lease; pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from spillway.simulator.kubeapi import Object
from spillway.simulator.node import gpus
from spillway.simulator.node.status import timestamp

_LEASE_SECONDS = 40  # the kubelet's
_KUBELET = "v1.36.3"
_CPUS_PER_GPU, _MEMORY_GIB_PER_GPU = 12, 48  # as Google's g2 machines with NVIDIA L4 have them


@dataclass(frozen=True, slots=True)
class Facts:
    """What the node says of itself."""

    name: str
    gpu_count: int
    product: str
    taint: bool
    machine: str
    kernel: str


def node(facts: Facts, ip: str, kubelet_port: int, now: dt.datetime) -> Object:
    """The Node with its status: Ready, with its GPUs, and plainly simulated."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(facts.machine, facts.machine)
    resources = {
        "cpu": str(_CPUS_PER_GPU * max(facts.gpu_count, 1)),
        "memory": f"{_MEMORY_GIB_PER_GPU * max(facts.gpu_count, 1)}Gi",
        "ephemeral-storage": "1000Gi",
        "pods": "110",
        "nvidia.com/gpu": str(facts.gpu_count),
    }
    labels = {
        "kubernetes.io/hostname": facts.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        "spillway.dev/simulated": "true",
        **gpus.labels(facts.product, facts.gpu_count),
    }
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": facts.name, "labels": labels, "annotations": {"spillway.dev/simulated": "true"}},
        "spec": {"taints": [taint]} if facts.taint else {},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": facts.name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}},
            "conditions": [
                _condition("MemoryPressure", "False", "KubeletHasSufficientMemory", now),
                _condition("DiskPressure", "False", "KubeletHasNoDiskPressure", now),
                _condition("PIDPressure", "False", "KubeletHasSufficientPID", now),
                _condition("Ready", "True", "KubeletReady", now),
            ],
            "nodeInfo": {
                "architecture": architecture,
                "operatingSystem": "linux",
                "osImage": "simulated by spillway",
                "kernelVersion": facts.kernel,
                "kubeletVersion": f"{_KUBELET}-simulated",
                "kubeProxyVersion": "",
                "containerRuntimeVersion": "spillway-simulated://0",
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
            },
        },
    }


def lease(name: str, uid: str, now: dt.datetime) -> Object:
    """The Lease that says that the node lives; it goes with the Node."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease", "ownerReferences": [owner]},
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": _LEASE_SECONDS,
            "renewTime": now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }


def _condition(kind: str, status: str, reason: str, now: dt.datetime) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "simulated by spillway",
        "lastHeartbeatTime": timestamp(now),
        "lastTransitionTime": timestamp(now),
    }
