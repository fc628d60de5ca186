"""Four ways to run both, and the one to run all here, each with the LLMDeployments that implement it.

The objects use only what an LLMDeployment can say. Spillway tells requests apart by data class and by load, not by how
hard they are: by complexity the application chooses, with the model's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal

from spillway.advisor.accelerators import find_accelerator
from spillway.advisor.criteria import SPIKY_PEAK_TO_AVERAGE
from spillway.advisor.figures import Figures
from spillway.advisor.hardware import Precision
from spillway.advisor.needs import DataResidency, Needs
from spillway.api.v1alpha1 import API_VERSION, EngineType, Provider, QuantizationMethod
from spillway.sizing.names import marked_quantization
from spillway.sizing.profiles import default_profiles

SMALL_MODEL = "hf://hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4"
_DEFAULT_LIMIT_MILLISECONDS = 2000
# Over the expected bill, so that a busier month than usual is not cut off at its end.
_BUDGET_MARGIN = Decimal("1.2")

# What one LLMDeployment can say; more is for several of them.
_MOST_REPLICAS = 1000
_MOST_DOLLARS = Decimal(999_999_999)

_PLACES_OF_ONES_OWN = {
    Provider.AZURE_OPENAI: "https://my-resource.openai.azure.com/openai/v1",
    Provider.OPENAI_COMPATIBLE: "https://api.example.com/v1",
}
"""What stands for an address that each customer has one of; the other providers' own are known."""

