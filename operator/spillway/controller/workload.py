"""What the controller reads of Deployments and pods: as much as conditions need, as frozen values. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _View(BaseModel):
    """A part of an object of Kubernetes' own: what is not named here is ignored."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class _Meta(_View):
    name: str = ""
    generation: int = 0
    deletion_timestamp: str | None = None


class WorkloadCondition(_View):
    """A condition of a Deployment or a pod."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: AwareDatetime | None = None


class _WorkloadSpec(_View):
    replicas: int = 1


class _WorkloadStatus(_View):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    conditions: tuple[WorkloadCondition, ...] = ()


class Workload(_View):
    """A Deployment: how many pods it wants, has, and how many answer."""

    metadata: _Meta
    spec: _WorkloadSpec = _WorkloadSpec()
    status: _WorkloadStatus = _WorkloadStatus()

    def condition(self, kind: str) -> WorkloadCondition | None:
        """The condition of that type, None if it is not there."""
        return next((condition for condition in self.status.conditions if condition.type == kind), None)

    @property
    def is_observed(self) -> bool:
        """Whether status is about the spec as it is now."""
        return self.status.observed_generation >= self.metadata.generation


class Waiting(_View):
    """A container that does not run yet, or not again."""

    reason: str = ""
    message: str = ""


class Terminated(_View):
    """A container that has ended."""

    reason: str = ""
    message: str = ""
    exit_code: int = 0
    finished_at: AwareDatetime | None = None


class _ContainerState(_View):
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(_View):
    """One container of a pod."""

    name: str
    ready: bool = False
    restart_count: int = 0
    state: _ContainerState = _ContainerState()
    last_state: _ContainerState = _ContainerState()


class _PodStatus(_View):
    phase: str = ""
    reason: str = ""
    message: str = ""
    start_time: AwareDatetime | None = None
    conditions: tuple[WorkloadCondition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(_View):
    """A pod: where it is, and how its containers are."""

    metadata: _Meta
    status: _PodStatus = Field(default_factory=_PodStatus)

    def condition(self, kind: str) -> WorkloadCondition | None:
        """The condition of that type, None if it is not there."""
        return next((condition for condition in self.status.conditions if condition.type == kind), None)

    @property
    def is_ready(self) -> bool:
        """Whether it answers and is to stay."""
        ready = self.condition("Ready")
        return ready is not None and ready.status == "True" and self.metadata.deletion_timestamp is None


def workload_of(obj: Mapping[str, object] | None) -> Workload | None:
    """The Deployment, None for None."""
    return None if obj is None else Workload.model_validate(obj)


def pods_of(objects: Sequence[Mapping[str, object]]) -> tuple[Pod, ...]:
    """The pods, by name; those that are being deleted are left out."""
    pods = (Pod.model_validate(obj) for obj in objects)
    return tuple(
        sorted((pod for pod in pods if pod.metadata.deletion_timestamp is None), key=lambda pod: pod.metadata.name)
    )
