"""A model's way onto a claim: the operator's Job on a simulated node, from a hub of the test's own."""

from __future__ import annotations

import asyncio

import pytest

from operator_process import KINDS, until
from spillway.simulator.hub import Hub, Repository, made_up_model

pytestmark = pytest.mark.cluster

CONFIG = {
    "model_type": "qwen2",
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "max_position_embeddings": 16384,
    "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128},
}
FILES = made_up_model(8 << 20, CONFIG)
NAME = "acme/model-7b"


@pytest.fixture
async def hub():
    async with Hub({NAME: Repository(FILES, token="hf_right")}) as hub:
        yield hub


@pytest.fixture
def operator_environment(hub):
    return {"SPILLWAY_HUB_ENDPOINT": hub.url}


@pytest.fixture
def status_of(api, namespace):
    async def status_of(name="chat"):
        return (await api.get(f"{KINDS}/namespaces/{namespace}/llmdeployments/{name}")).get("status", {})

    return status_of


def condition(status, kind):
    return next((it for it in status.get("conditions", ()) if it["type"] == kind), {"status": "", "reason": ""})


def deployment(namespace):
    return {
        "apiVersion": "spillway.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": {
            "model": {"uri": f"hf://{NAME}", "secretRef": {"name": "hub", "key": "token"}},
            "accelerator": {"profile": "l4-24gb"},
            "cache": {"mode": "PersistentVolume", "size": "1Gi", "retentionPolicy": "Delete"},
        },
    }


def secret(namespace, token):
    metadata = {"name": "hub", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": token}}


async def test_a_model_is_downloaded_once_and_served_from_its_claim(
    operator, node, hub, api, namespace, status_of, control_plane
):
    pods, engines = f"/api/v1/namespaces/{namespace}/pods", f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await api.create(deployment(namespace))

    async def says(reason):
        return condition(await status_of(), "ModelReady")["reason"] == reason

    # no Secret yet, then a wrong token: each is told where people look, and each is put right by the Secret alone
    await until("the missing Secret is told", lambda: says("SecretNotFound"), 60)
    done = await asyncio.to_thread(control_plane.kubectl, "get", "llmdep", "chat", "-n", namespace)
    assert done.stdout.splitlines()[1].split()[3:5] == ["False", "SecretNotFound"]
    await api.apply(secret(namespace, "hf_wrong"))
    await until("the wrong token is told", lambda: says("Unauthorized"), 60)
    status = await status_of()
    assert condition(status, "Stalled")["reason"] == "Unauthorized"
    assert condition(status, "WorkloadReady")["reason"] == "WaitingForModel"
    assert not await api.list(engines, labels="app.kubernetes.io/component=engine")

    seen = []

    async def is_there():
        status = await status_of()
        found = condition(status, "ModelReady")
        if found["reason"] == "Downloading":
            seen.append(status["model"]["percent"])
        return found["status"] == "True" and status

    await api.apply(secret(namespace, "hf_right"))
    status = await until("the model is there", is_there, 120)
    assert seen == sorted(seen)
    assert len(set(seen)) >= 3, f"progress: {seen}"
    assert status["model"]["revision"] == hub.repositories[NAME].commit
    assert status["model"]["percent"] == 100
    assert condition(status, "ModelReady")["reason"] == "Downloaded"
    assert "one node" in condition(status, "ModelReady")["message"]
    assert status["plan"]["quantization"] == "AWQ", "as the downloaded config.json says"

    async def is_ready():
        return condition(await status_of(), "Ready")["status"] == "True"

    await until("the engine answers", is_ready, 90)
    engine = (await api.list(pods, labels="app.kubernetes.io/component=engine"))[0]
    arguments = engine["spec"]["containers"][0]["args"]
    assert arguments[0].startswith("/models/model-7b-")
    assert {"name": "HF_HUB_OFFLINE", "value": "1"} in engine["spec"]["containers"][0]["env"]

    # neither a new engine pod, nor a new Job, nor an operator that begins again asks the hub for anything
    asked = len(hub.asked)
    await api.delete(f"{pods}/{engine['metadata']['name']}")
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    job = (await api.list(jobs))[0]
    await operator.kill()
    await operator.start()
    await api.delete(f"{jobs}/{job['metadata']['name']}")

    async def again():
        found = await api.list(jobs)
        return found and found[0]["metadata"]["uid"] != job["metadata"]["uid"] and found[0]["status"].get("succeeded")

    await until("the Job is made and complete again", again, 90)
    await until("the engine answers again", is_ready, 90)
    assert len(hub.asked) == asked
    assert (await status_of())["model"]["revision"] == hub.repositories[NAME].commit
