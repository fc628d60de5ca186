"""Kubernetes objects as they travel: plain JSON, and the few ways in which the controller looks into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

Object: TypeAlias = dict[str, object]
"""One Kubernetes object as the API server's JSON says it."""

GROUP = "spillway.dev"
FIELD_MANAGER = "spillway"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "spillway"
OWNER_LABEL = "spillway.dev/deployment"
MAY_LEAVE_LABEL = "spillway.dev/may-leave"
GATEWAY_NAME = "spillway-gateway"


class Key(NamedTuple):
    """Which LLMDeployment."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Ref(NamedTuple):
    """Which object; namespace is empty for what has none."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def at(value: object, *path: str) -> object:
    """What stands at `path`, None if anything on the way is absent."""
    for step in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


def text_at(value: object, *path: str) -> str:
    """The string at `path`, empty if there is none."""
    found = at(value, *path)
    return found if isinstance(found, str) else ""


def ref_of(obj: Mapping[str, object]) -> Ref:
    """Which object this is."""
    return Ref(text_at(obj, "kind"), text_at(obj, "metadata", "namespace"), text_at(obj, "metadata", "name"))


def label_of(obj: Mapping[str, object], label: str) -> str | None:
    """The value of a label, None if the object has not got it."""
    found = at(obj, "metadata", "labels", label)
    return found if isinstance(found, str) else None
