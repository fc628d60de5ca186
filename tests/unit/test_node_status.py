from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from spillway.simulator.node.plan import Exec, Probe
from spillway.simulator.node.probes import Tally
from spillway.simulator.node.registration import Facts, lease, node
from spillway.simulator.node.status import Observation, Running, Snapshot, Terminated, Waiting, phase, pod_status

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(seconds=60)
POD: dict[str, Any] = {"metadata": {"name": "p", "generation": 3}, "spec": {}}


def ended(code: int) -> Terminated:
    return Terminated(code, NOW, NOW, "id", "why" if code else "")


def one(state: Waiting | Running | Terminated, **facts: Any) -> Snapshot:
    return Snapshot("main", "image", state, **facts)


def seen(*containers: Snapshot, init: tuple[Snapshot, ...] = (), policy: str = "Always") -> Observation:
    return Observation(policy, init, containers, "127.1.1.1", "127.2.2.2", NOW)


RUNNING = one(Running(NOW), ready=True, started=True, container_id="id")
CREATING = one(Waiting("ContainerCreating"))
BACKING_OFF = one(Waiting("CrashLoopBackOff"), last=ended(1), restarts=2)


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (seen(CREATING), "Pending"),
        (seen(RUNNING), "Running"),
        (seen(RUNNING, CREATING), "Pending"),
        (seen(BACKING_OFF), "Running"),
        (seen(one(ended(0))), "Running"),  # it will be restarted
        (seen(one(ended(1)), policy="OnFailure"), "Running"),
        (seen(one(ended(0)), policy="OnFailure"), "Succeeded"),
        (seen(one(ended(0)), one(ended(0)), policy="Never"), "Succeeded"),
        (seen(one(ended(0)), one(ended(1)), policy="Never"), "Failed"),
        (seen(one(ended(0)), RUNNING, policy="Never"), "Running"),
        (seen(CREATING, init=(one(Running(NOW)),)), "Pending"),
        (seen(CREATING, init=(one(ended(1)),)), "Pending"),
        (seen(CREATING, init=(one(ended(1)),), policy="Never"), "Failed"),
        (seen(RUNNING, init=(one(ended(0)),)), "Running"),
    ],
)
def test_the_phase_is_the_kubelets(observation: Observation, expected: str) -> None:
    assert phase(observation) == expected


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {entry["type"]: (entry["status"], entry.get("reason", "")) for entry in status["conditions"]}


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (seen(RUNNING), {"Initialized": ("True", ""), "Ready": ("True", ""), "ContainersReady": ("True", "")}),
        (
            seen(BACKING_OFF),
            {"Ready": ("False", "ContainersNotReady"), "ContainersReady": ("False", "ContainersNotReady")},
        ),
        (seen(CREATING, init=(one(Running(NOW)),)), {"Initialized": ("False", "ContainersNotInitialized")}),
        (
            seen(one(ended(0)), policy="Never"),
            {"Ready": ("False", "PodCompleted"), "Initialized": ("True", "PodCompleted")},
        ),
        (seen(one(ended(1)), policy="Never"), {"Ready": ("False", "PodFailed")}),
    ],
)
def test_conditions_have_the_kubelets_reasons(observation: Observation, expected: dict[str, tuple[str, str]]) -> None:
    assert expected.items() <= conditions(pod_status(POD, observation, NOW)).items()


def test_a_condition_keeps_its_time_while_it_does_not_change() -> None:
    first = pod_status(POD, seen(CREATING), NOW)
    second = pod_status({**POD, "status": first}, seen(RUNNING), LATER)
    times = {entry["type"]: entry["lastTransitionTime"] for entry in second["conditions"]}
    assert (times["Initialized"], times["Ready"]) == ("2026-01-02T03:04:05Z", "2026-01-02T03:05:05Z")


def test_conditions_of_others_are_kept() -> None:
    foreign = {"type": "DisruptionTarget", "status": "True"}
    status = pod_status({**POD, "status": {"conditions": [foreign]}}, seen(RUNNING), NOW)
    assert foreign in status["conditions"]


def test_a_container_is_described_in_full() -> None:
    [crashed] = pod_status(POD, seen(BACKING_OFF), NOW)["containerStatuses"]
    assert crashed["state"] == {"waiting": {"reason": "CrashLoopBackOff"}}
    assert crashed["restartCount"] == 2
    assert crashed["lastState"]["terminated"] == {
        "exitCode": 1,
        "reason": "Error",
        "message": "why",
        "startedAt": "2026-01-02T03:04:05Z",
        "finishedAt": "2026-01-02T03:04:05Z",
        "containerID": "id",
    }
    status = pod_status(POD, seen(RUNNING), NOW)
    assert status["containerStatuses"][0]["state"] == {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
    assert (status["podIP"], status["hostIPs"], status["observedGeneration"]) == ("127.1.1.1", [{"ip": "127.2.2.2"}], 3)


@pytest.mark.parametrize(
    ("results", "verdicts"),
    [
        ("F F F", [None, None, False]),
        ("F F S F F F", [None, None, None, None, None, False]),
        ("S S", [None, True]),
        ("S F S S", [None, None, None, True]),
        ("F F F F", [None, None, False, False]),
    ],
)
def test_a_verdict_needs_enough_equal_results_in_a_row(results: str, verdicts: list[bool | None]) -> None:
    tally = Tally(Probe(Exec(()), success_threshold=2, failure_threshold=3))
    assert [tally.add(result == "S") for result in results.split()] == verdicts


def test_a_node_has_its_gpus_and_says_that_they_are_not_real() -> None:
    made = node(Facts("g", 4, "NVIDIA-A100-SXM4-80GB", True, "x86_64", "6.1"), "127.2.2.2", 1, NOW)
    labels = made["metadata"]["labels"]
    assert (labels["nvidia.com/gpu.count"], labels["nvidia.com/gpu.memory"]) == ("4", "81920")
    assert (labels["nvidia.com/gpu.family"], labels["kubernetes.io/arch"]) == ("ampere", "amd64")
    assert made["spec"]["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    assert made["status"]["capacity"]["nvidia.com/gpu"] == "4"
    assert "simulated" in made["status"]["nodeInfo"]["osImage"]
    assert made["metadata"]["annotations"] == {"spillway.dev/simulated": "true"}


def test_a_lease_names_its_node_and_the_moment() -> None:
    spec = lease("g", "uid", NOW)["spec"]
    assert (spec["holderIdentity"], spec["renewTime"]) == ("g", "2026-01-02T03:04:05.000000Z")
