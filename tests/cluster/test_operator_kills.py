"""Whenever the operator is killed, and whatever is asked of it meanwhile, the same objects are there in the end."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from operator_process import KINDS, OperatorProcess, install, until
from spillway.controller.desire import Desires
from spillway.controller.start import make_policy
from spillway.settings import OperatorSettings

pytestmark = pytest.mark.cluster

POLICY = make_policy(OperatorSettings(gateway_replicas=1))
AT_MOST_SECONDS = 45.0
"""Of all schedules together: later ones are left out on a slow machine."""
NAMES = ("a", "b", "c")
STEPS = st.one_of(
    st.tuples(st.just("apply"), st.sampled_from(NAMES), st.integers(0, 3)),
    st.tuples(st.just("delete"), st.sampled_from(NAMES)),
    st.tuples(st.just("kill"), st.floats(0, 0.4)),
)


class Run:
    """One namespace, one operator, and what the schedule wants of them."""

    def __init__(self, api, namespace, operator):
        self.api, self.namespace, self.operator = api, namespace, operator
        self.wanted = {}

    async def carry_out(self, step):
        match step:
            case ("apply", name, replicas):
                self.wanted[name] = replicas
                await self.api.apply(self.body(name))
            case ("delete", name):
                self.wanted.pop(name, None)
                await self.api.delete(f"{KINDS}/namespaces/{self.namespace}/llmdeployments/{name}")
            case ("kill", seconds):
                await asyncio.sleep(seconds)  # a moment of the schedule, nothing is waited for
                await self.operator.kill()
                await self.operator.start()

    def body(self, name):
        return {
            "apiVersion": "spillway.dev/v1alpha1",
            "kind": "LLMDeployment",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
                "accelerator": {"profile": "l4-24gb"},
                "cache": {"mode": "Ephemeral"},
                "replicas": self.wanted[name],
            },
        }

    async def is_converged(self):
        for name in NAMES:
            path = f"{KINDS}/namespaces/{self.namespace}/llmdeployments/{name}"
            body = await self.api.find(path)
            if name not in self.wanted:
                if body is not None:
                    return False
                continue
            status = body.get("status", {})
            if status.get("observedGeneration") != body["metadata"]["generation"]:
                return False
            for child in Desires(POLICY).of(body, None).children:
                live = await self.api.find(await self.api.path(child))
                if live is None or not _holds(child.get("spec", {}), live.get("spec", {})):
                    return False
                if live["metadata"]["ownerReferences"][0]["uid"] != body["metadata"]["uid"]:
                    return False
        return True


def _holds(wanted, live):
    """Whether `live` says all that is wanted, whatever else it says."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            _holds(value, live.get(key)) for key, value in wanted.items() if key != "resources"
        )
    if isinstance(wanted, list) and wanted and isinstance(wanted[0], dict):
        return len(wanted) == len(live or ()) and all(map(_holds, wanted, live))
    return wanted == live or (not wanted and not live)


async def test_killed_on_any_schedule_it_converges_to_what_is_asked(control_plane, api, namespace, tmp_path):
    await install(api, namespace)
    operator = OperatorProcess(control_plane, tmp_path, f"--namespaces={namespace}")
    await operator.start()
    run, deadline = Run(api, namespace, operator), time.monotonic() + AT_MOST_SECONDS
    loop, carried_out = asyncio.get_running_loop(), []

    async def one(steps):
        for step in steps:
            await run.carry_out(step)
        await until(f"converged after {steps}", run.is_converged, seconds=40)
        carried_out.append(steps)

    @settings(
        max_examples=8,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(STEPS, min_size=2, max_size=6).filter(lambda steps: any(step[0] == "kill" for step in steps)))
    def schedules(steps):
        if time.monotonic() < deadline:
            asyncio.run_coroutine_threadsafe(one(steps), loop).result()

    try:
        await asyncio.to_thread(schedules)
    finally:
        await operator.kill()
        print(json.dumps(carried_out))
    assert carried_out
    assert "Traceback" not in operator.log
