from __future__ import annotations

from typing import Any

import pytest

from crd_cases import OLLAMA_SPEC, changed
from spillway.api.v1alpha1 import parse_deployment
from spillway.render import RenderSettings, render_deployment
from spillway.sizing.plan import plan_deployment
from spillway.sizing.profiles import default_profiles

SETTINGS = RenderSettings(image="ghcr.io/spillway-dev/spillway:test")
OBJECT = {
    "apiVersion": "spillway.dev/v1alpha1",
    "kind": "LLMDeployment",
    "metadata": {"name": "chat", "namespace": "models", "uid": "8b1f"},
    "spec": OLLAMA_SPEC,
}
EPHEMERAL = {"spec.cache": {"mode": "Ephemeral"}}


def pod(change: dict[str, Any] | None = None) -> dict[str, Any]:
    made = parse_deployment(changed(OBJECT, change or {}))
    manifests: tuple[Any, ...] = render_deployment(made, plan_deployment(made, default_profiles()), SETTINGS)
    (found,) = [manifest for manifest in manifests if manifest["kind"] == "Deployment"]
    return found["spec"]["template"]


def container(change: dict[str, Any] | None = None, kind: str = "containers") -> dict[str, Any]:
    (only,) = pod(change)["spec"][kind]
    return only


def variables(of: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in of["env"]}


def test_ollama_calls_nobody_keeps_its_store_and_its_model_and_shares_the_context_out():
    made = variables(container({"spec.contextLength": 4096}))
    assert (
        made.items()
        >= {
            "OLLAMA_NO_CLOUD": "1",
            "OLLAMA_NOPRUNE": "1",
            "OLLAMA_KEEP_ALIVE": "-1",
            "OLLAMA_MAX_LOADED_MODELS": "1",
            "OLLAMA_NUM_PARALLEL": "2",
            "OLLAMA_CONTEXT_LENGTH": "4096",
            "OLLAMA_FLASH_ATTENTION": "1",
            "OLLAMA_KV_CACHE_TYPE": "q8_0",
        }.items()
    )
    assert variables(container({"spec.accelerator.profile": "l4-24gb"}))["OLLAMA_NUM_PARALLEL"] == "4"


@pytest.mark.parametrize(
    ("change", "source", "verb"),
    [
        (EPHEMERAL, "llama3.2:1b", "ollama pull"),
        (EPHEMERAL | {"spec.model.uri": "ollama://r.corp:5000/team/m:7b"}, "r.corp:5000/team/m:7b", "ollama pull"),
        (EPHEMERAL | {"spec.model.uri": "hf://org/m-7B-GGUF"}, "hf.co/org/m-7B-GGUF:Q4_K_M", "ollama pull"),
        (
            EPHEMERAL | {"spec.model.uri": "hf://org/m-7B-GGUF", "spec.quantization": {"variant": "Q8_0"}},
            "hf.co/org/m-7B-GGUF:Q8_0",
            "ollama pull",
        ),
        ({}, "llama3.2:1b", "ln -sf"),
        ({"spec.model.uri": "pvc://store/a/m-7b.gguf"}, "/models/a/m-7b.gguf", "ollama create"),
    ],
)
def test_an_init_container_fills_the_store_under_the_name_that_clients_use(change, source, verb):
    init = container(change, "initContainers")
    assert init["command"][:2] == ["/bin/sh", "-c"]
    assert verb in init["command"][2]
    assert variables(init).items() >= {"SPILLWAY_MODEL": source, "SPILLWAY_SERVED_NAME": "chat"}.items()
    assert variables(init)["OLLAMA_HOST"].startswith("127.0.0.1:")
    store = {"name": "store", "mountPath": variables(init)["OLLAMA_MODELS"]}
    assert store in init["volumeMounts"]
    assert store | {"readOnly": True} in container(change)["volumeMounts"]


def test_only_a_pod_that_pulls_may_go_out():
    label = "spillway.dev/egress"
    assert pod(EPHEMERAL)["metadata"]["labels"][label] == "Registries"
    assert label not in pod()["metadata"]["labels"]
    claimed = pod({"spec.model.uri": "pvc://store/m-7b.gguf"})
    assert label not in claimed["metadata"]["labels"]
    (volume,) = [volume for volume in claimed["spec"]["volumes"] if volume["name"] == "models"]
    assert volume["persistentVolumeClaim"] == {"claimName": "store", "readOnly": True}


