"""Which program stands for which image on the simulated node."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


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

_OLLAMA_PROGRAMS = Path(__file__).parents[1] / "ollama" / "bin"


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

    def ollama(invocation: Invocation) -> Program:
        # Scripts and probes of its containers call `ollama`, which PATH must find, as in the image itself.
        path = f"{_OLLAMA_PROGRAMS}:{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
        simulated = {
            "PATH": path,
            "SPILLWAY_SIMULATED_HOST": invocation.pod_ip,
            "SPILLWAY_SIMULATED_PYTHON": sys.executable,
            "PYTHONUNBUFFERED": "1",
            **(engine_env or {}),
        }
        argv = invocation.command or (sys.executable, "-m", "spillway.simulator.ollama")
        return Program((*argv, *invocation.args), simulated)

    return {"ghcr.io/spillway-dev/spillway": _spillway, "vllm/vllm-openai": engine, "ollama/ollama": ollama}


def name_of(image: str) -> str:
    """The name without tag and digest: registry:5000/a/b:1.0@sha256:... -> registry:5000/a/b."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


def _spillway(invocation: Invocation) -> Program:
    command = invocation.command[1:] if invocation.command[:1] == ("spillway",) else invocation.command
    argv = (sys.executable, "-m", "spillway", *command, *invocation.args)
    return Program(argv, {"SPILLWAY_HOST": invocation.pod_ip, "PYTHONUNBUFFERED": "1"})
