"""Pods of the simulators' image."""

from __future__ import annotations

from typing import Any

from e2e.cluster import Object
from e2e.images.build import ENGINE

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
SECURE = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def pod(name: str, command: list[str], mounts: Object | None = None, **spec: Any) -> Object:
    """A pod of the simulators' image that the restricted standard admits; `mounts` are volumes by their place."""
    volumes = {"/tmp": {"emptyDir": {}}, **(mounts or {})}
    places = [(f"volume-{number}", place, volume) for number, (place, volume) in enumerate(volumes.items())]
    container = {
        "name": name,
        "image": ENGINE,
        "imagePullPolicy": "Never",
        "command": command,
        "securityContext": SECURE,
        "volumeMounts": [{"name": volume, "mountPath": place} for volume, place, _ in places],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "fsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": volume, **source} for volume, _, source in places],
            **spec,
        },
    }
