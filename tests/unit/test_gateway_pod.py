"""What the administrator says of gateways' pods: read, refused, and rendered as the API server will tell it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from crd_cases import DEPLOYMENT, OLLAMA_SPEC, changed
from spillway.api.v1alpha1 import LLMDeployment, parse_deployment
from spillway.errors import InvalidSetting
from spillway.gateway_pod import GatewayPod, parse_gateway_pod
from spillway.render import RenderSettings, render_deployment, render_namespace
from spillway.settings import read_settings
from spillway.sizing.plan import plan_deployment
from spillway.sizing.profiles import default_profiles

IMAGE = "registry.example/spillway:1"
DEFAULT = {"requests": {"cpu": "100m", "memory": "256Mi"}}
EVERYWHERE = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}, "namespaceSelector": {}}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def deployment(change: dict[str, Any] | None = None) -> LLMDeployment:
    return parse_deployment(changed(changed(DEPLOYMENT, {"metadata.namespace": "models"}), change or {}))


def template(stated: dict[str, Any]) -> dict[str, Any]:
    """The pod template of a gateway whose administrator stated that."""
    settings = RenderSettings.of(read_settings({"SPILLWAY_GATEWAY_POD": json.dumps(stated)}))
    made: tuple[Any, ...] = render_namespace("models", [deployment()], settings)
    (found,) = [it for it in made if it["kind"] == "Deployment"]
    return found["spec"]["template"]


@pytest.mark.parametrize(
    ("stated", "rendered"),
    [
        ({"nodeSelector": {"node-role.kubernetes.io/worker": ""}}, None),
        ({"tolerations": [{"operator": "Exists"}]}, None),
        (
            {"tolerations": [{"key": "a", "value": "", "effect": "NoExecute", "tolerationSeconds": 0}]},
            {"tolerations": [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 0}]},
        ),
        ({"affinity": {"podAntiAffinity": {REQUIRED: [EVERYWHERE]}}}, None),
        (
            {"affinity": {"nodeAffinity": {}, "podAffinity": {REQUIRED: [EVERYWHERE | {"namespaces": []}]}}},
            {"affinity": {"podAffinity": {REQUIRED: [EVERYWHERE]}}},
        ),
        ({"priorityClassName": "high"}, None),
        ({"imagePullSecrets": [{"name": "mirror"}, {"name": "other"}]}, None),
    ],
    ids=str,
)
def test_what_is_stated_reaches_the_gateways_pod_as_the_api_server_will_tell_it(
    stated: dict[str, Any], rendered: dict[str, Any] | None
):
    plain, found = template({})["spec"], template(stated)["spec"]
    assert found == plain | (stated if rendered is None else rendered)
    assert not plain.keys() & {"nodeSelector", "tolerations", "affinity", "priorityClassName", "imagePullSecrets"}


def test_annotations_and_resources_are_the_pods_and_its_containers():
    assert "annotations" not in template({})["metadata"]
    assert template({"podAnnotations": {"mesh/inject": "no"}})["metadata"]["annotations"] == {"mesh/inject": "no"}

    def resources(stated: dict[str, Any]) -> dict[str, Any]:
        return template({"resources": stated})["spec"]["containers"][0]["resources"]

    assert resources({}) == resources({"requests": {}}) == DEFAULT
    assert resources({"limits": {"cpu": 0.5, "memory": "1Gi", "ephemeral-storage": 2}}) == {
        "limits": {"cpu": "0.5", "memory": "1Gi", "ephemeral-storage": 2}
    }


def test_what_is_empty_is_as_it_is_by_default():
    empty = {"nodeSelector": {}, "tolerations": [], "affinity": {"podAffinity": {REQUIRED: []}}, "resources": None}
    assert parse_gateway_pod(json.dumps(empty | {"priorityClassName": "", "imagePullSecrets": []})) == GatewayPod()


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("pool: a", "must be JSON such as"),
        ([], "must have a mapping at it, not []"),
        (
            {"nodeSelecter": {"pool": "a"}},
            (
                "has 'nodeSelecter' at it, which is not known: it must be one of nodeSelector, tolerations, affinity, "
                "priorityClassName, imagePullSecrets, podAnnotations, resources"
            ),
        ),
        ({"nodeSelector": {"pool": 1}}, "must have text at nodeSelector.pool, not 1: quote it"),
        ({"podAnnotations": ["a"]}, 'must have a mapping at podAnnotations, not ["a"]'),
        ({"priorityClassName": 7}, "must have text at priorityClassName, not 7: quote it"),
        ({"tolerations": {"key": "a"}}, 'must have a list at tolerations, not {"key": "a"}'),
        ({"tolerations": [{"keys": "a"}]}, "has 'keys' at tolerations[0], which is not known: it must be one of key,"),
        (
            {"tolerations": [{"key": "a", "effect": "None"}]},
            "has 'None' at tolerations[0].effect, which must be one of NoSchedule, PreferNoSchedule, NoExecute",
        ),
        ({"tolerations": [{"key": "a", "operator": "In"}]}, "has 'In' at tolerations[0].operator, which must be one"),
        ({"tolerations": [{"value": "a"}]}, "must have a key at tolerations[0], or operator Exists"),
        (
            {"tolerations": [{"key": "a", "tolerationSeconds": 1.5}]},
            "must have whole seconds at tolerations[0].tolerationSeconds, not",
        ),
        ({"affinity": {"nodeAfinity": {}}}, "has 'nodeAfinity' at affinity, which is not known"),
        (
            {"affinity": {"podAffinity": {"preferred": [{"weight": 0.5}]}}},
            "must have a whole number at affinity.podAffinity.preferred[0].weight, not 0.5",
        ),
        ({"imagePullSecrets": ["mirror"]}, 'must have a mapping at imagePullSecrets[0], not "mirror"'),
        (
            {"imagePullSecrets": [{"name": "a"}, {"name": "a"}]},
            "has 'a' at imagePullSecrets[1].name, which must name a Secret, each of them once",
        ),
        ({"resources": {"claims": []}}, "has 'claims' at resources, which is not known"),
        (
            {"resources": {"requests": {"memory": "1 GB"}}},
            'must have a quantity such as "500m" or "1Gi" at resources.requests.memory, not "1 GB"',
        ),
        ({"resources": {"requests": {"cpu": -1}}}, "at resources.requests.cpu, not -1"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_named_with_its_field_and_what_it_must_be(stated: object, message: str):
    text = stated if isinstance(stated, str) else json.dumps(stated)
    with pytest.raises(InvalidSetting, match=f"^SPILLWAY_GATEWAY_POD: {re.escape(repr(text))} .*{re.escape(message)}"):
        read_settings({"SPILLWAY_GATEWAY_POD": text})


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, ["mirror"]),
        ({"spec.engine.imagePullSecrets": [{"name": "own"}]}, ["own", "mirror"]),
        ({"spec.engine.imagePullSecrets": [{"name": "mirror"}]}, ["mirror"]),
        ({"spec": OLLAMA_SPEC}, []),
    ],
    ids=["Spillway's image alone", "beside the object's", "named twice", "Ollama's own image"],
)
def test_a_download_pulls_spillways_image_with_its_secrets_and_engines_do_not(change: dict[str, Any], names: list[str]):
    made = deployment(change)
    settings = RenderSettings(image=IMAGE, gateway_pod=GatewayPod(image_pull_secrets=("mirror",)))
    objects: tuple[Any, ...] = render_deployment(made, plan_deployment(made, default_profiles()), settings)
    secrets = {
        it["kind"]: [secret["name"] for secret in it["spec"]["template"]["spec"].get("imagePullSecrets", ())]
        for it in objects
        if it["kind"] in {"Job", "Deployment"}
    }
    own = [secret.name for secret in made.spec.engine.image_pull_secrets]
    assert secrets == {"Job": names, "Deployment": own}
