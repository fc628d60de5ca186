"""Accelerator profiles: facts of the cluster's hardware that its administrator keeps and an object only names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from spillway.errors import InvalidObject, UnknownProfile

Profiles = Mapping[str, "AcceleratorProfile"]


class Facts(BaseModel):
    """A frozen record of a data file; a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True)


class Toleration(Facts):
    """A taint that pods on this hardware tolerate, as Kubernetes writes it."""

    key: str = ""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class AcceleratorProfile(Facts):
    """One kind of accelerator and how a pod gets onto a node that has it."""

    name: str = Field(pattern="^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=63)
    # Empty: no accelerator; the engine runs on the node's processor and in its memory.
    resource_name: str = "nvidia.com/gpu"
    # Of one device, as its driver reports it: less than the name on the box. Without one, what a replica may take.
    memory_gib: float = Field(alias="memoryGiB", gt=0)
    # Of one node: a replica does not reach over nodes.
    max_count: int = Field(default=8, ge=1, le=64)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    runtime_class_name: str = ""
    # Dollars for an hour of one device, or of what one replica takes where there is none. Absent: nothing is reckoned.
    hourly_cost: Decimal | None = Field(default=None, ge=0, le=100_000, allow_inf_nan=False)

    @property
    def has_accelerator(self) -> bool:
        """Whether an engine on it gets a device of its own."""
        return bool(self.resource_name)


def load_profiles(text: str) -> Profiles:
    """The profiles of a YAML file's `text`, by name.

    Raises:
        InvalidObject: the text is no list of profiles, or two have one name.
    """
    try:
        listed = TypeAdapter(tuple[AcceleratorProfile, ...]).validate_python(yaml.safe_load(text) or ())
    except (yaml.YAMLError, ValidationError) as error:
        raise InvalidObject("accelerator profiles", str(error), "write a list of {name, memoryGiB, ...}") from error
    return by_name(listed)


def by_name(listed: Iterable[AcceleratorProfile]) -> Profiles:
    """The `listed` profiles by name; raises InvalidObject if two have one name."""
    profiles: dict[str, AcceleratorProfile] = {}
    for profile in listed:
        if profile.name in profiles:
            raise InvalidObject("accelerator profiles", f"{profile.name} is there twice", "give each its own name")
        profiles[profile.name] = profile
    return MappingProxyType(profiles)


@cache
def default_profiles() -> Profiles:
    """The profiles that come with Spillway."""
    return load_profiles(resources.files(__package__).joinpath("profiles.yaml").read_text(encoding="utf-8"))


def find_profile(profiles: Profiles, name: str) -> AcceleratorProfile:
    """The profile called `name`; raises UnknownProfile with the choices."""
    if name not in profiles:
        choices = ", ".join(sorted(profiles)) or "none is set up"
        raise UnknownProfile(
            "spec.accelerator.profile",
            f"there is no accelerator profile {name!r}",
            f"the administrator's profiles are: {choices}",
            reason="UnknownProfile",
        )
    return profiles[name]
