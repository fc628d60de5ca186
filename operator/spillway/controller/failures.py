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
# What an engine says in its last output before it ends, as the reason and what to change. The texts are those of vLLM
# 0.32.0 (vllm/v1/core/kv_cache_utils.py, vllm/v1/worker/gpu_worker.py) and of PyTorch.
_CACHE_CURE = (
    "lower spec.contextLength{to}, or state spec.quantization.kvCacheDType: FP8, or more spec.accelerator.count"
)
_MEMORY_CURE = "state a smaller spec.quantization.method, more spec.accelerator.count or a larger profile"
_OOM_CURE = "it held more of the node's memory than it may, or than there is: state more spec.resources.memory"
_LAST_WORDS: Sequence[tuple[re.Pattern[str], str, str]] = (
    (
        re.compile(
            r"larger than the available KV cache memory(?:.*?estimated maximum model length is (?P<fits>\d+))?",
            re.DOTALL,
        ),
        "KVCacheTooSmall",
        _CACHE_CURE,
    ),
    (re.compile(r"No available memory for the cache blocks"), "KVCacheTooSmall", _CACHE_CURE),
    (re.compile(r"CUDA out of memory|torch\.(?:cuda\.)?OutOfMemoryError"), "CUDAOutOfMemory", _MEMORY_CURE),
    (
        re.compile(r"Free memory on device .* is less than desired GPU memory utilization"),
        "GPUMemoryInUse",
        "another program holds memory of this GPU: see what else runs on the node",
    ),
)
# What the cluster says of something that the spec names and that is not there.
_MISSING: Sequence[tuple[re.Pattern[str], str, str]] = (
    (
        re.compile(r"couldn't find key (?P<key>\S+) in Secret (?P<name>\S+)"),
        "SecretKeyNotFound",
        "put the key into the Secret, or name another in secretRef",
    ),
    (
        re.compile(r'secrets? "(?P<name>[^"]+)" not found'),
        "SecretNotFound",
        "make the Secret in this namespace, or name another in secretRef",
    ),
    (
        re.compile(r'persistentvolumeclaim "(?P<name>[^"]+)" not found'),
        "ClaimNotFound",
        "make the claim in this namespace, or name another in spec.model.uri; spec.cache.claimName cannot be changed",
    ),
)
# What `ollama pull` says before it ends (server/images.go and server/download.go of Ollama 0.17.4), in the words of
# `spillway fetch`, and what to do.
_PULL_WORDS: Sequence[tuple[re.Pattern[str], str, str]] = (
    (
        re.compile(r"file does not exist|does not exist in the registry|Repository not found", re.IGNORECASE),
        "NotFound",
        "the registry has no such model or tag: see spec.model.uri",
    ),
    (re.compile(r"no space left on device"), "DiskFull", "make spec.cache.size larger"),
    (
        re.compile(r"unauthorized|access denied|: 40[13]\b", re.IGNORECASE),
        "Unauthorized",
        "Ollama pulls public models alone: put this one on a claim, pvc://claim/path/model.gguf",
    ),
    (
        re.compile(r"no such host|dial tcp|i/o timeout|connection re|EOF|TLS handshake|max retries", re.IGNORECASE),
        "ConnectionLost",
        "the registry does not answer, or stops in the middle; what has arrived is kept",
    ),
)
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


def pull_failure(output: str) -> tuple[str, str] | None:
    """The reason and a message, by the end of the output of a pull by Ollama; None if it does not tell."""
    said = [line for line in output.splitlines() if line.startswith("Error:")]
    found = next(((reason, cure) for words, reason, cure in _PULL_WORDS if said and words.search(said[-1])), None)
    return None if found is None else (found[0], f"{found[1]}. It said: {_tail(said[-1])}")


def failure_of(pod: Pod) -> LastFailure | None:
    """What is wrong with the pod as it is now, None if nothing is known to be."""
    if pod.is_ready:
        return None
    statuses: Iterable[ContainerStatus] = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    for container in statuses:
        failure = _container_failure(pod, container)
        if failure is not None:
            return _explained(failure)
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return _explained(
            LastFailure(
                pod_name=pod.metadata.name,
                reason=_word(scheduled.reason, "Unschedulable"),
                message=_tail(scheduled.message),
                time=scheduled.last_transition_time,
            )
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


def _explained(failure: LastFailure) -> LastFailure:
    """The failure with the reason that its message tells, and at the message's front what to change."""
    if failure.reason == "OOMKilled":
        return failure.model_copy(update={"message": f"{_OOM_CURE}. It said: {failure.message}"})
    for pattern, reason, cure in (*_LAST_WORDS, *_MISSING):
        found = pattern.search(failure.message)
        if found is None:
            continue
        fits = found.groupdict().get("fits")
        told = cure.format(to=f" to at most {fits}" if fits else "")
        message = f"{told}. It said: {failure.message}"
        return failure.model_copy(update={"reason": reason, "message": message})
    return failure


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
