"""What a claim without a volume is told by its storage class."""

from __future__ import annotations

import pytest

from spillway.controller.conditions import ConditionType, no, yes
from spillway.controller.model import Model
from spillway.controller.storage import StorageClasses, storage_classes, unbound_claim, with_storage

FAST = {"kind": "StorageClass", "metadata": {"name": "fast"}}
STANDARD = {
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
}
WAITING = Model(no(ConditionType.MODEL_READY, "Unschedulable", "unbound"))


def claim(name=None, phase="Pending"):
    spec = {"storageClassName": name} if name else {}
    meta = {"name": "chat-models", "namespace": "team"}
    return {"kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("children", "classes", "told"),
    [
        ((claim("slow"),), [FAST, STANDARD], ("no storage class 'slow'", "are: fast, standard (the default)")),
        ((claim("slow"),), [], ("no storage class 'slow'", "are: none")),
        ((claim(),), [FAST], ("has no default storage class", "spec.cache.storageClassName", "are: fast")),
    ],
    ids=["unknown", "none at all", "no default"],
)
def test_a_class_that_is_not_there_is_named_with_the_choices(children, classes, told):
    model = with_storage(WAITING, children, storage_classes(classes))
    assert model.finding.reason == "StorageClassNotFound"
    assert all(words in model.finding.message for words in told)
    assert model.is_stalled


@pytest.mark.parametrize(
    ("children", "classes"),
    [
        ((claim("fast"),), StorageClasses(("fast",))),
        ((claim(),), StorageClasses(("fast",), "fast")),
        ((claim("slow", "Bound"),), StorageClasses(("fast",))),
        ((claim("slow"),), None),
        ((), StorageClasses(())),
    ],
    ids=["it is there", "the default", "bound before its class went", "no right to read them", "no claim"],
)
def test_nothing_else_is_blamed_on_it(children, classes):
    assert with_storage(WAITING, children, classes) is WAITING


def test_a_model_that_is_there_needs_no_class():
    there = Model(yes(ConditionType.MODEL_READY, "Downloaded", "all of it"))
    assert with_storage(there, (claim("slow"),), StorageClasses(())) is there
    assert unbound_claim([claim("fast", "Bound"), {"kind": "Job", "metadata": {"name": "x"}}]) is None
