from __future__ import annotations

import copy
from decimal import Decimal

import pytest

from spillway.controller.projection import difference, quantity

# As a real API server (1.36) shows an applied Deployment: what we said, its defaults, and what others added.
DESIRED = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "chat-engine", "namespace": "team", "labels": {"app": "chat"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "chat"}},
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "engine",
                        "image": "vllm",
                        "args": ["--port=8000", "--seed=1"],
                        "env": [
                            {"name": "A", "value": "1"},
                            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        ],
                        "ports": [{"name": "http", "containerPort": 8000}],
                        "resources": {"limits": {"cpu": "1000m", "memory": "2048Mi", "nvidia.com/gpu": 1}},
                    }
                ],
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            }
        },
    },
}
OWNED = {
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:selector": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"engine"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:args": {},
                        "f:env": {
                            'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}},
                            'k:{"name":"POD"}': {".": {}, "f:name": {}, "f:valueFrom": {"f:fieldRef": {}}},
                        },
                        "f:ports": {
                            'k:{"containerPort":8000,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:containerPort": {}}
                        },
                        "f:resources": {"f:limits": {"f:cpu": {}, "f:memory": {}, "f:nvidia.com/gpu": {}}},
                    }
                },
                "f:tolerations": {},
                "f:volumes": {'k:{"name":"tmp"}': {".": {}, "f:name": {}, "f:emptyDir": {}}},
            }
        },
    },
}
LIVE = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "chat-engine",
        "namespace": "team",
        "uid": "1",
        "resourceVersion": "7",
        "labels": {"app": "chat", "team": "blue"},
        "annotations": {"deployment.kubernetes.io/revision": "1"},
        "managedFields": [
            {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:status": {}}},
            {"manager": "spillway", "operation": "Apply", "fieldsV1": OWNED},
        ],
    },
    "spec": {
        "replicas": 2,
        "progressDeadlineSeconds": 600,
        "selector": {"matchLabels": {"app": "chat"}},
        "template": {
            "spec": {
                "restartPolicy": "Always",
                "containers": [
                    {"name": "sidecar", "image": "mesh"},
                    {
                        "name": "engine",
                        "image": "vllm",
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["--port=8000", "--seed=1"],
                        "env": [
                            {"name": "A", "value": "1"},
                            {
                                "name": "POD",
                                "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
                            },
                        ],
                        "ports": [{"name": "http", "containerPort": 8000, "protocol": "TCP"}],
                        "resources": {"limits": {"cpu": "1", "memory": "2Gi", "nvidia.com/gpu": "1"}},
                    },
                ],
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            }
        },
    },
    "status": {"replicas": 2},
}
CONTAINER = "spec.template.spec.containers.1"
WANTED = "spec.template.spec.containers.0"


def changed(tree, path, value):
    """A copy of `tree` with `value` at the dotted `path`; None takes the key away."""
    made = copy.deepcopy(tree)
    *way, last = path.split(".")
    at = made
    for step in way:
        at = at[int(step)] if step.isdigit() else at[step]
    if value is None:
        del at[last]
    else:
        at[int(last) if last.isdigit() else last] = value
    return made


def without_ours(live):
    made = copy.deepcopy(live)
    made["metadata"]["managedFields"].pop()
    return made


def differs(desired, live):
    return difference(desired, live, manager="spillway")


def test_what_the_server_filled_in_and_others_added_is_no_difference():
    assert differs(DESIRED, LIVE) is None


def test_nothing_is_changed_by_comparing():
    desired, live = copy.deepcopy(DESIRED), copy.deepcopy(LIVE)
    differs(desired, live)
    assert (desired, live) == (DESIRED, LIVE)


@pytest.mark.parametrize(
    ("desired", "live", "path"),
    [
        pytest.param(changed(DESIRED, "spec.replicas", 3), LIVE, "spec.replicas", id="we changed our mind"),
        pytest.param(DESIRED, changed(LIVE, "spec.replicas", 5), "spec.replicas", id="someone changed it by force"),
        pytest.param(DESIRED, changed(LIVE, "spec.replicas", None), "spec.replicas", id="someone took it away"),
        pytest.param(
            changed(DESIRED, "metadata.labels.new", "x"), LIVE, "metadata.labels.new", id="a field we do not own yet"
        ),
        pytest.param(changed(DESIRED, "metadata.labels.app", None), LIVE, "metadata.labels.app", id="the last label"),
        pytest.param(
            changed(DESIRED, "spec.template.spec.tolerations", None),
            LIVE,
            "spec.template.spec.tolerations",
            id="a field we no longer want",
        ),
        pytest.param(
            changed(DESIRED, f"{WANTED}.args", ["--port=8000"]),
            LIVE,
            'spec.template.spec.containers[{"name":"engine"}].args',
            id="an argument less",
        ),
        pytest.param(
            changed(DESIRED, f"{WANTED}.args", ["--seed=1", "--port=8000"]),
            LIVE,
            'spec.template.spec.containers[{"name":"engine"}].args',
            id="arguments in another order",
        ),
        pytest.param(
            DESIRED,
            changed(LIVE, f"{CONTAINER}.resources.limits.memory", "3Gi"),
            'spec.template.spec.containers[{"name":"engine"}].resources.limits.memory',
            id="another quantity",
        ),
        pytest.param(
            changed(DESIRED, f"{WANTED}.env", [{"name": "A", "value": "1"}]),
            LIVE,
            'spec.template.spec.containers[{"name":"engine"}].env[{"name":"POD"}]',
            id="a keyed item less",
        ),
        pytest.param(
            DESIRED,
            changed(LIVE, "spec.template.spec.containers", [{"name": "sidecar"}]),
            'spec.template.spec.containers[{"name":"engine"}]',
            id="our keyed item is gone",
        ),
        pytest.param(
            changed(DESIRED, "spec.template.spec.volumes.0", {"name": "other", "emptyDir": {}}),
            LIVE,
            'spec.template.spec.volumes[{"name": "other", "emptyDir": {}}]',
            id="another keyed item",
        ),
        pytest.param(
            DESIRED,
            changed(LIVE, f"{CONTAINER}.env.1.valueFrom.fieldRef.apiVersion", "v2"),
            'spec.template.spec.containers[{"name":"engine"}].env[{"name":"POD"}].valueFrom.fieldRef',
            id="something else than the default in a value merged as a whole",
        ),
        pytest.param(DESIRED, without_ours(LIVE), "metadata.managedFields", id="we own nothing of it"),
    ],
)
def test_each_difference_is_found_and_named(desired, live, path):
    assert differs(desired, live) == path


