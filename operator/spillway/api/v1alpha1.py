"""The kinds of `spillway.dev/v1alpha1` and everything that their fields are made of: import from here.

`LLMDeployment.model_validate(mapping)` and `LLMLedger.model_validate(mapping)` read what the API server returns;
`parse_deployment` does the same for what a person wrote and says in our own words what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationError

from spillway.api.cache_spec import Cache
from spillway.api.common import (
    API_VERSION,
    GROUP,
    VERSION,
    ConfigMapKeyRef,
    ObjectMeta,
    Rule,
    SecretKeyRef,
    SpecModel,
    StatusModel,
)
from spillway.api.deployment_spec import LLMDeploymentSpec
from spillway.api.deployment_status import (
    BudgetStatus,
    Condition,
    CostStatus,
    FallbackStatus,
    LastFailure,
    LLMDeploymentStatus,
    ModelStatus,
    PlanStatus,
    PolicyStatus,
)
from spillway.api.engine_spec import Engine, EnvironmentVariable, PullSecret, Resources
from spillway.api.enums import (
    AccessMode,
    BudgetWindow,
    CacheAccessMode,
    CacheMode,
    ConditionStatus,
    CostRecommendation,
    DataClass,
    Detector,
    EngineType,
    FallbackMode,
    FallbackReason,
    FallbackState,
    GGUFVariant,
    KVCacheDType,
    MemoryCheck,
    OnExhausted,
    Provider,
    QuantizationMethod,
    RetentionPolicy,
)
from spillway.api.fallback_spec import Access, Budget, DataPolicy, Fallback, Price, Target
from spillway.api.ledger import (
    LEDGER_RULES,
    LLMLedgerSpec,
    LLMLedgerStatus,
    ObservedGateway,
    ObservedTarget,
    ServedTokens,
    Tranche,
)
from spillway.api.workload_spec import SLO, Accelerator, ModelSource, Quantization, Queue
from spillway.errors import InvalidObject

__all__ = [
    "API_VERSION",
    "GROUP",
    "SLO",
    "VERSION",
    "Accelerator",
    "Access",
    "AccessMode",
    "Budget",
    "BudgetStatus",
    "BudgetWindow",
    "Cache",
    "CacheAccessMode",
    "CacheMode",
    "Condition",
    "ConditionStatus",
    "ConfigMapKeyRef",
    "CostRecommendation",
    "CostStatus",
    "DataClass",
    "DataPolicy",
    "Detector",
    "Engine",
    "EngineType",
    "EnvironmentVariable",
    "Fallback",
    "FallbackMode",
    "FallbackReason",
    "FallbackState",
    "FallbackStatus",
    "GGUFVariant",
    "KVCacheDType",
    "LLMDeployment",
    "LLMDeploymentSpec",
    "LLMDeploymentStatus",
    "LLMLedger",
    "LLMLedgerSpec",
    "LLMLedgerStatus",
    "LastFailure",
    "MemoryCheck",
    "ModelSource",
    "ModelStatus",
    "ObjectMeta",
    "ObservedGateway",
    "ObservedTarget",
    "OnExhausted",
    "PlanStatus",
    "PolicyStatus",
    "Price",
    "Provider",
    "PullSecret",
    "Quantization",
    "QuantizationMethod",
    "Queue",
    "Resources",
    "RetentionPolicy",
    "SecretKeyRef",
    "ServedTokens",
    "Target",
    "Tranche",
    "parse_deployment",
]

# `<name>`, `<name>-engine` and `spillway-gateway` are Services in one namespace and must not meet.
_NAME = "[a-z]([-a-z0-9]{0,38}[a-z0-9])?"


def _is_service_name(deployment: LLMDeployment) -> bool:
    name = deployment.metadata.name
    return (
        1 <= len(name) <= 40
        and name.isascii()
        and name[0].isalpha()
        and name[-1] != "-"
        and all(letter.islower() or letter.isdigit() or letter == "-" for letter in name)
    )


class LLMDeployment(SpecModel):
    """A self-hosted model: the engine that serves it, and the cloud APIs that may take over, up to a budget."""

    api_version: Literal["spillway.dev/v1alpha1"] = API_VERSION
    kind: Literal["LLMDeployment"] = "LLMDeployment"
    metadata: ObjectMeta
    spec: Annotated[LLMDeploymentSpec, Field(description="What is wanted.")]
    status: Annotated[LLMDeploymentStatus | None, Field(description="What was observed.")] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"self.metadata.name.matches('^{_NAME}$')",
            "metadata.name must be at most 40 lower-case letters, digits and '-', "
            "beginning with a letter and not ending with '-': "
            "Services are named after it",
            _is_service_name,
        ),
        Rule(
            "self.metadata.name != 'spillway-gateway' && !self.metadata.name.endsWith('-engine')",
            "metadata.name must not be spillway-gateway and must not end with "
            "-engine: Spillway's own Services are named so",
            lambda it: it.metadata.name != "spillway-gateway" and not it.metadata.name.endswith("-engine"),
        ),
    )

    @property
    def model_name(self) -> str:
        """The name that clients put into `model`."""
        return self.spec.model.served_name or self.metadata.name


class LLMLedger(StatusModel):
    """Internal: what the fallback targets of one LLMDeployment have cost, and what its gateways saw."""

    api_version: Literal["spillway.dev/v1alpha1"] = API_VERSION
    kind: Literal["LLMLedger"] = "LLMLedger"
    metadata: ObjectMeta
    spec: Annotated[LLMLedgerSpec, Field(description="The budget, copied from the LLMDeployment.")]
    status: Annotated[LLMLedgerStatus | None, Field(description="What was spent and seen.")] = None

    rules: ClassVar[tuple[Rule, ...]] = LEDGER_RULES


def parse_deployment(document: Mapping[str, object]) -> LLMDeployment:
    """The LLMDeployment that `document` holds.

    A status that cannot be read is left out: a newer version may have written it, and what is wanted still stands.

    Raises:
        InvalidObject: names the first field that cannot be used and what is wrong with it.
    """
    try:
        return LLMDeployment.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["loc"][:1] == ("status",):
            return parse_deployment({key: value for key, value in document.items() if key != "status"})
        path = ".".join(str(part) for part in first["loc"]) or "object"
        problem = first["msg"].removeprefix("Value error, ")
        fields = [str(part) for part in first["loc"] if isinstance(part, str)]
        raise InvalidObject(path, problem, f"see `kubectl explain {'.'.join(['llmdeployment', *fields])}`") from error
