"""Why a pod does not answer, in the words of the field. Pure.

The reasons are those that the kubelet and the scheduler use themselves, so that what a user finds by searching for
one applies: ImagePullBackOff, CrashLoopBackOff, OOMKilled, CreateContainerConfigError, Unschedulable, ...
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from spillway.api.v1alpha1 import LastFailure
from spillway.controller.workload import ContainerStatus, Pod

# What a container waits for while nothing is wrong.
_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})
# The kubelet alternates between the two of each pair; the first says what happened, the second that it will retry.
_ONE_NAME = {"ErrImagePull": "ImagePullBackOff"}
# A message of a container is its last output (terminationMessagePolicy), of which the end says most.
_MESSAGE_CHARACTERS = 1024


def last_failure(pods: Sequence[Pod], previous: LastFailure | None) -> LastFailure | None:
    """The failure to show: the first that a pod shows now; `previous` while its pod still has not recovered; else None.

    A pod that waits in between two attempts shows nothing itself, hence `previous`.
    """
    found = next((failure for pod in pods if (failure := failure_of(pod)) is not None), None)
    if found is not None:
        return _keep_time(found, previous)
    if previous is not None and any(pod.metadata.name == previous.pod_name and not pod.is_ready for pod in pods):
        return previous
    return None


def failure_of(pod: Pod) -> LastFailure | None:
    """What is wrong with the pod as it is now, None if nothing is known to be."""
    if pod.is_ready:
        return None
    statuses: Iterable[ContainerStatus] = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    for container in statuses:
        failure = _container_failure(pod, container)
        if failure is not None:
            return failure
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return LastFailure(
            pod_name=pod.metadata.name,
            reason=_word(scheduled.reason, "Unschedulable"),
            message=_tail(scheduled.message),
            time=scheduled.last_transition_time,
        )
    if pod.status.phase == "Failed":
        return LastFailure(
            pod_name=pod.metadata.name,
            reason=_word(pod.status.reason, "PodFailed"),
            message=_tail(pod.status.message),
            time=pod.status.start_time,
        )
    return None


def _container_failure(pod: Pod, container: ContainerStatus) -> LastFailure | None:
    if container.ready:
        return None
    ended = container.state.terminated or container.last_state.terminated
    failed = ended if ended is not None and (ended.exit_code != 0 or ended.reason == "OOMKilled") else None
    waiting = container.state.waiting
    if failed is not None:
        # CrashLoopBackOff only says that it ends again and again: OOMKilled says why, an exit code does not
        reason = "OOMKilled" if failed.reason == "OOMKilled" else waiting.reason if waiting else failed.reason
        return LastFailure(
            pod_name=pod.metadata.name,
            container_name=container.name,
            reason=_word(reason, "ContainerFailed"),
            exit_code=failed.exit_code,
            message=_tail(failed.message or (waiting.message if waiting else "")),
            time=failed.finished_at,
        )
    if waiting is not None and waiting.reason not in _STARTING:
        return LastFailure(
            pod_name=pod.metadata.name,
            container_name=container.name,
            reason=_word(_ONE_NAME.get(waiting.reason, waiting.reason), "ContainerWaiting"),
            message=_tail(waiting.message),
            time=pod.status.start_time,
        )
    return None


def _keep_time(found: LastFailure, previous: LastFailure | None) -> LastFailure:
    """The kubelet words one failure in turns ("rpc error", "Back-off"): the first wording stays, written once."""
    same = previous is not None and (
        previous.pod_name,
        previous.container_name,
        previous.reason,
        previous.exit_code,
    ) == (
        found.pod_name,
        found.container_name,
        found.reason,
        found.exit_code,
    )
    return previous if same and previous is not None and previous.time == found.time else found


def _word(reason: str, otherwise: str) -> str:
    return reason if re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", reason) else otherwise


def _tail(message: str) -> str:
    return message.strip()[-_MESSAGE_CHARACTERS:]
