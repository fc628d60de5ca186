"""`LLMDeployment.status`: what the operator observed, and what it decided where the spec left it open."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import AwareDatetime, Field

from spillway.api.common import Dollars, ListType, StatusModel, text, whole
from spillway.api.enums import (
    ConditionStatus,
    CostRecommendation,
    DataClass,
    EngineType,
    FallbackState,
    QuantizationMethod,
)

COUNT = whole(0, 2_147_483_647)
TOKENS = whole(0, 9_007_199_254_740_991)

Reason = Annotated[str, Field(max_length=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]


class Condition(StatusModel):
    """One thing that is observed, in the shape that all of Kubernetes uses."""

    type: Annotated[str, text(316), Field(description="What is observed, one CamelCase word.")]
    status: Annotated[ConditionStatus, Field(description="Whether it holds.")]
    observed_generation: Annotated[
        int | None, TOKENS, Field(description="metadata.generation of the object that this was observed for.")
    ] = None
    last_transition_time: Annotated[AwareDatetime, Field(description="When status last changed.")]
    reason: Annotated[Reason, Field(description="Why, one CamelCase word for programs.")]
    message: Annotated[str, Field(max_length=32768, description="Why, for people: what happened and what to do.")] = ""


class ModelStatus(StatusModel):
    """A model that is downloaded, or on its way."""

    source: Annotated[str, text(64), Field(description="Which uri and revision this is about, as their digest.")]
    revision: Annotated[
        str | None, text(128), Field(description="The commit that was downloaded; of a bucket its listing's digest.")
    ] = None
    percent: Annotated[int, whole(0, 100), Field(description="How much of it is there, in percent, in steps of ten.")]
    bytes: Annotated[
        int | None, TOKENS, Field(description="Size of all its files, in bytes. Absent: not known yet.")
    ] = None
    weight_bytes: Annotated[
        int | None, TOKENS, Field(description="Size of the files with weights, in bytes. Absent: not known yet.")
    ] = None
    config: Annotated[
        str | None,
        text(4096),
        Field(description="What the model's config.json says of its shape, JSON; the plan rests on it."),
    ] = None


class PlanStatus(StatusModel):
    """What one replica was sized to."""

    accelerators: Annotated[int, COUNT, Field(description="Accelerators of one replica.")]
    tensor_parallel: Annotated[int, COUNT, Field(description="Accelerators that share each layer.")]
    quantization: Annotated[
        QuantizationMethod | None, Field(description="How the weights are stored, where Auto was resolved.")
    ] = None
    memory_required: Annotated[
        str | None,
        text(32),
        Field(description="Least memory of all its accelerators together, as a quantity (Gi). Absent: not known."),
    ] = None
    memory_available: Annotated[
        str | None,
        text(32),
        Field(description="Memory of all its accelerators that the engine may use, as a quantity (Gi)."),
    ] = None
    context_length: Annotated[int, TOKENS, Field(description="Longest prompt and answer together, in tokens.")]
    kv_cache_tokens: Annotated[
        int | None,
        TOKENS,
        Field(description="Tokens that the attention cache of one replica holds. Absent: not known."),
    ] = None
    max_sequences: Annotated[
        int | None,
        COUNT,
        Field(description="Requests that one replica works on at once; more wait. Absent: not known."),
    ] = None


class PolicyStatus(StatusModel):
    """What the policy comes to in this namespace."""

    may_leave: Annotated[
        tuple[DataClass, ...],
        ListType("set", most=3),
        Field(
            description="Classes that may go to a target: the object's, as far as the namespace allows them.",
        ),
    ] = ()


class LastFailure(StatusModel):
    """The last failure of a pod, until the replicas have recovered."""

    pod_name: Annotated[str, text(253), Field(description="The pod.")]
    container_name: Annotated[
        str | None, text(63), Field(description="The container. Absent: the pod has not started one.")
    ] = None
    reason: Annotated[Reason, Field(description="What happened, one CamelCase word.")]
    exit_code: Annotated[
        int | None, whole(-2_147_483_648, 2_147_483_647), Field(description="The container's exit code.")
    ] = None
    message: Annotated[
        str, Field(max_length=4096, description="What the pod, its container or the scheduler said.")
    ] = ""
    time: Annotated[AwareDatetime | None, Field(description="When it happened.")] = None


class FallbackStatus(StatusModel):
    """What the gateways of this model last did."""

    state: Annotated[
        FallbackState,
        Field(
            description="Local: requests are served here; Shadow: some would go to a target, and none does; "
            "Overflowing: some go to a target; "
            "Blocked: some would, and may not."
        ),
    ]
    reason: Annotated[Reason | None, Field(description="Why, one CamelCase word.")] = None
    share_percent: Annotated[
        int | None,
        whole(0, 100),
        Field(description="Requests of the last minute that went to a target (Shadow: would have), in percent."),
    ] = None
    since: Annotated[AwareDatetime | None, Field(description="When the state began.")] = None


class BudgetStatus(StatusModel):
    """What the targets have cost in the present window."""

    spent: Annotated[Decimal, Dollars("budget.spent", exact=True), Field(description="Dollars spent and settled.")]
    reserved: Annotated[
        Decimal,
        Dollars("budget.reserved", exact=True),
        Field(description="Dollars that gateways hold for requests still open."),
    ]
    limit: Annotated[Decimal, Dollars("budget.limit"), Field(description="Dollars that one window may cost.")]
    window_start: Annotated[AwareDatetime | None, Field(description="When the window began.")] = None
    window_end: Annotated[AwareDatetime | None, Field(description="When the next window begins.")] = None


class CostStatus(StatusModel):
    """What tokens cost here and at the object's own target; worked out once for each minute that was measured."""

    local_per_million_tokens: Annotated[
        Annotated[Decimal, Dollars("cost.localPerMillionTokens", exact=True)] | None,
        Field(
            description="Dollars for a million tokens of the last hour here: the spec's replicas at the profile's "
            "hourlyCost. Absent: no hourlyCost, or nothing was served."
        ),
    ] = None
    cloud_per_million_tokens: Annotated[
        Annotated[Decimal, Dollars("cost.cloudPerMillionTokens", exact=True)] | None,
        Field(
            description="Dollars for a million of the same tokens at the first target that states a price. Before "
            "anything is measured: of two tokens of answer for one of prompt. Absent: no price."
        ),
    ] = None
    break_even_tokens_per_day: Annotated[
        int | None,
        TOKENS,
        Field(description="Tokens a day above which the replicas cost less than that target. Absent: not known."),
    ] = None
    utilization_percent: Annotated[
        int | None,
        whole(0, 100),
        Field(
            description="Tokens of the last hour, in percent of what the spec's replicas could serve at most by the "
            "roofline. Absent: not known."
        ),
    ] = None
    recommendation: Annotated[
        CostRecommendation,
        Field(
            description="KeepLocal: the replicas cost less, or nothing may leave; PreferCloud: the target would cost "
            "less; Hybrid: fewer replicas with the target beside them would, or a part must stay; Unknown: a price is "
            "missing, or less than an hour was measured."
        ),
    ]
    measured_until: Annotated[
        AwareDatetime | None, Field(description="When the last minute ended that this rests on. Absent: none.")
    ] = None


