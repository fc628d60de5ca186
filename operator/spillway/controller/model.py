"""How far the model is: read from the Job that downloads it, the pods of that Job, and what status said before. Pure.

The pods tell by their termination messages (`spillway.fetch` says why). Once the Job is complete they may be gone, with
a node or by hand; what they told is then in `status.model`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spillway.api.v1alpha1 import (
    CacheMode,
    ConditionStatus,
    EngineType,
    LLMDeployment,
    LLMDeploymentStatus,
    ModelStatus,
)
from spillway.controller.conditions import ConditionType, Finding, Reason, no, yes
from spillway.controller.failures import last_failure, pull_failure
from spillway.controller.objects import FIELD_MANAGER, Object, Ref, at, label_of, ref_of, text_at
from spillway.controller.projection import difference
from spillway.controller.workload import ContainerStatus, Pod, Terminated, pods_of
from spillway.errors import InvalidObject
from spillway.render.model import ModelCache, model_cache
from spillway.sizing.config import facts_from_config
from spillway.sizing.models import ModelFacts

COMPONENT_LABEL = "app.kubernetes.io/component"
# A download that is tried again after these is under way; after the others it waits for a person.
_PASSING = frozenset({"ConnectionLost"})
_STALLED = frozenset(
    {
        "Unauthorized",
        "NotFound",
        "SecretNotFound",
        "ClaimNotFound",
        "StorageClassNotFound",
        "DiskFull",
        "ChecksumMismatch",
    }
)
# In the scheduler's words, of which a moment is usual.
_UNBOUND = "unbound immediate PersistentVolumeClaims"
_GIB, _MIB = 1024**3, 1024**2


@dataclass(frozen=True, slots=True)
class Model:
    """The model as it is now. `status` is None where nothing is downloaded onto a claim."""

    finding: Finding
    status: ModelStatus | None = None
    job: Object | None = None

    @property
    def is_there(self) -> bool:
        """Whether the engine can read it."""
        return self.finding.status is ConditionStatus.TRUE

    @property
    def job_is_done(self) -> bool:
        """Whether the Job is called complete, which follows its pod's end by a moment."""
        return _has(self.job, "Complete")

    @property
    def is_stalled(self) -> bool:
        """Whether it will not come without a change by a person."""
        return not self.is_there and self.finding.reason in _STALLED

    @property
    def facts(self) -> ModelFacts | None:
        """What the downloaded files say of the model; None while they are not there, or if they say too little."""
        if self.status is None or not self.is_there or self.status.config is None:
            return None
        try:
            config = json.loads(self.status.config)
            return facts_from_config(config, self.status.weight_bytes) if isinstance(config, dict) else None
        except (ValueError, InvalidObject):
            return None


def may_download(body: Mapping[str, object] | None) -> bool:
    """Whether the model of an LLMDeployment's `body` is, or may be, downloaded onto a claim; of none it is not."""
    if body is None or text_at(body, "spec", "model", "uri").startswith("pvc://"):
        return False
    return at(body, "spec", "cache", "mode") != CacheMode.EPHEMERAL


def is_of_component(obj: Mapping[str, object], component: str) -> bool:
    """Whether a pod is of the engine, or of the model's download."""
    return label_of(obj, COMPONENT_LABEL) == component


def model_of(
    deployment: LLMDeployment, children: Sequence[Object], pods: Sequence[Object], previous: LLMDeploymentStatus
) -> Model:
    """How far the model of `deployment` is, by the Job among its `children` and what its `pods` tell."""
    kind, cache = ConditionType.MODEL_READY, model_cache(deployment)
    if cache is None:
        if deployment.spec.model.uri.startswith("pvc://"):
            return Model(yes(kind, Reason.ON_CLAIM, "the model is taken from the claim as it is"))
        return Model(yes(kind, Reason.EPHEMERAL, "each pod of the engine downloads the model for itself"))
    wanted = Ref("Job", deployment.metadata.namespace, cache.job)
    job = next((child for child in children if ref_of(child) == wanted), None)
    before = previous.model if previous.model is not None and previous.model.source == cache.source else None
    own = [
        pod
        for pod in pods
        if is_of_component(pod, "model") and at(pod, "metadata", "labels", "batch.kubernetes.io/job-name") == cache.job
    ]
    by_ollama = deployment.spec.engine.type is EngineType.OLLAMA
    finding, status = _look(pods_of(own), cache, before, by_ollama=by_ollama)
    found = Model(finding, status, job)
    if found.job_is_done:
        told = status if found.is_there else before or ModelStatus(source=cache.source, percent=100)
        told = told.model_copy(update={"percent": 100})
        return Model(_there(cache, told), told, job)
    return Model(_failed(job), status, job) if _has(job, "Failed") else found


