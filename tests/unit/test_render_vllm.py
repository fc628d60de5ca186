from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crd_cases import DEPLOYMENT, changed
from spillway.api.v1alpha1 import parse_deployment
from spillway.errors import InvalidObject
from spillway.render import RenderSettings, render_deployment
from spillway.render.flags import known_flags
from spillway.sizing.plan import plan_deployment
from spillway.sizing.profiles import default_profiles

DATA = Path(__file__).parents[1] / "data"
SETTINGS = RenderSettings(image="ghcr.io/spillway-dev/spillway:test")


def engine(change: dict[str, Any]) -> dict[str, Any]:
    made = parse_deployment(changed(DEPLOYMENT, {"metadata.namespace": "models", "metadata.uid": "8b1f"} | change))
    manifests = render_deployment(made, plan_deployment(made, default_profiles()), SETTINGS)
    (found,) = [manifest for manifest in manifests if manifest["kind"] == "Deployment"]
    return found


def container(change: dict[str, Any]) -> dict[str, Any]:
    (only,) = engine(change)["spec"]["template"]["spec"]["containers"]
    return only


def test_the_flags_that_are_let_through_are_those_that_vllm_lists():
    listed = {line for line in (DATA / "vllm_flags.txt").read_text().splitlines() if line.startswith("--")}
    assert known_flags() == listed - {"--help"}


def test_flags_of_the_object_come_last():
    args = container({"spec.engine.args": ["--enable-expert-parallel", "--attention-config.backend=FLASH_ATTN"]})[
        "args"
    ]
    assert args[-2:] == ["--enable-expert-parallel", "--attention-config.backend=FLASH_ATTN"]


def test_a_flag_that_vllm_has_not_is_refused_with_the_nearest():
    with pytest.raises(InvalidObject, match="did you mean --enable-expert-parallel") as caught:
        engine({"spec.engine.args": ["--seed=1", "--enable-experts-parallel"]})
    assert (caught.value.field, caught.value.reason) == ("spec.engine.args[1]", "UnknownFlag")


def test_another_image_may_have_other_flags():
    made = container({"spec.engine": {"image": "corp/vllm:nightly", "args": ["--brand-new=1"]}})
    assert made["args"][-1] == "--brand-new=1"


def test_variables_of_the_object_stand_beside_those_of_spillway():
    secret = {"name": "wandb", "key": "token"}
    made = container({"spec.engine.env": [{"name": "A", "value": "$(1)"}, {"name": "B", "secretRef": secret}]})
    assert made["env"][-2:] == [
        {"name": "A", "value": "$(1)"},
        {"name": "B", "valueFrom": {"secretKeyRef": secret}},
    ]


def test_the_image_is_pulled_with_the_named_secrets():
    pod = engine({"spec.engine.imagePullSecrets": [{"name": "registry"}]})["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert "imagePullSecrets" not in engine({})["spec"]["template"]["spec"]


def test_cores_are_kept_without_a_limit_and_memory_with_one():
    assert container({"spec.resources": {"cpu": "8", "memory": "32Gi"}})["resources"] == {
        "limits": {"nvidia.com/gpu": "1", "memory": "32Gi"},
        "requests": {"nvidia.com/gpu": "1", "cpu": "8", "memory": "32Gi"},
    }


def test_the_engine_has_the_stated_time_to_start():
    made = engine({"spec.startupTimeoutSeconds": 7200})
    probe = made["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 7200
    assert made["spec"]["progressDeadlineSeconds"] > 7200


def test_a_suspended_object_keeps_everything_but_its_pods():
    running, suspended = engine({"spec.replicas": 3}), engine({"spec.replicas": 3, "spec.suspend": True})
    assert suspended["spec"].pop("replicas") == 0
    assert running["spec"].pop("replicas") == 3
    assert suspended == running
