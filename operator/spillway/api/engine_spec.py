"""`LLMDeployment.spec.engine` and `.resources`: the program that serves the model, and what it is given."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final

from pydantic import Field

from spillway.api.common import ListType, Matches, ObjectName, Rule, SecretKeyRef, SpecModel, text
from spillway.api.enums import EngineType

# Flags of vLLM that Spillway sets itself: how people know them, as a regular expression, what to write instead.
_OWNED_FLAGS: Final = (
    (
        "the model and its name",
        "model|served-model-name|revision|hf-token|download-dir",
        "state model.uri, model.servedName, model.revision, model.secretRef",
    ),
    ("--max-model-len", "max-model-len", "state contextLength"),
    ("--quantization", "quantization", "state quantization.method"),
    ("--kv-cache-dtype", "kv-cache-dtype", "state quantization.kvCacheDType"),
    (
        "how the model is shared",
        (
            "(tensor|pipeline|data|decode-context|prefill-context)-parallel-.*|nnodes|node-rank|master-(addr|port)"
            "|headless|api-server-count|device-ids"
        ),
        "state accelerator.count, over which the plan shares the model",
    ),
    (
        "what the plan counts on",
        "(gpu|device)-memory-utilization|kv-cache-memory-bytes|max-num-(seqs|batched-tokens)",
        "state contextLength, accelerator.count and replicas",
    ),
    ("how many may wait", "max-num-queued-(reqs|tokens)", "state slo and queue"),
    (
        "how the gateway reaches and drains it",
        "host|port|uds|root-path|ssl-.*|enable-ssl-refresh|api-key|shutdown-timeout|disable-access-log-for-endpoints",
        "Spillway sets it; access says who may call",
    ),
    ("--config", "config", "state each flag as an item of its own"),
)

# Variables that Spillway sets itself, for either engine.
_OWNED_VARIABLES: Final = (
    "HOME|USER|HF_HOME|HF_HUB_OFFLINE|HF_HUB_DISABLE_TELEMETRY|DO_NOT_TRACK|TRITON_CACHE_DIR|TORCHINDUCTOR_CACHE_DIR"
    "|VLLM_(CACHE_ROOT|CONFIG_ROOT|NO_USAGE_STATS|PORT|API_KEY)"
    "|OLLAMA_(HOST|MODELS|NO_CLOUD|NOPRUNE|KEEP_ALIVE|NUM_PARALLEL|MAX_LOADED_MODELS|CONTEXT_LENGTH|FLASH_ATTENTION"
    "|KV_CACHE_TYPE)"
)


def _flag_rule(what: str, flags: str, instead: str) -> Rule:
    pattern = f"^--({flags})(=|$)"
    return Rule(
        f"!has(self.args) || !self.args.exists(flag, flag.matches('{pattern}'))",
        f"engine.args must not set {what}: {instead}",
        lambda engine: not any(re.search(pattern, flag) for flag in engine.args),
    )


class EnvironmentVariable(SpecModel):
    """A variable of the engine's environment."""

    name: Annotated[
        str,
        text(128),
        Matches("[A-Za-z_][A-Za-z0-9_]*", "name must be a variable's name: letters, digits and '_', no digit first"),
        Field(description="The variable's name."),
    ]
    value: Annotated[
        str | None, text(4096, 0), Field(description="Its value, which everybody sees who may read this object.")
    ] = None
    secret_ref: Annotated[SecretKeyRef | None, Field(description="Key of a Secret that holds its value.")] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.value) != has(self.secretRef)",
            "a variable of engine.env must have either value or secretRef",
            lambda variable: (variable.value is None) != (variable.secret_ref is None),
        ),
        Rule(
            "!(self.name in ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN'])",
            "engine.env must not set the hub's token: state model.secretRef",
            lambda variable: variable.name not in {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"},
        ),
        Rule(
            f"!self.name.matches('^({_OWNED_VARIABLES})$')",
            "engine.env must not set what Spillway sets itself: state contextLength, quantization or cache instead",
            lambda variable: not re.fullmatch(_OWNED_VARIABLES, variable.name),
        ),
    )


class PullSecret(SpecModel):
    """A Secret of type kubernetes.io/dockerconfigjson in the same namespace."""

    name: Annotated[ObjectName, Field(description="The Secret's name.")]


_Flag = Annotated[
    str,
    text(2048),
    Matches("--[a-z0-9][a-z0-9.-]*(=.*)?", "engine.args must hold one flag an item, as --flag or --flag=value"),
]


class Engine(SpecModel):
    """The program that serves the model."""

    type: Annotated[EngineType, Field(description="The engine. Absent: VLLM.")] = EngineType.VLLM
    image: Annotated[
        str | None,
        text(512),
        Field(
            pattern="^[A-Za-z0-9][A-Za-z0-9._:/@-]*$",
            description="The engine's container image. Absent: the one that this release of Spillway was tested with.",
        ),
    ] = None
    image_pull_secrets: Annotated[
        tuple[PullSecret, ...],
        ListType("map", 16, key="name"),
        Field(description="Secrets with which the image is pulled."),
    ] = ()
    args: Annotated[
        tuple[_Flag, ...],
        ListType("atomic", 64),
        Field(description="Flags of vLLM beyond those that Spillway sets, one an item, as --flag or --flag=value."),
    ] = ()
    env: Annotated[
        tuple[EnvironmentVariable, ...],
        ListType("map", 64, key="name"),
        Field(description="Variables of the engine beyond those that Spillway sets."),
    ] = ()

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.type) || self.type != 'Ollama' || !has(self.args) || size(self.args) == 0",
            "engine.args must be empty with engine.type Ollama, which has no flags: state engine.env",
            lambda engine: engine.type is not EngineType.OLLAMA or not engine.args,
        ),
        *(_flag_rule(*owned) for owned in _OWNED_FLAGS),
    )


class Resources(SpecModel):
    """What one replica is given of its node, beside the accelerators."""

    cpu: Annotated[
        str | None,
        text(16),
        Matches("[0-9]{1,6}([.][0-9]{1,3})?|[0-9]{1,9}m", 'resources.cpu must be cores, such as "4" or "500m"'),
        Field(description="Cores that are kept for it, quoted. Absent: none are."),
    ] = None
    memory: Annotated[
        str | None,
        text(24),
        Matches(
            "[0-9]{1,15}([.][0-9]{1,3})?([kMGT]|[KMGT]i)?",
            'resources.memory must be bytes with their unit, such as "32Gi"',
        ),
        Field(description="Memory that is kept for it, and that it must not exceed. Absent: none is, without a limit."),
    ] = None