Object = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way to run a model: how requests are divided, and the objects, as `kubectl apply` takes them."""

    name: str
    text: str
    objects: tuple[Object, ...]


def patterns(needs: Needs, figures: Figures) -> tuple[Pattern, ...]:
    """The patterns that the needs ask for, best first; bursts where they ask for none."""
    return tuple(_asked_for(needs, figures)) or (burst(needs, figures),)


def _asked_for(needs: Needs, figures: Figures) -> Iterator[Pattern]:
    if needs.data in {DataResidency.VARIES, DataResidency.PART_MUST_STAY}:
        yield by_sensitivity(needs, figures)
    if needs.traffic.peak_to_average >= SPIKY_PEAK_TO_AVERAGE:
        yield burst(needs, figures)
    if needs.frontier_percent:
        yield by_complexity(needs, figures)
    if needs.still_experimenting:
        yield by_stage(needs, figures)


def alone(needs: Needs, figures: Figures) -> tuple[Pattern, ...]:
    """All of it here, on replicas for the peak; none where the model does not fit, or no node has such a setup."""
    if figures.plan is None or find_accelerator(figures.setup.accelerator).engine is not EngineType.VLLM:
        return ()
    name = figures.setup.accelerator
    missing = "" if name in default_profiles() else f"; the profile {name} is the administrator's to add"
    spec = _spec(needs, figures) | {"replicas": _replicas(figures, figures.units)}
    return (
        Pattern(
            "self-hosted", f"every request is served here, and nothing leaves{missing}", (_object(needs.name, spec),)
        ),
    )


def by_complexity(needs: Needs, figures: Figures) -> Pattern:
    """Simple queries to a small model here, medium ones to a large one here, the hardest to a cloud."""
    small = _object(f"{needs.name}-small", _spec(needs, figures) | {"model": {"uri": SMALL_MODEL}, "replicas": 1})
    hardest = _spec(needs, figures) | {"replicas": 0} | _leaving(figures, ("NoEndpoints",))
    return Pattern(
        "tiered by complexity",
        f"the application puts {needs.name}-small, {needs.name} or {needs.name}-hard into `model`, by how hard a "
        f"request is; {needs.name}-hard has no replica here, so what may leave goes to the cloud",
        (small, _object(needs.name, _spec(needs, figures)), _object(f"{needs.name}-hard", hardest)),
    )


def by_sensitivity(needs: Needs, figures: Figures) -> Pattern:
    """What is sensitive stays here; what is not may leave when the replicas here are full or gone."""
    reasons = ("Saturated", "NoEndpoints", "Loading", "BackendError")
    return Pattern(
        "tiered by sensitivity",
        "a request without a label is Sensitive and stays; one labelled Internal or Public in x-spillway-data-class "
        "goes to the cloud when the replicas here cannot keep up, unless a detector finds that it is sensitive",
        (_object(needs.name, _spec(needs, figures) | _leaving(figures, reasons, default="Sensitive")),),
    )


def by_stage(needs: Needs, figures: Figures) -> Pattern:
    """Development at an API, production here."""
    development = _spec(needs, figures) | {"replicas": 0} | _leaving(figures, ("NoEndpoints",))
    return Pattern(
        "development and production",
        f"{needs.name}-dev has no replica here and goes to the cloud, where a model changes with a word; "
        f"{needs.name} is served here alone",
        (_object(f"{needs.name}-dev", development), _object(needs.name, _spec(needs, figures))),
    )


def burst(needs: Needs, figures: Figures) -> Pattern:
    """The base load here, what is over it to a cloud."""
    return Pattern(
        "burst",
        "the replicas here serve the base load; a request that would miss slo.timeToFirstTokenMilliseconds goes to the "
        "cloud, as far as it may leave and the budget lasts",
        (_object(needs.name, _spec(needs, figures) | _leaving(figures, ("Saturated", "BackendError"))),),
    )


def _object(name: str, spec: Object) -> Object:
    return {"apiVersion": API_VERSION, "kind": "LLMDeployment", "metadata": {"name": name}, "spec": spec}


def _spec(needs: Needs, figures: Figures) -> dict[str, object]:
    """The model here, on as many replicas as the units of a hybrid hold; nothing leaves."""
    limit = needs.first_token.limit_milliseconds if needs.first_token else _DEFAULT_LIMIT_MILLISECONDS
    spec: dict[str, object] = {
        "model": {"uri": needs.model.uri} | ({"parameters": needs.model.parameters} if needs.model.parameters else {}),
        "contextLength": needs.model.context_tokens,
        "accelerator": {"profile": figures.setup.accelerator},
        "replicas": _replicas(figures, figures.hybrid_units),
        "slo": {"timeToFirstTokenMilliseconds": max(10, limit)},
    }
    plain = marked_quantization(needs.model.uri) is QuantizationMethod.NONE
    if plain and needs.model.precision is not Precision.SIXTEEN_BITS:
        # The engine makes it of plain files while it loads them; four bits would need a copy of their own.
        spec["quantization"] = {"method": "FP8"}
    return spec


def _replicas(figures: Figures, units: int) -> int:
    share = 1 if figures.plan is None else max(1, figures.plan.accelerators)
    return min(_MOST_REPLICAS, max(1, units * figures.setup.accelerators // share))


def _leaving(figures: Figures, reasons: tuple[str, ...], default: str = "Internal") -> dict[str, object]:
    """What may leave, where to, why and for how much."""
    price = figures.price
    name = price.provider.lower().replace(" ", "-")
    cached = price.cached_input_usd_per_million
    charged = {
        "inputPerMillionTokens": f"{price.input_usd_per_million:f}",
        "outputPerMillionTokens": f"{price.output_usd_per_million:f}",
    } | ({} if cached is None else {"cachedInputPerMillionTokens": f"{cached:f}"})
    target: dict[str, object] = {
        "name": name,
        "provider": price.api.value,
        "model": price.model,
        "secretRef": {"name": name, "key": "api-key"},
        "price": charged,
    }
    base_url = price.base_url or _PLACES_OF_ONES_OWN.get(price.api)
    if base_url is not None:
        target["baseURL"] = base_url
    limit = (figures.hybrid_cloud_usd * _BUDGET_MARGIN).quantize(Decimal(1), rounding=ROUND_UP)
    return {
        "dataPolicy": {"defaultClass": default, "mayLeave": ["Internal", "Public"], "detectors": ["PII", "Secrets"]},
        "fallback": {"mode": "Enabled", "reasons": list(reasons), "targets": [target]},
        "budget": {"limit": f"{min(_MOST_DOLLARS, max(Decimal(1), limit)):f}", "window": "Month"},
        "access": {"mode": "None"},
    }
