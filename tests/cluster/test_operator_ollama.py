"""An LLMDeployment whose engine is Ollama, from its store to its answers through the gateway."""

from __future__ import annotations

import aiohttp
import orjson
import pytest

from llm_deployments import ENGINE
from operator_process import until

pytestmark = pytest.mark.cluster

SPEC = {
    "model": {"uri": "ollama://llama3.2:1b"},
    "engine": {"type": "Ollama"},
    "accelerator": {"profile": "cpu"},
    "resources": {"cpu": "500m"},
}


async def test_a_model_of_ollama_becomes_ready_and_answers_through_the_gateway(operator, node, deployments):
    await deployments.apply("assistant", SPEC | {"cache": {"mode": "Ephemeral"}})
    await deployments.ready("assistant", seconds=90)
    engine = (await deployments.pods(ENGINE))[0]
    assert engine["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    body = {"model": "assistant", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    async with aiohttp.ClientSession(await deployments.gateway_url()) as client:
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


async def test_a_model_is_pulled_once_onto_a_claim_and_a_name_that_is_unknown_is_told(
    operator, node, deployments, api, namespace
):
    await deployments.apply("nobody", SPEC | {"model": {"uri": "ollama://missing:1b"}})
    await deployments.apply("assistant", SPEC)
    await deployments.ready("assistant", seconds=90)
    found = (await deployments.status("assistant"))["model"]
    assert found["percent"] == 100
    assert len(found["revision"]) == 12
    engine = (await deployments.pods(ENGINE))[0]
    assert "spillway.dev/egress" not in engine["metadata"]["labels"]

    async def told():
        return (await deployments.condition("nobody"))["reason"] == "NotFound"

    await until("the registry's answer is told", told, seconds=60)
    message = (await deployments.condition("nobody", "ModelReady"))["message"]
    assert "spec.model.uri" in message
    assert "file does not exist" in message

    # a pod that starts again, under another name for clients, takes what is there; it could not go out for it
    await deployments.apply("assistant", SPEC | {"model": SPEC["model"] | {"servedName": "llama"}})

    async def another():
        pods = await deployments.pods(f"{ENGINE},spillway.dev/deployment=assistant")
        answers = {"type": "Ready", "status": "True"}
        return [
            pod
            for pod in pods
            if pod["metadata"]["uid"] != engine["metadata"]["uid"]
            and any(answers.items() <= condition.items() for condition in pod["status"].get("conditions", ()))
        ]

    await until("another pod answers", another, seconds=90)
    jobs = await api.list(f"/apis/batch/v1/namespaces/{namespace}/jobs", labels="spillway.dev/deployment=assistant")
    assert len(jobs) == 1
    body = {"model": "llama", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
    async with (
        aiohttp.ClientSession(await deployments.gateway_url()) as client,
        client.post("/v1/chat/completions", json=body) as response,
    ):
        assert response.status == 200, await response.text()
