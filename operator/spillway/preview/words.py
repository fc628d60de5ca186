"""A plan as what is printed of it: a table for people, a mapping for programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from spillway.api.v1alpha1 import LLMDeployment, QuantizationMethod
from spillway.sizing.cache import cache_shortage
from spillway.sizing.catalogue import CatalogueEntry
from spillway.sizing.devices import GIGABYTE, weights_alone
from spillway.sizing.memory import GIB, GPU_MEMORY_UTILIZATION
from spillway.sizing.models import ModelFacts, Origin
from spillway.sizing.plan import Plan
from spillway.terminal import facts_table

_ORIGINS = {
    Origin.CONFIG: "its config.json",
    Origin.STATED: "spec.model.parameters; the rest is that of a known model of that size",
    Origin.NAME: "the size in its name; the rest is that of a known model of that size",
}


def table(deployment: LLMDeployment, plan: Plan) -> RenderableType:
    """The plan of `deployment` for people: each term of the memory of one accelerator, and what is left."""
    facts = facts_table(_facts(deployment, plan))
    parts: list[RenderableType] = [Text(deployment.metadata.name, style="bold"), facts]
    if plan.terms:
        parts.append(_memory(plan))
    if plan.warning is not None:
        parts.append(Text(f"does not fit: {plan.warning}", style="yellow", overflow="fold"))
    if (shortage := cache_shortage(deployment, plan)) is not None:
        parts.append(Text(f"will not fit on its claim: {shortage}", style="yellow", overflow="fold"))
    return Group(*parts)


def mapping(deployment: LLMDeployment, plan: Plan) -> Mapping[str, object]:
    """The plan of `deployment` for programs; sizes in bytes, what is not known is null."""
    shortage = cache_shortage(deployment, plan)
    alone = None if plan.facts is None else weights_alone(plan.facts, plan.weights, not plan.quantized_on_load)
    return {
        "name": deployment.metadata.name,
        "namespace": deployment.metadata.namespace,
        "model": deployment.spec.model.uri,
        "modelFactsFrom": None if plan.facts is None else plan.facts.origin.value,
        "parameters": None if plan.facts is None else plan.facts.parameters,
        "quantization": plan.quantization.value,
        "kvCacheDType": plan.kv_cache_dtype.value,
        "contextLength": plan.context_length,
        "profile": plan.profile.name,
        "accelerators": plan.accelerators,
        "tensorParallel": plan.tensor_parallel,
        "memoryPerAccelerator": {
            "terms": [
                {"name": term.name, "bytes": term.bytes_per_accelerator, "basis": term.basis} for term in plan.terms
            ],
            "neededBytes": _needed(plan),
            "availableBytes": _available(plan),
        },
        "kvCacheTokens": plan.kv_cache_tokens,
        "fullLengthRequests": None if plan.full_length_requests is None else round(plan.full_length_requests, 2),
        "weightsAlone": None
        if alone is None
        else {"bytes": alone.weight_bytes, "devices": alone.devices, "deviceGigabytes": alone.device_gigabytes},
        "fits": plan.fits,
        "warning": None if plan.warning is None else str(plan.warning),
        "cacheWarning": None if shortage is None else str(shortage),
    }


def _facts(deployment: LLMDeployment, plan: Plan) -> list[tuple[str, str]]:
    profile, shared = plan.profile, f", each layer shared by {plan.tensor_parallel}" if plan.tensor_parallel > 1 else ""
    chosen = f"the fewest that fit, of {profile.max_count} on a node" if plan.fits else "as many as a node has"
    most = "" if deployment.spec.accelerator.count else f" ({chosen})"
    devices = f"{plan.accelerators} x {profile.name}{shared}{most}" if plan.accelerators else f"profile {profile.name}"
    rows = [
        ("model", deployment.spec.model.uri),
        ("known", _shape(plan.facts)),
        ("runs on", devices),
        ("context", f"{plan.context_length} tokens"),
    ]
    if plan.facts is None or plan.kv_cache_tokens is None or plan.full_length_requests is None:
        return rows
    alone = weights_alone(plan.facts, plan.weights, not plan.quantized_on_load)
    several = "" if alone.devices == 1 else f"{alone.devices} devices of "
    return [
        *rows,
        ("cache", f"{plan.kv_cache_tokens} tokens: {plan.full_length_requests:.1f} requests of full length at once"),
        (
            "rule of thumb",
            f"{alone.weight_bytes / GIGABYTE:.1f} GB of weights alone: {several}{alone.device_gigabytes} GB",
        ),
    ]


def _shape(facts: ModelFacts | None) -> str:
    if facts is None:
        return "not at all: nothing tells its size, and memory is not checked"
    published = f"catalogue; published at {facts.source}" if isinstance(facts, CatalogueEntry) else ""
    origin = published or _ORIGINS.get(facts.origin, "")
    experts = f", {facts.experts_per_token} of {facts.experts} experts" if facts.experts else ""
    heads = "latent attention" if facts.latent_size else f"{facts.kv_heads} KV heads of {facts.head_size}"
    size = f"{facts.parameters / 1e9:.2f}B parameters, {facts.layers} layers, {heads}{experts}"
    return f"{size}, trained with {facts.context_length} tokens\n({origin})"


def _memory(plan: Plan) -> Table:
    memory = Table(box=box.SIMPLE_HEAD, title_justify="left", show_footer=False, padding=(0, 2, 0, 0))
    memory.add_column(f"memory of {'each' if plan.accelerators > 1 else 'it'}, GiB")
    memory.add_column("", justify="right")
    memory.add_column("", style="dim", overflow="fold")
    for term in plan.terms:
        memory.add_row(term.name, _gib(term.bytes_per_accelerator), term.basis)
    available, needed = _available(plan), _needed(plan)
    memory.add_section()
    memory.add_row("needed", _gib(needed), style="bold")
    share = f" x {GPU_MEMORY_UTILIZATION}" if plan.accelerators else ""
    memory.add_row("available", _gib(available), f"{plan.profile.memory_gib:g}{share}")
    if needed <= available:
        memory.add_row("left", _gib(available - needed), "cache for more requests" if _grows(plan) else "not used")
    else:
        memory.add_row("missing", _gib(needed - available), style="yellow")
    return memory


def _needed(plan: Plan) -> int:
    return sum(term.bytes_per_accelerator for term in plan.terms)


def _grows(plan: Plan) -> bool:
    """Whether the engine makes cache of what is left; Ollama's slots are fixed when it starts."""
    return plan.quantization is not QuantizationMethod.GGUF


def _available(plan: Plan) -> int:
    return plan.memory_available_bytes // max(1, plan.accelerators)


def _gib(amount: int) -> str:
    return f"{amount / GIB:.2f}"
