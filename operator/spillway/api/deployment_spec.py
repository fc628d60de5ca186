"""`LLMDeployment.spec`: what a user states.

Defaults that stand only in these models are what Spillway takes when a field is absent. The CRD carries defaults for
the scalars at the top of spec alone: further down a default is drift to Argo CD.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from spillway.api.cache_spec import CACHE_RULES, Cache
from spillway.api.common import (
    Rule,
    SpecModel,
    whole,
)
from spillway.api.engine_rules import ENGINE_RULES
from spillway.api.engine_spec import Engine, Resources
from spillway.api.enums import FallbackMode, MemoryCheck
from spillway.api.fallback_spec import Access, Budget, DataPolicy, Fallback
from spillway.api.workload_spec import SLO, Accelerator, ModelSource, Quantization, Queue

_ENABLED = "has(self.fallback) && has(self.fallback.mode) && self.fallback.mode == 'Enabled'"


class LLMDeploymentSpec(SpecModel):
    """A model, the engine that serves it, and what may take over when it cannot."""

    model: Annotated[ModelSource, Field(description="The model and where it comes from.")]
    engine: Annotated[Engine, Field(description="The program that serves the model.")] = Engine()
    context_length: Annotated[
        int | None,
        whole(128, 16_777_216),
        Field(
            description="Longest prompt and answer together, in tokens. Absent: 8192, or what "
            "the model was trained with if that is less."
        ),
    ] = None
    quantization: Annotated[Quantization, Field(description="How weights and attention cache are stored.")] = (
        Quantization()
    )
    memory_check: Annotated[
        MemoryCheck,
        Field(
            description="What follows when the model does not fit its accelerators by the plan. Enforce: nothing is "
            "started; Warn: condition SpecValid says so; Disabled: nothing. The message says which changes are enough."
        ),
    ] = MemoryCheck.WARN
    accelerator: Annotated[Accelerator, Field(description="What one replica runs on.")]
    resources: Annotated[
        Resources, Field(description="What one replica is given of its node, beside the accelerators.")
    ] = Resources()
    cache: Annotated[Cache, Field(description="Where a downloaded model is kept.")] = Cache()
    replicas: Annotated[int, whole(0, 1000), Field(description="Replicas of the engine.")] = 1
    startup_timeout_seconds: Annotated[
        int,
        whole(30, 86_400),
        Field(description="How long an engine may take from its start until it answers, in seconds."),
    ] = 1800
    suspend: Annotated[
        bool,
        Field(strict=True, description="Whether the engine is taken away; everything else stays, replicas too."),
    ] = False
    slo: Annotated[SLO, Field(description="What a caller may expect.")] = SLO()
    queue: Annotated[Queue, Field(description="Where requests wait that can neither be served in time nor leave.")] = (
        Queue()
    )
    data_policy: Annotated[DataPolicy, Field(description="Which requests may leave the cluster.")] = DataPolicy()
    fallback: Annotated[Fallback, Field(description="Which cloud APIs may take over, and when.")] = Fallback()
    budget: Annotated[
        Budget | None, Field(description="The dollars that targets may cost. Must be set while fallback is Enabled.")
    ] = None
    access: Annotated[
        Access | None,
        Field(description="Who may call the gateway for this model. Must be stated while fallback is Enabled."),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!({_ENABLED}) || has(self.budget)",
            'budget must be set while fallback.mode is Enabled, such as budget: {limit: "50.00", window: Month}',
            lambda spec: spec.fallback.mode is not FallbackMode.ENABLED or spec.budget is not None,
        ),
        Rule(
            f"!({_ENABLED}) || has(self.access)",
            "access.mode must be stated while fallback.mode is Enabled: whoever calls may spend the budget; "
            "access: {mode: None} lets everyone who reaches the gateway",
            lambda spec: spec.fallback.mode is not FallbackMode.ENABLED or spec.access is not None,
        ),
        *CACHE_RULES,
        *ENGINE_RULES,
    )