def job(change: dict[str, Any] | None = None) -> dict[str, Any]:
    made = parse_deployment(changed(OBJECT, change or {}))
    manifests: tuple[Any, ...] = render_deployment(made, plan_deployment(made, default_profiles()), SETTINGS)
    (found,) = [manifest for manifest in manifests if manifest["kind"] == "Job"]
    return found


def test_a_job_pulls_into_the_folder_of_a_claim_which_engines_link_to_and_cannot_write():
    (pull,) = job()["spec"]["template"]["spec"]["containers"]
    assert pull["image"] == container()["image"]
    store = variables(pull)["OLLAMA_MODELS"]
    assert store == variables(container(kind="initContainers"))["SPILLWAY_STORE"]
    assert variables(pull)["SPILLWAY_MODEL"] == "llama3.2:1b"
    assert {"name": "models", "mountPath": "/models"} in pull["volumeMounts"]
    for kind in ("initContainers", "containers"):
        assert {"name": "models", "mountPath": "/models", "readOnly": True} in container(kind=kind)["volumeMounts"]
    claim = pod()["metadata"]["labels"]["spillway.dev/claim"]
    assert job()["spec"]["template"]["metadata"]["labels"]["spillway.dev/claim"] == claim
    assert job()["spec"]["template"]["spec"].keys() & {"initContainers"} == set()


def test_another_variant_is_another_model_on_the_claim_and_another_name_is_not():
    files = {"spec.model.uri": "hf://org/m-7B-GGUF"}
    names = {job(files | {"spec.quantization": {"variant": each}})["metadata"]["name"] for each in ("Q4_K_M", "Q8_0")}
    assert len(names) == 2
    assert job({"spec.model.servedName": "llama"}) == job()


def test_variables_of_the_object_reach_the_job_that_pulls():
    (pull,) = job({"spec.engine.env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]})["spec"]["template"][
        "spec"
    ]["containers"]
    assert variables(pull)["HTTPS_PROXY"] == "http://proxy:3128"


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe"])
def test_ready_means_that_an_empty_prompt_was_answered_and_the_probe_outlasts_a_load(probe: str):
    made = container({"spec.model.servedName": "llama", "spec.startupTimeoutSeconds": 900})[probe]
    assert made["exec"]["command"] == ["ollama", "run", "llama", ""]
    assert made["timeoutSeconds"] == 900


def test_streams_end_before_ollama_is_told_to():
    made = pod()["spec"]
    wait = made["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert wait >= 60
    assert made["terminationGracePeriodSeconds"] > wait


def test_a_processor_gives_whole_cores_as_a_limit_and_keeps_the_planned_memory():
    made = container()["resources"]
    assert made["limits"] == {"cpu": "2"}
    assert made["requests"]["cpu"] == "2"
    assert made["requests"]["memory"].endswith("Mi")
    stated = container({"spec.resources": {"cpu": "8", "memory": "24Gi"}})["resources"]
    assert stated == {"limits": {"cpu": "8", "memory": "24Gi"}, "requests": {"cpu": "8", "memory": "24Gi"}}


def test_an_accelerator_is_asked_for_where_there_is_one():
    assert container({"spec.accelerator.profile": "l4-24gb"})["resources"] == {
        "limits": {"nvidia.com/gpu": "1"},
        "requests": {"nvidia.com/gpu": "1"},
    }


def test_what_ollama_writes_lies_on_a_volume_and_it_runs_restricted():
    for kind in ("initContainers", "containers"):
        made = container(kind=kind)
        mounts = {mount["mountPath"] for mount in made["volumeMounts"]}
        assert {variables(made)["HOME"], variables(made)["OLLAMA_MODELS"], "/tmp"} <= mounts
        assert made["securityContext"]["readOnlyRootFilesystem"] is True
        assert made["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_variables_of_the_object_reach_the_engine_and_its_init_container():
    change = {"spec.engine.env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]}
    assert variables(container(change))["HTTPS_PROXY"] == "http://proxy:3128"
    assert variables(container(change, "initContainers"))["HTTPS_PROXY"] == "http://proxy:3128"


def test_the_service_points_at_ollamas_port():
    made = parse_deployment(OBJECT)
    manifests: tuple[Any, ...] = render_deployment(made, plan_deployment(made, default_profiles()), SETTINGS)
    (service,) = [it for it in manifests if it["kind"] == "Service" and it["metadata"]["name"] == "chat-engine"]
    assert service["spec"]["ports"][0]["port"] == 11434
