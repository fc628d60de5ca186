"""What the decision core is told: frozen values, no arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from spillway.api.v1alpha1 import DataClass, EngineType, Provider
from spillway.routing.outcomes import Reason


class Endpoint(Enum):
    """The two surfaces of the OpenAI API that are served."""

    CHAT = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that an upstream reported for one answer."""

    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """A target's price in integer micro-dollars per million tokens ("2.50" dollars are 2,500,000)."""

    input_micros_per_million: int
    output_micros_per_million: int
    cached_input_micros_per_million: int


@dataclass(frozen=True, slots=True)
class KeyRef:
    """A key of a Secret or ConfigMap in the namespace of the object."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Target:
    """A cloud API that may take over, ready to be used."""

    name: str
    base_url: str
    model: str
    price: Price
    timeout_seconds: float
    max_concurrent_requests: int = 20
    credential: KeyRef | None = None
    ca_bundle: KeyRef | None = None
    provider: Provider = Provider.OPENAI_COMPATIBLE


@dataclass(frozen=True, slots=True)
class RefusedTarget:
    """A target of the object that cannot be used, with the reason to show."""

    name: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Route:
    """One LLMDeployment as the gateway serves it.

    `may_leave` is what is effective: the object's own list cut by the namespace's ceiling; empty while fallback is
    Disabled.
    `targets` are those that passed the administrator's host list, in the object's order.
    """

    namespace: str
    name: str
    uid: str
    model_name: str
    slo_ttft_seconds: float
    max_held: int
    max_wait_seconds: float
    context_length: int
    kv_capacity_tokens: int | None
    default_class: DataClass
    may_leave: frozenset[DataClass]
    detectors: frozenset[str]
    spill_reasons: frozenset[Reason]
    targets: tuple[Target, ...] = ()
    refused_targets: tuple[RefusedTarget, ...] = ()
    budget_limit_micros: int | None = None
    is_shadow: bool = False
    """Spills are decided and taken down, and none is made; `targets` then need neither key nor budget."""
    engine: EngineType = EngineType.VLLM
    max_sequences: int | None = None
    """Requests that one replica works on at once: vLLM's batch, Ollama's slots. None: not known."""


@dataclass(frozen=True, slots=True)
class Intake:
    """A request body, checked: what the rest of the core needs to know of it.

    `payload` is the parsed body and is never changed.
    `inspectable` is False when a part cannot be read as text here (an image, a file id, a remote URL).
    `stays_for` names the parameters that no cloud surface has, for which the request cannot leave.
    """

    endpoint: Endpoint
    model: str
    stream: bool
    include_usage: bool
    choices: int
    max_output_tokens: int | None
    body_bytes: int
    message_count: int
    prompt_bytes: int
    inspectable: bool
    stays_for: tuple[str, ...]
    payload: dict[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Classified:
    """The class of a request and the rule that set it, in words fit for an audit line."""

    data_class: DataClass
    rule: str


@dataclass(frozen=True, slots=True)
class CompileSettings:
    """What the administrator decides for all: hosts that may be called, the ceiling of an unlabelled namespace."""

    allowed_hosts: frozenset[str]
    unlabelled_may_leave: str
