"""What each change costs: which fields restart engine pods, which only change how many there are, which do neither."""

from __future__ import annotations

import dataclasses

import pytest

from spillway.api.v1alpha1 import LLMDeploymentSpec
from spillway.controller.desire import Desires
from spillway.controller.start import make_policy
from spillway.settings import OperatorSettings

POLICY = make_policy(OperatorSettings())
TARGET = {
    "name": "openai",
    "provider": "OpenAI",
    "model": "gpt-4o",
    "secretRef": {"name": "openai", "key": "key"},
    "price": {"inputPerMillionTokens": "1", "outputPerMillionTokens": "2"},
}
SPEC = {
    "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct"},
    "accelerator": {"profile": "l4-24gb"},
    "cache": {"mode": "Ephemeral"},
    "access": {"mode": "None"},
    "budget": {"limit": "50.00"},
    "dataPolicy": {"mayLeave": ["Public"]},
    "fallback": {"mode": "Enabled", "targets": [TARGET]},
}

RESTARTS = {
    "model.uri": {"model": {"uri": "hf://Qwen/Qwen2.5-3B-Instruct"}},
    "model.revision": {"model": {**SPEC["model"], "revision": "abc"}},
    "model.servedName": {"model": {**SPEC["model"], "servedName": "qwen"}},
    "model.secretRef": {"model": {**SPEC["model"], "secretRef": {"name": "hub", "key": "token"}}},
    "engine.type": {"engine": {"type": "Ollama"}, "model": {"uri": "ollama://qwen2.5:7b"}},
    "engine.image": {"engine": {"image": "vllm/vllm-openai:v0.32.1"}},
    "engine.imagePullSecrets": {"engine": {"imagePullSecrets": [{"name": "registry"}]}},
    "engine.args": {"engine": {"args": ["--seed=7"]}},
    "engine.env": {"engine": {"env": [{"name": "NCCL_DEBUG", "value": "INFO"}]}},
    "contextLength": {"contextLength": 4096},
    "quantization": {"quantization": {"kvCacheDType": "FP8"}},
    "accelerator.profile": {"accelerator": {"profile": "a100-80gb"}},
    "accelerator.count": {"accelerator": {"profile": "l4-24gb", "count": 2}},
    "resources": {"resources": {"memory": "32Gi"}},
    "startupTimeoutSeconds": {"startupTimeoutSeconds": 600},
    # the engine itself refuses what it could not begin in time
    "slo": {"slo": {"timeToFirstTokenMilliseconds": 9000}},
}
SCALES = {"replicas": {"replicas": 3}, "suspend": {"suspend": True}}
NEITHER = {
    "memoryCheck": {"memoryCheck": "Disabled"},
    "queue": {"queue": {"maxRequests": 5}},
    "dataPolicy": {"dataPolicy": {"mayLeave": ["Internal", "Public"]}},
    "fallback.mode": {"fallback": {"mode": "Disabled"}},
    "fallback.targets": {"fallback": {"mode": "Enabled", "targets": [{**TARGET, "model": "gpt-4o-mini"}]}},
    "budget": {"budget": {"limit": "60.00"}},
    "access": {"access": None, "fallback": {"mode": "Disabled"}},
}


def desired(policy=POLICY, **change):
    body = {
        "apiVersion": "spillway.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": "chat", "namespace": "team", "uid": "1", "generation": 1},
        "spec": {field: value for field, value in {**SPEC, **change}.items() if value is not None},
    }
    found = Desires(policy).of(body, None)
    assert found.problem is None, found.problem
    return found.children


def engine(children):
    return next(child for child in children if child["kind"] == "Deployment")


@pytest.mark.parametrize("change", RESTARTS.values(), ids=RESTARTS)
def test_what_the_engine_is_started_with_restarts_it(change):
    assert engine(desired(**change))["spec"]["template"] != engine(desired())["spec"]["template"]


@pytest.mark.parametrize("change", SCALES.values(), ids=SCALES)
def test_the_number_of_pods_restarts_none(change):
    before, after = engine(desired()), engine(desired(**change))
    assert after["spec"]["replicas"] != before["spec"]["replicas"]
    assert {**after["spec"], "replicas": 1} == before["spec"]


@pytest.mark.parametrize("change", NEITHER.values(), ids=NEITHER)
def test_routing_and_money_leave_the_engine_alone(change):
    assert engine(desired(**change)) == engine(desired())


def test_every_field_is_in_one_of_the_tables():
    told = {name.partition(".")[0] for name in (*RESTARTS, *SCALES, *NEITHER)}
    fields = {field.alias or name for name, field in LLMDeploymentSpec.model_fields.items()}
    assert fields <= told | {"cache"}, "say what changing the new field does to running engines"


def test_an_operator_of_a_later_version_leaves_engines_alone():
    # an upgrade changes Spillway's own image, which gateways run, and what it says of itself nowhere else
    later = dataclasses.replace(POLICY, render=dataclasses.replace(POLICY.render, image="spillway:next"))
    assert engine(desired(later)) == engine(desired())


def test_no_object_changes_by_being_rendered_twice():
    assert desired() == desired()
