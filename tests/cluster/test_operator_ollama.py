"""An LLMDeployment whose engine is Ollama, from its store to its answers through the gateway."""

from __future__ import annotations

import aiohttp
import orjson
import pytest

from operator_process import KINDS, OperatorProcess, install, until
from spillway.simulator.node import GpuNode

pytestmark = pytest.mark.cluster

ENGINE = "app.kubernetes.io/component=engine"
GATEWAY = "app.kubernetes.io/component=gateway"


@pytest.fixture
async def node(api):
    async with GpuNode(api, name="ollama-node", engine_env={"SPILLWAY_SIMULATED_LOAD_SECONDS": "1"}) as node:
        yield node


@pytest.fixture
async def operator(control_plane, api, namespace, tmp_path):
    await install(api)
    process = OperatorProcess(control_plane, tmp_path, f"--namespaces={namespace}")
    await process.start()
    yield process
    assert await process.stop() == 0
    print(process.log)
    assert "Traceback" not in process.log


async def test_a_model_of_ollama_becomes_ready_and_answers_through_the_gateway(operator, node, api, namespace):
    path = f"{KINDS}/namespaces/{namespace}/llmdeployments/assistant"
    pods = f"/api/v1/namespaces/{namespace}/pods"

    async def ready():
        status = (await api.get(path)).get("status", {})
        return any(it["type"] == "Ready" and it["status"] == "True" for it in status.get("conditions", ()))

    await api.apply(
        {
            "apiVersion": "spillway.dev/v1alpha1",
            "kind": "LLMDeployment",
            "metadata": {"name": "assistant", "namespace": namespace},
            "spec": {
                "model": {"uri": "ollama://llama3.2:1b"},
                "engine": {"type": "Ollama"},
                "accelerator": {"profile": "cpu"},
                "resources": {"cpu": "500m"},
            },
        }
    )
    await until("ready", ready, seconds=90)
    engine = (await api.list(pods, labels=ENGINE))[0]
    assert engine["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    gateway = (await api.list(pods, labels=GATEWAY))[0]["status"]["podIP"]
    body = {"model": "assistant", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    async with aiohttp.ClientSession(f"http://{gateway}:8080") as client:
        async with client.post("/v1/chat/completions", json=body) as response:
            assert response.status == 200, await response.text()
            assert (await response.json())["usage"]["completion_tokens"] == 4
        mapped = {"model": "assistant", "messages": body["messages"], "max_completion_tokens": 3}
        async with client.post("/v1/chat/completions", json=mapped) as response:
            assert (await response.json())["usage"]["completion_tokens"] == 3
        long = [{"role": "user", "content": "word " * 20_000}]
        async with client.post("/v1/chat/completions", json=body | {"messages": long}) as response:
            assert response.status == 400
            assert (await response.json())["error"]["code"] == "context_length_exceeded"
        async with client.post("/v1/chat/completions", json=body | {"stream": True}) as response:
            assert response.status == 200, await response.text()
            events = [line async for line in response.content if line.startswith(b"data: ")]
    assert events[-1].strip() == b"data: [DONE]"
    words = [orjson.loads(event[6:])["choices"][0]["delta"]["content"] for event in events[:-1]]
    assert len([word for word in words if word]) == 4
