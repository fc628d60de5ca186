"""LLMDeployments of a test's namespace, and what the cluster says of them."""

from __future__ import annotations

from typing import Any

from operator_process import KINDS, until
from spillway.simulator.kubeapi import KubeAPI

ENGINE = "app.kubernetes.io/component=engine"
GATEWAY = "app.kubernetes.io/component=gateway"
UNTOLD = {"status": "", "reason": "", "message": ""}
# A model that a simulated engine serves, without a download before it.
SERVED: dict[str, Any] = {
    "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
    "accelerator": {"profile": "l4-24gb"},
    "cache": {"mode": "Ephemeral"},
}


class LLMDeployments:
    """Shorthand for what tests do with the objects of one namespace."""

    def __init__(self, api: KubeAPI, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def apply(self, name: str, spec: dict[str, Any]) -> None:
        meta = {"name": name, "namespace": self._namespace}
        body = {"apiVersion": "spillway.dev/v1alpha1", "kind": "LLMDeployment", "metadata": meta, "spec": spec}
        await self._api.apply(body)

    async def status(self, name: str) -> dict[str, Any]:
        found = await self._api.get(f"{KINDS}/namespaces/{self._namespace}/llmdeployments/{name}")
        return found.get("status", {})

    async def condition(self, name: str, kind: str = "Ready") -> dict[str, Any]:
        conditions = (await self.status(name)).get("conditions", ())
        return next((it for it in conditions if it["type"] == kind), UNTOLD)

    async def ready(self, name: str, seconds: float = 60) -> None:
        """Wait until it is Ready."""

        async def holds() -> bool:
            return (await self.condition(name))["status"] == "True"

        await until(f"{name} is ready", holds, seconds)

    async def pods(self, labels: str) -> list[dict[str, Any]]:
        return await self._api.list(f"/api/v1/namespaces/{self._namespace}/pods", labels=labels)

    async def gateway_url(self) -> str:
        return f"http://{(await self.pods(GATEWAY))[0]['status']['podIP']}:8080"