def _look(
    pods: Sequence[Pod], cache: ModelCache, before: ModelStatus | None, *, by_ollama: bool
) -> tuple[Finding, ModelStatus]:
    """What the pods of the Job tell: how far they are, or why they are no further."""
    kind = ConditionType.MODEL_READY
    status = before or ModelStatus(source=cache.source, percent=0)
    if not pods:
        return no(kind, Reason.PENDING, "the download has not begun"), status
    pod = max(pods, key=lambda pod: (pod.status.start_time is not None, pod.status.start_time, pod.metadata.name))
    containers = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    for container in containers:
        told = _told(container.state.terminated)
        if container.state.terminated is not None and container.state.terminated.exit_code == 0:
            status = _joined(status, told)
    if pod.status.phase == "Succeeded":
        return _there(cache, status), status
    failure = next((found for found in map(_failure, containers) if found is not None), None)
    if failure is not None:
        return no(kind, *failure), status
    trouble = None if any(map(_is_running, containers)) else last_failure(pods, None)
    if trouble is not None and _UNBOUND in trouble.message:
        return no(kind, Reason.PENDING, f"the claim {cache.claim} has no volume yet"), status
    if trouble is not None:
        return no(kind, trouble.reason, trouble.message), status
    if by_ollama:
        return no(kind, Reason.DOWNLOADING, "Ollama pulls it, and does not say how far it is"), status
    size = f" of {_amount(status.bytes)}" if status.bytes else ""
    return no(kind, Reason.DOWNLOADING, f"{status.percent} %{size} is there"), status


def arrange(
    model: Model, rendered: Sequence[Object], children: Sequence[Object]
) -> tuple[tuple[Object, ...], frozenset[Ref]]:
    """What of `rendered` is to be applied now, and what is kept as it is, neither applied nor deleted.

    The engine waits for its model: until that is there, what runs of an earlier one goes on. A Job cannot be changed:
    a complete one is kept whatever a later version would render, one that is not is deleted, and made anew when it has
    gone; the download resumes. No claim is ever deleted here: those that may go have an owner.
    """
    wanted, kept = [], {ref_of(child) for child in children if ref_of(child).kind == "PersistentVolumeClaim"}
    for obj in rendered:
        ref = ref_of(obj)
        if (ref.kind == "Deployment" and not model.is_there) or (ref.kind == "Job" and model.job_is_done):
            kept.add(ref)
        elif ref.kind != "Job" or model.job is None or difference(obj, model.job, manager=FIELD_MANAGER) is None:
            wanted.append(obj)
    return tuple(wanted), frozenset(kept)


def _failure(container: ContainerStatus) -> tuple[str, str] | None:
    """Why the container's last try failed, in the download's words or the kubelet's; None while nothing is wrong."""
    ended = container.state.terminated or container.last_state.terminated
    if ended is None or ended.exit_code == 0:
        return None
    told = _told(ended)
    reason, message = str(told.get("reason", "")), str(told.get("message", ""))
    if not reason.isalpha():
        reason, message = pull_failure(ended.message) or (ended.reason or "Error", ended.message)
        message = message or f"exit code {ended.exit_code}"
    if _is_running(container) and (reason in _PASSING or reason == "Error"):
        return None
    return reason, f"{message}; it is tried again with growing pauses"


def _is_running(container: ContainerStatus) -> bool:
    return container.state.waiting is None and container.state.terminated is None


def _told(ended: Terminated | None) -> Mapping[str, object]:
    try:
        told = json.loads(ended.message) if ended is not None and ended.message else {}
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _joined(status: ModelStatus, told: Mapping[str, object]) -> ModelStatus:
    """The status with what one container told at its end; what is not in its shape is left out."""
    update: dict[str, object] = {}
    percent, size = told.get("percent"), told.get("totalBytes", told.get("bytes"))
    if isinstance(percent, int) and 0 <= percent <= 100:
        update["percent"] = max(percent, status.percent)
    if isinstance(size, int) and size >= 0:
        update["bytes"] = size
    revision, weights, config = told.get("revision"), told.get("weight_bytes"), told.get("config")
    if isinstance(revision, str) and 0 < len(revision) <= 128:
        update["revision"] = revision
    if isinstance(weights, int) and weights >= 0:
        update["weight_bytes"] = weights
    if isinstance(config, dict) and config and len(text := json.dumps(config, separators=(",", ":"))) <= 4096:
        update["config"] = text
    return status.model_copy(update=update)


def _there(cache: ModelCache, status: ModelStatus) -> Finding:
    parts = [f"revision {status.revision}" if status.revision else "downloaded"]
    if status.bytes:
        parts.append(_amount(status.bytes))
    text = ", ".join(parts)
    if cache.on_one_node:
        text += "; all replicas are kept on one node, for the claim is ReadWriteOnce"
    return yes(ConditionType.MODEL_READY, Reason.DOWNLOADED, text)


def _failed(job: Object | None) -> Finding:
    condition = _condition(job, "Failed")
    reason, message = condition.get("reason"), condition.get("message")
    text = f"{message}; delete the Job to try again"
    return no(ConditionType.MODEL_READY, str(reason) if reason else "JobFailed", text)


def _has(job: Object | None, kind: str) -> bool:
    return _condition(job, kind).get("status") == "True"


def _condition(job: Object | None, kind: str) -> Mapping[str, object]:
    conditions = at(job, "status", "conditions")
    for condition in conditions if isinstance(conditions, list) else ():
        if isinstance(condition, dict) and condition.get("type") == kind:
            return condition
    return {}


def _amount(size: int) -> str:
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size / _MIB:.0f} MiB"