class LLMDeploymentStatus(StatusModel):
    """What the operator observed."""

    observed_generation: Annotated[
        int | None, TOKENS, Field(description="metadata.generation of the object that this status is about.")
    ] = None
    conditions: Annotated[
        tuple[Condition, ...],
        ListType("map", most=16, key="type"),
        Field(
            description="Ready and what it rests on: SpecValid, ModelReady, WorkloadReady, "
            "RouteReady, FallbackReady, BudgetAvailable; "
            "Progressing while it moves, Stalled when it will not without a change.",
        ),
    ] = ()
    model: Annotated[
        ModelStatus | None, Field(description="The model on its claim. Absent: none is downloaded onto one.")
    ] = None
    replicas: Annotated[int | None, COUNT, Field(description="Pods of the engine.")] = None
    ready_replicas: Annotated[int | None, COUNT, Field(description="Pods of the engine that answer.")] = None
    selector: Annotated[
        str | None, text(1024), Field(description="Label selector of the engine's pods, for autoscalers.")
    ] = None
    url: Annotated[str | None, text(512), Field(description="Base URL for clients inside the cluster.")] = None
    model_name: Annotated[str | None, text(253), Field(description="The name that clients put into `model`.")] = None
    engine: Annotated[EngineType | None, Field(description="The program that serves the model.")] = None
    plan: Annotated[PlanStatus | None, Field(description="What one replica was sized to.")] = None
    policy: Annotated[PolicyStatus | None, Field(description="What the data policy comes to in this namespace.")] = None
    last_failure: Annotated[
        LastFailure | None, Field(description="The last failure of a pod, until the replicas have recovered.")
    ] = None
    fallback: Annotated[FallbackStatus | None, Field(description="What the gateways of this model last did.")] = None
    budget: Annotated[BudgetStatus | None, Field(description="What the targets have cost in the present window.")] = (
        None
    )
    cost: Annotated[
        CostStatus | None,
        Field(
            description="What tokens cost here and at the target. Absent: neither an hourlyCost nor a price is stated."
        ),
    ] = None
