"""What the demo reads from its cluster while it runs, and the one thing that it does to it: killing a pod."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from spillway.simulator.demo.stage import GATEWAY_PORT, NAMESPACE, Stage
from spillway.simulator.kubeapi import Object

GROUP_PATH = f"/apis/spillway.dev/v1alpha1/namespaces/{NAMESPACE}"


@dataclass(frozen=True, slots=True)
class GatewayState:
    """What the gateway's metrics say at one moment."""

    held: int
    spent_usd: Decimal


class Watching:
    """Reads the demo's namespace."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._began = time.monotonic()
        self._last = GatewayState(0, Decimal(0))

    def age_seconds(self) -> float:
        """Since when it watches."""
        return time.monotonic() - self._began

    async def states(self) -> dict[str, str]:
        """The model as its condition tells, and each pod that serves: its node, phase, and why it is not ready."""
        found = await self._stage.api.find(f"{GROUP_PATH}/llmdeployments/chat")
        told = _told(found, "ModelReady") if found is not None else ""
        model = {"ModelReady": told} if told else {}
        serving = [pod for pod in await self._stage.pods() if _label(pod, "app.kubernetes.io/component") != "model"]
        return model | {_text(pod, "metadata", "name"): _pod_state(pod) for pod in serving}

    async def is_ready(self) -> bool:
        """Whether the LLMDeployment says Ready, all its replicas are, and the gateway's pod answers."""
        found = await self._stage.api.find(f"{GROUP_PATH}/llmdeployments/chat")
        if found is None or _condition(found, "Ready") != "True" or await self._gateway_pod() is None:
            return False
        spec, status = found.get("spec"), found.get("status")
        assert isinstance(spec, dict)
        assert isinstance(status, dict)
        return bool(status.get("readyReplicas") == spec.get("replicas"))

    async def why_not(self) -> str:
        """What there is to see when it did not become ready."""
        events = await self._stage.kubectl("get", "events,pods", "-n", NAMESPACE)
        return f"{events}\noperator's log ends:\n{self._stage.operator_log()[-2000:]}"

    async def gateway_url(self) -> str:
        """Where the gateway answers from this machine: its pod's own address.

        Raises:
            LookupError: no gateway pod is ready.
        """
        pod = await self._gateway_pod()
        if pod is None:
            raise LookupError("no gateway pod is ready")
        return f"http://{_text(pod, 'status', 'podIP')}:{GATEWAY_PORT}"

    async def gateway_state(self) -> GatewayState:
        """The gateway's own metrics; the last ones known when it does not answer."""
        try:
            text = await _get(f"{await self.gateway_url()}/metrics")
        except (aiohttp.ClientError, TimeoutError, LookupError):
            return self._last
        values: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values[sample.name] = values.get(sample.name, 0.0) + sample.value
        self._last = GatewayState(
            held=int(values.get("spillway_held_requests", 0)),
            spent_usd=Decimal(f"{values.get('spillway_spent_usd_total', 0):.6f}"),
        )
        return self._last

    async def _gateway_pod(self) -> Object | None:
        pods = await self._stage.pods()
        gateways = (pod for pod in pods if _label(pod, "app.kubernetes.io/component") == "gateway")
        return next((pod for pod in gateways if _condition(pod, "Ready") == "True"), None)


class Victim:
    """The engine pod that is killed."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.pod: str | None = None
        self.in_flight = 0
        self.news: list[str] = []

    async def kill(self) -> None:
        """SIGKILL the engine process of the pod with the most in flight, as a crash or an out-of-memory kill would."""
        pods = [pod for pod in await self._stage.pods() if _label(pod, "app.kubernetes.io/component") == "engine"]
        ready = [pod for pod in pods if _condition(pod, "Ready") == "True"]
        counted = [(await self._requests_on(pod), _text(pod, "metadata", "name")) for pod in ready]
        if not counted:
            return
        self.in_flight, self.pod = max(counted)
        self._stage.node.kill(NAMESPACE, self.pod)
        self.news.append(f"pod {self.pod} was killed with {self.in_flight} requests on it")

    async def _requests_on(self, pod: Object) -> int:
        try:
            text = await _get(f"http://{_text(pod, 'status', 'podIP')}:8000/metrics")
        except (aiohttp.ClientError, TimeoutError):
            return 0
        counted = ("vllm:num_requests_running", "vllm:num_requests_waiting")
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return int(sum(sample.value for sample in samples if sample.name in counted))


async def _get(url: str) -> str:
    timeout = aiohttp.ClientTimeout(2)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
        return await response.text()


def _pod_state(pod: Object) -> str:
    node = _text(pod, "spec", "nodeName")
    phase = _text(pod, "status", "phase")
    if _condition(pod, "Ready") == "True":
        return f"ready on {node}"
    if phase == "Running":
        return f"loading on {node}"
    return f"{phase} on {node}" if node else f"{phase}, not scheduled yet"


def _text(value: object, *path: str) -> str:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def _label(pod: Object, name: str) -> str:
    return _text(pod, "metadata", "labels", name)


def _condition(obj: Object, kind: str) -> str:
    return _text(_whole_condition(obj, kind), "status")


def _told(obj: Object, kind: str) -> str:
    condition = _whole_condition(obj, kind)
    message = _text(condition, "message").partition(";")[0]
    return ": ".join(part for part in (_text(condition, "reason"), message) if part)


def _whole_condition(obj: Object, kind: str) -> object:
    status = obj.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    listed = conditions if isinstance(conditions, list) else []
    return next((condition for condition in listed if _text(condition, "type") == kind), {})
