"""What the node reports of a pod, in the kubelet's words; pure.

Reasons and the rules for phase and conditions: pkg/kubelet/kubelet_pods.go and pkg/kubelet/status/generate.go of
Kubernetes, and https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from spillway.simulator.kubeapi import Object
from spillway.simulator.node.plan import wants_restart


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not running, and why."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """Running since."""

    started_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Terminated:
    """Ended: the exit code is 128 + N after signal N."""

    exit_code: int
    started_at: dt.datetime
    finished_at: dt.datetime
    container_id: str
    message: str = ""
    out_of_memory: bool = False

    @property
    def reason(self) -> str:
        """The word for how it ended."""
        if self.out_of_memory:
            return "OOMKilled"
        return "Completed" if self.exit_code == 0 else "Error"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One container at one moment."""

    name: str
    image: str
    state: Waiting | Running | Terminated
    last: Terminated | None = None
    restarts: int = 0
    ready: bool = False
    started: bool = False
    container_id: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """All that is known of a pod: its containers, where it is, and the policy that decides what an end means."""

    restart_policy: str
    init: Sequence[Snapshot]
    containers: Sequence[Snapshot]
    pod_ip: str
    host_ip: str
    started_at: dt.datetime


def pod_status(pod: Object, seen: Observation, now: dt.datetime) -> Object:
    """The whole status that the node owns; conditions that others wrote are kept."""
    reached = phase(seen)
    generation = pod["metadata"].get("generation")
    status: Object = {
        "phase": reached,
        "conditions": conditions(pod, seen, reached, now),
        "hostIP": seen.host_ip,
        "hostIPs": [{"ip": seen.host_ip}],
        "podIP": seen.pod_ip,
        "podIPs": [{"ip": seen.pod_ip}],
        "startTime": timestamp(seen.started_at),
        "containerStatuses": [_container(snapshot) for snapshot in seen.containers],
    }
    if seen.init:
        status["initContainerStatuses"] = [_container(snapshot) for snapshot in seen.init]
    return status | ({"observedGeneration": generation} if generation else {})


def phase(seen: Observation) -> str:
    """Pending until every init container succeeded and some container ran; then by what runs or may run again."""
    for snapshot in seen.init:
        if not _succeeded(snapshot):
            failed = isinstance(snapshot.state, Terminated) and seen.restart_policy == "Never"
            return "Failed" if failed else "Pending"
    states = [snapshot.state for snapshot in seen.containers]
    ended = [state.exit_code for state in states if isinstance(state, Terminated)]
    never_ran = [one for one in seen.containers if isinstance(one.state, Waiting) and one.last is None]
    if never_ran:
        return "Pending"
    if len(ended) == len(states) and not any(wants_restart(seen.restart_policy, code) for code in ended):
        return "Failed" if any(ended) else "Succeeded"
    return "Running"


def conditions(pod: Object, seen: Observation, reached: str, now: dt.datetime) -> list[Object]:
    """The node's conditions after those of others, each with the time of its last change."""
    old = {entry["type"]: entry for entry in (pod.get("status") or {}).get("conditions") or []}
    incomplete = [snapshot.name for snapshot in seen.init if not _succeeded(snapshot)]
    unready = [snapshot.name for snapshot in seen.containers if not snapshot.ready]
    initialized = ("ContainersNotInitialized", f"containers with incomplete status: [{' '.join(incomplete)}]")
    ready = ("ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    if reached == "Succeeded":
        ready = ("PodCompleted", "")
    elif reached == "Failed":
        ready = ("PodFailed", "")
    computed = {
        "PodReadyToStartContainers": (reached not in {"Succeeded", "Failed"}, ("", "")),
        "Initialized": (not incomplete, initialized),
        "Ready": (not unready and reached == "Running", ready),
        "ContainersReady": (not unready and reached == "Running", ready),
        "PodScheduled": (True, ("", "")),
    }
    if reached == "Succeeded":
        computed["Initialized"] = (True, ("PodCompleted", ""))
    mine = [_condition(kind, *entry, old.get(kind), pod, now) for kind, entry in computed.items()]
    return [entry for kind, entry in old.items() if kind not in computed] + mine


def timestamp(moment: dt.datetime) -> str:
    """As the API writes times: RFC 3339, whole seconds, UTC."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _succeeded(snapshot: Snapshot) -> bool:
    return isinstance(snapshot.state, Terminated) and snapshot.state.exit_code == 0


def _condition(
    kind: str, holds: bool, why_not: tuple[str, str], old: Object | None, pod: Object, now: dt.datetime
) -> Object:
    status = "True" if holds else "False"
    entry: Object = {"type": kind, "status": status, "lastTransitionTime": timestamp(now)}
    if old is not None and old["status"] == status:
        entry["lastTransitionTime"] = old["lastTransitionTime"]
    reason, message = why_not
    if reason and (not holds or reason == "PodCompleted"):
        entry["reason"] = reason
        if message:
            entry["message"] = message
    if generation := pod["metadata"].get("generation"):
        entry["observedGeneration"] = generation
    return entry


def _container(snapshot: Snapshot) -> Object:
    return {
        "name": snapshot.name,
        "image": snapshot.image,
        "imageID": f"spillway-simulated://{snapshot.image}" if snapshot.container_id else "",
        "containerID": snapshot.container_id,
        "ready": snapshot.ready,
        "started": snapshot.started,
        "restartCount": snapshot.restarts,
        "state": _state(snapshot.state),
        "lastState": _state(snapshot.last) if snapshot.last is not None else {},
    }


def _state(state: Waiting | Running | Terminated) -> Object:
    match state:
        case Waiting():
            return {"waiting": {"reason": state.reason} | ({"message": state.message} if state.message else {})}
        case Running():
            return {"running": {"startedAt": timestamp(state.started_at)}}
        case Terminated():
            ended: Object = {
                "exitCode": state.exit_code,
                "reason": state.reason,
                "startedAt": timestamp(state.started_at),
                "finishedAt": timestamp(state.finished_at),
                "containerID": state.container_id,
            }
            return {"terminated": ended | ({"message": state.message} if state.message else {})}
