from __future__ import annotations

import base64
from typing import Any

import pytest

from spillway.simulator.node.environment import (
    NotYetError,
    arguments,
    expand,
    field_value,
    references,
    rewriter,
    variables,
)
from spillway.simulator.node.plan import ContainerPlan, UnsupportedError

POD = {
    "metadata": {
        "namespace": "n",
        "name": "p",
        "uid": "u",
        "labels": {"b": "2", "a": 'say "x"'},
        "annotations": {"spillway.dev/k": "v"},
    },
    "spec": {"nodeName": "node", "serviceAccountName": "sa"},
    "status": {"podIP": "127.1.1.1", "podIPs": [{"ip": "127.1.1.1"}], "hostIP": "127.2.2.2"},
}
OBJECTS = {
    ("Secret", "s"): {"kind": "Secret", "data": {"k": base64.b64encode(b"secret").decode()}},
    ("ConfigMap", "c"): {"kind": "ConfigMap", "data": {"x": "1", "y": "2"}},
}


def resolve(*env: dict[str, Any], env_from: tuple[dict[str, Any], ...] = ()) -> dict[str, str]:
    container = ContainerPlan("main", "image", env=env, env_from=env_from)
    return variables(container, POD, {"KUBERNETES_SERVICE_HOST": "h"}, lambda kind, name: OBJECTS.get((kind, name)))


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("a$(A)b$(B)", "a1b2"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(NONE)", "$(NONE)"),
        ("$A ${A}", "$A ${A}"),
        ("$(A", "$(A"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("/data", "/real/d"),
        ("--dir=/data/x", "--dir=/real/d/x"),
        ("/data/inner/x", "/real/i/x"),
        ("/data:/data/inner", "/real/d:/real/i"),
        ("cat /data/x; ls '/data'", "cat /real/d/x; ls '/real/d'"),
        ("/database", "/database"),
        ("/other/data", "/other/data"),
        ("https://host/data", "https://host/data"),
        ("./data", "./data"),
    ],
)
def test_mount_paths_are_replaced_where_they_stand_as_paths(text: str, rewritten: str) -> None:
    assert rewriter({"/data": "/real/d", "/data/inner": "/real/i", "/": "/never"})(text) == rewritten


def test_a_replaced_path_is_not_replaced_again() -> None:
    assert rewriter({"/a": "/b", "/b": "/c"})("/a /b") == "/b /c"


def test_variables_come_in_the_order_of_the_spec() -> None:
    found = resolve(
        {"name": "FIRST", "value": "1"},
        {"name": "SECOND", "value": "$(FIRST)-$(THIRD)-$(KUBERNETES_SERVICE_HOST)-$(C_x)"},
        {"name": "THIRD", "value": "3"},
        {"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "EMPTY"},
        env_from=({"configMapRef": {"name": "c"}, "prefix": "C_"},),
    )
    assert found == {
        "KUBERNETES_SERVICE_HOST": "h",
        "C_x": "1",
        "C_y": "2",
        "FIRST": "1",
        "SECOND": "1-$(THIRD)-h-1",
        "THIRD": "3",
        "K": "secret",
        "EMPTY": "",
    }


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'),
        ({"secretKeyRef": {"name": "s", "key": "none"}}, "couldn't find key none in Secret n/s"),
    ],
)
def test_what_is_missing_is_waited_for_unless_it_is_optional(reference: dict[str, Any], message: str) -> None:
    with pytest.raises(NotYetError) as raised:
        resolve({"name": "K", "valueFrom": reference})
    assert str(raised.value) == message
    [(kind, key)] = reference.items()
    assert "K" not in resolve({"name": "K", "valueFrom": {kind: {**key, "optional": True}}})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "n"),
        ("metadata.uid", "u"),
        ("metadata.labels['b']", "2"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['spillway.dev/k']", "v"),
        ("metadata.labels", 'a="say \\"x\\""\nb="2"'),
        ("spec.nodeName", "node"),
        ("spec.serviceAccountName", "sa"),
        ("status.podIP", "127.1.1.1"),
        ("status.podIPs", "127.1.1.1"),
        ("status.hostIP", "127.2.2.2"),
    ],
)
def test_a_field_is_read(path: str, value: str) -> None:
    assert field_value(POD, path) == value


def test_a_field_that_the_api_does_not_offer_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"spec\.containers"):
        field_value(POD, "spec.containers")
    with pytest.raises(UnsupportedError, match="resourceFieldRef"):
        resolve({"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}})


def test_arguments_are_expanded_before_paths_are_replaced() -> None:
    assert arguments(["--d=$(D)", "$(N)"], {"D": "/data/x"}, rewriter({"/data": "/real"})) == ("--d=/real/x", "$(N)")


def test_every_object_that_variables_come_from_is_named() -> None:
    container = ContainerPlan(
        "main",
        "image",
        env=({"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}, {"name": "V", "value": "v"}),
        env_from=({"configMapRef": {"name": "c"}},),
    )
    assert references([container]) == {("Secret", "s"), ("ConfigMap", "c")}