def test_items_of_others_in_a_keyed_list_and_their_order_are_theirs():
    live = changed(LIVE, f"{CONTAINER}.env", list(reversed(LIVE["spec"]["template"]["spec"]["containers"][1]["env"])))
    live["spec"]["template"]["spec"]["containers"][1]["env"].append({"name": "INJECTED", "value": "x"})
    assert differs(DESIRED, live) is None


def test_what_others_put_into_a_mapping_that_we_said_is_empty_stays():
    desired = {"metadata": {"name": "x", "annotations": {}}}
    live = {
        "metadata": {
            "annotations": {"theirs": "1"},
            "managedFields": [
                {"manager": "spillway", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:annotations": {}}}}
            ],
        }
    }
    assert differs(desired, live) is None


def test_a_set_is_compared_by_its_members():
    def live(*owned):
        fields = {"f:spec": {"f:set": {f'v:"{name}"': {} for name in owned}}}
        return {
            "spec": {"set": ["theirs", *owned]},
            "metadata": {"managedFields": [{"manager": "spillway", "operation": "Apply", "fieldsV1": fields}]},
        }

    assert differs({"spec": {"set": ["b", "a"]}}, live("a", "b")) is None
    assert differs({"spec": {"set": ["a"]}}, live("a", "b")) == 'spec.set["b"]'
    assert differs({"spec": {"set": ["a", "b"]}}, live("a")) == 'spec.set["b"]'


def test_a_list_without_items_is_nobodys_field():
    fields = {"f:spec": {"f:replicas": {}}}
    live = {
        "spec": {"replicas": 1},
        "metadata": {"managedFields": [{"manager": "spillway", "operation": "Apply", "fieldsV1": fields}]},
    }
    assert differs({"spec": {"replicas": 1, "policy": {"mayLeave": []}}}, live) is None
    assert differs({"spec": {"replicas": 1, "volume": {"emptyDir": {}}}}, live) == "spec.volume"
    fields["f:spec"]["f:policy"] = {"f:mayLeave": {'v:"Public"': {}}}
    live["spec"]["policy"] = {"mayLeave": ["Public"]}
    assert differs({"spec": {"replicas": 1, "policy": {"mayLeave": []}}}, live) == 'spec.policy.mayLeave["Public"]'


def test_status_is_compared_with_what_was_applied_through_the_subresource():
    live = {
        "status": {"replicas": 1},
        "metadata": {
            "managedFields": [
                {"manager": "spillway", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {
                    "manager": "spillway",
                    "operation": "Apply",
                    "subresource": "status",
                    "fieldsV1": {"f:status": {"f:replicas": {}}},
                },
            ]
        },
    }
    same = {"metadata": {"name": "x"}, "status": {"replicas": 1}}
    assert difference(same, live, manager="spillway", subresource="status") is None
    assert difference({"status": {"replicas": 2}}, live, manager="spillway", subresource="status") == "status.replicas"
    assert difference(same, live, manager="spillway") == "status"


def test_text_that_looks_like_a_quantity_is_compared_as_text():
    live = changed(LIVE, f"{CONTAINER}.env.0.value", "1000m")
    assert differs(changed(DESIRED, f"{WANTED}.env.0.value", "1"), live) is not None


def test_true_is_not_one():
    live = {
        "spec": {"flag": 1},
        "metadata": {
            "managedFields": [{"manager": "spillway", "operation": "Apply", "fieldsV1": {"f:spec": {"f:flag": {}}}}]
        },
    }
    assert differs({"spec": {"flag": True}}, live) == "spec.flag"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", Decimal(1)),
        (8, Decimal(8)),
        ("1500m", Decimal("1.5")),
        ("0.5", Decimal("0.5")),
        ("2Gi", Decimal(2 * 1024**3)),
        ("2048Mi", Decimal(2 * 1024**3)),
        ("3M", Decimal(3_000_000)),
        ("1e3", Decimal(1000)),
        ("2E", Decimal(2 * 10**18)),
        ("-1k", Decimal(-1000)),
        ("", None),
        ("1.2.3", None),
        ("Gi", None),
        ("1GiB", None),
        (True, None),
        (None, None),
    ],
)
def test_quantities_are_numbers(text, number):
    assert quantity(text) == number
