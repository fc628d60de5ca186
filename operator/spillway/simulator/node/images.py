"""Which program stands for which image on the simulated node."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Invocation:
    """How a container asks for its image to be run: command and args as in its spec, expanded."""

    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    pod_ip: str


@dataclass(frozen=True, slots=True)
class Program:
    """What is run: a command line, and variables that the image itself would have set."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


Image = Callable[[Invocation], Program]
Images = Mapping[str, Image]
"""By the image's name before its tag or digest."""


def default_images(product: str, engine_env: Mapping[str, str] | None = None) -> Images:
    """Spillway's own image, and the engines' simulators; `product` is the node's label nvidia.com/gpu.product."""

    def engine(invocation: Invocation) -> Program:
        simulated = {
            "SPILLWAY_SIMULATED_HOST": invocation.pod_ip,
            "SPILLWAY_SIMULATED_ACCELERATOR": product,
            "PYTHONUNBUFFERED": "1",
            **(engine_env or {}),
        }
        argv = (sys.executable, "-m", "spillway.simulator.engine", *invocation.command, *invocation.args)
        return Program(argv, simulated)

    return {"ghcr.io/spillway-dev/spillway": _spillway, "vllm/vllm-openai": engine}


def name_of(image: str) -> str:
    """The name without tag and digest: registry:5000/a/b:1.0@sha256:... -> registry:5000/a/b."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


def _spillway(invocation: Invocation) -> Program:
    command = invocation.command[1:] if invocation.command[:1] == ("spillway",) else invocation.command
    argv = (sys.executable, "-m", "spillway", *command, *invocation.args)
    return Program(argv, {"SPILLWAY_HOST": invocation.pod_ip, "PYTHONUNBUFFERED": "1"})
