"""Why a claim has no volume, as far as storage classes tell. Pure.

A claim whose class does not exist is accepted and waits for ever; the scheduler says of its pods no more than that it
is not bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spillway.controller.conditions import ConditionType, no
from spillway.controller.model import Model
from spillway.controller.objects import Object, at, ref_of, text_at

STORAGE_CLASS_NOT_FOUND = "StorageClassNotFound"
# https://kubernetes.io/docs/concepts/storage/storage-classes/#default-storageclass
_DEFAULT_ANNOTATION = "storageclass.kubernetes.io/is-default-class"
_ANOTHER = "make it, or make another LLMDeployment with one that exists, and delete this one: it cannot be changed"
_NO_DEFAULT = (
    "the cluster has no default storage class: make one the default, or make another LLMDeployment that names one in "
    "spec.cache.storageClassName, and delete this one"
)


@dataclass(frozen=True, slots=True)
class StorageClasses:
    """The names of a cluster's storage classes, and which of them claims without one are given."""

    names: tuple[str, ...]
    default: str | None = None

    def __str__(self) -> str:
        told = [f"{name} (the default)" if name == self.default else name for name in self.names]
        return ", ".join(told) or "none"


def storage_classes(found: Sequence[Object]) -> StorageClasses:
    """The storage classes among the objects of a LIST."""
    names = {text_at(each, "metadata", "name"): each for each in found}
    default = (name for name, each in sorted(names.items()) if _is_default(each))
    return StorageClasses(tuple(sorted(names)), next(default, None))


def unbound_claim(children: Sequence[Object]) -> Object | None:
    """The claim among them that has no volume yet."""
    claims = (child for child in children if ref_of(child).kind == "PersistentVolumeClaim")
    return next((claim for claim in claims if text_at(claim, "status", "phase") != "Bound"), None)


def with_storage(model: Model | None, children: Sequence[Object], classes: StorageClasses | None) -> Model | None:
    """The model, whose finding names the storage class that its claim waits for in vain."""
    claim = unbound_claim(children)
    if model is None or model.is_there or claim is None or classes is None:
        return model
    wanted = text_at(claim, "spec", "storageClassName")
    if wanted in classes.names or (not wanted and classes.default):
        return model
    told = f"there is no storage class {wanted!r}" if wanted else _NO_DEFAULT
    cure = f": {_ANOTHER}" if wanted else ""
    message = f"spec.cache.storageClassName: {told}; the cluster's are: {classes}{cure}"
    return replace(model, finding=no(ConditionType.MODEL_READY, STORAGE_CLASS_NOT_FOUND, message))


def _is_default(storage_class: Object) -> bool:
    annotations = at(storage_class, "metadata", "annotations")
    return isinstance(annotations, dict) and annotations.get(_DEFAULT_ANNOTATION) == "true"
