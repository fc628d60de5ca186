"""The plan of one replica: what is asked of the object, the model and the accelerator comes to numbers.

How the memory is counted stands in `memory.py`, how a weight's bits in `formats.py`. The plan takes the fewest
accelerators of one node on which one request of full length fits (or as many requests as are asked for), shares each
layer among them (tensor parallel), and says how many tokens of cache are left.
"""

from __future__ import annotations

from dataclasses import dataclass

from spillway.api.v1alpha1 import EngineType, KVCacheDType, LLMDeployment, MemoryCheck, QuantizationMethod
from spillway.errors import DoesNotFit, InvalidObject
from spillway.sizing.catalogue import find_model
from spillway.sizing.cures import does_not_fit
from spillway.sizing.formats import PLAIN, WeightFormat, weight_format
from spillway.sizing.memory import (
    BYTES_16,
    GIB,
    GPU_MEMORY_UTILIZATION,
    MAX_SEQUENCES,
    Load,
    Term,
    available_bytes,
    divides,
    fits,
    kv_cache_tokens,
    memory_terms,
    shares,
)
from spillway.sizing.models import ModelFacts, Origin
from spillway.sizing.names import marked_bits, marked_quantization
from spillway.sizing.ollama import fit_ollama, ollama_model
from spillway.sizing.profiles import AcceleratorProfile, Profiles, find_profile

__all__ = ["GIB", "GPU_MEMORY_UTILIZATION", "Plan", "Term", "plan_deployment"]

DEFAULT_CONTEXT_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Plan:
    """One replica: what it runs on and what fits. Memory is of all its accelerators together.

    `facts`, `memory_required_bytes`, `kv_cache_tokens` and `terms` are None or empty when the model's size is not
    known, which only a stated accelerator count allows. `warning`: it does not fit, and memoryCheck is Warn.
    """

    profile: AcceleratorProfile
    accelerators: int
    tensor_parallel: int
    quantization: QuantizationMethod
    quantized_on_load: bool
    kv_cache_dtype: KVCacheDType
    context_length: int
    max_sequences: int
    memory_available_bytes: int
    weights: WeightFormat = PLAIN
    facts: ModelFacts | None = None
    memory_required_bytes: int | None = None
    kv_cache_tokens: int | None = None
    terms: tuple[Term, ...] = ()
    warning: DoesNotFit | None = None

    @property
    def estimated(self) -> bool:
        """Whether the numbers rest on the shape of another model than this one."""
        return self.facts is not None and self.facts.estimated

    @property
    def fits(self) -> bool | None:
        """Whether what is asked for fits; None if that is not known."""
        if self.memory_required_bytes is None:
            return None
        return self.memory_required_bytes <= self.memory_available_bytes

    @property
    def full_length_requests(self) -> float | None:
        """Requests of full length that the cache holds at once."""
        return None if self.kv_cache_tokens is None else self.kv_cache_tokens / self.context_length


def plan_deployment(
    deployment: LLMDeployment, profiles: Profiles, downloaded: ModelFacts | None = None, requests: int = 1
) -> Plan:
    """The plan of one replica of `deployment`, for at least `requests` of full length at once.

    `downloaded` are the facts of the model's own files, where they are there: they know better than the catalogue.

    Raises:
        UnknownProfile: spec.accelerator.profile names none of `profiles`.
        DoesNotFit: with the numbers and the changes that would help, when spec.memoryCheck is Enforce.
        InvalidObject: a field contradicts the model, or nothing tells how big the model is.
    """
    spec = deployment.spec
    profile = find_profile(profiles, spec.accelerator.profile)
    if spec.engine.type is EngineType.OLLAMA:
        return _plan_ollama(deployment, profile, downloaded, requests)
    _check_accelerator(profile)
    repository = spec.model.uri.split("://", 1)[1]
    facts = downloaded or find_model(repository, spec.model.parameter_count)
    stored = _stored_as(repository, facts)
    _check_loadable(stored)
    method = _method(spec.quantization.method, stored)
    on_load = _on_load(method, stored)
    context = _context(spec.context_length, facts)
    kv_dtype = spec.quantization.kv_cache_dtype
    count = spec.accelerator.count
    _check_count(count, profile, facts)
    if facts is None:
        return Plan(
            profile=profile,
            accelerators=count,
            tensor_parallel=count,
            quantization=method,
            quantized_on_load=on_load,
            kv_cache_dtype=kv_dtype,
            context_length=context,
            max_sequences=MAX_SEQUENCES,
            memory_available_bytes=count * available_bytes(profile),
        )
    load = Load(
        facts=facts,
        weights=weight_format(method, _bits(repository, facts)),
        kv_bytes=1 if kv_dtype is KVCacheDType.FP8 else BYTES_16,
        context_tokens=context,
        requests=requests,
        from_files=not on_load,
    )
    chosen = count or fewest(load, profile)
    problem = None if fits(load, profile, chosen) else does_not_fit(load, profile, chosen, profiles)
    if problem is not None and spec.memory_check is MemoryCheck.ENFORCE:
        raise problem
    terms = memory_terms(load, profile, chosen)
    return Plan(
        profile=profile,
        accelerators=chosen,
        tensor_parallel=chosen,
        quantization=method,
        quantized_on_load=on_load,
        kv_cache_dtype=kv_dtype,
        context_length=context,
        max_sequences=load.max_sequences,
        memory_available_bytes=chosen * available_bytes(profile),
        weights=load.weights,
        facts=facts,
        memory_required_bytes=chosen * sum(term.bytes_per_accelerator for term in terms),
        kv_cache_tokens=kv_cache_tokens(load, profile, chosen),
        terms=terms,
        warning=problem if spec.memory_check is MemoryCheck.WARN else None,
    )


def _plan_ollama(
    deployment: LLMDeployment, profile: AcceleratorProfile, downloaded: ModelFacts | None, requests: int
) -> Plan:
    spec = deployment.spec
    facts = downloaded or ollama_model(deployment)
    context = _context(spec.context_length, facts)
    fit = fit_ollama(deployment, profile, facts, context, requests)
    if fit.problem is not None and spec.memory_check is MemoryCheck.ENFORCE:
        raise fit.problem
    return Plan(
        profile=profile,
        accelerators=fit.accelerators,
        tensor_parallel=1,
        quantization=QuantizationMethod.GGUF,
        quantized_on_load=False,
        kv_cache_dtype=spec.quantization.kv_cache_dtype,
        context_length=context,
        max_sequences=fit.slots,
        memory_available_bytes=fit.available_bytes,
        weights=fit.weights,
        facts=facts,
        memory_required_bytes=fit.required_bytes,
        kv_cache_tokens=fit.cache_tokens,
        terms=fit.terms,
        warning=fit.problem if spec.memory_check is MemoryCheck.WARN else None,
    )


def fewest(load: Load, profile: AcceleratorProfile) -> int:
    """The fewest accelerators of one node on which `load` fits; the most of a node if it fits on none."""
    possible = shares(load, profile)
    return next((count for count in possible if fits(load, profile, count)), possible[-1])


def _check_accelerator(profile: AcceleratorProfile) -> None:
    if not profile.has_accelerator:
        raise InvalidObject(
            "spec.accelerator.profile",
            f"profile {profile.name} has no accelerator, which VLLM needs",
            "state another profile, or engine.type Ollama",
            reason="NoAccelerator",
        )


def _check_loadable(stored: QuantizationMethod) -> None:
    """Refuse files that the vLLM of this release cannot load."""
    cures = {
        QuantizationMethod.GGUF: "state engine.type Ollama, or a copy of the model in AWQ, GPTQ, FP8 or 16 bits",
        QuantizationMethod.BITS_AND_BYTES: "use a copy of the model in AWQ, GPTQ, FP8 or 16 bits",
    }
    if stored in cures:
        raise InvalidObject(
            "spec.model.uri",
            f"the model's name or files say {stored.value}, which vLLM 0.32 does not load",
            cures[stored],
            reason="UnsupportedFormat",
        )


def _check_count(count: int, profile: AcceleratorProfile, facts: ModelFacts | None) -> None:
    """Refuse a stated count that cannot work, whatever the memory."""
    if facts is None and count == 0:
        raise InvalidObject(
            "spec.model.uri",
            "the model is not in the catalogue and its name tells no size such as 7B",
            'state spec.model.parameters, such as "7.6B", or spec.accelerator.count, with which memory is not checked',
            reason="UnknownModel",
        )
    if count > profile.max_count:
        raise InvalidObject(
            "spec.accelerator.count",
            f"{count} is more than the {profile.max_count} that a node of profile {profile.name} has",
            f"state at most {profile.max_count}",
        )
    # The shape of an estimated model is another's: only a known one says how it can be shared.
    if count and facts is not None and not facts.estimated and not divides(facts, count):
        choices = [str(share) for share in range(1, profile.max_count + 1) if divides(facts, share)]
        raise InvalidObject(
            "spec.accelerator.count",
            f"{count} accelerators cannot share {facts.attention_heads} attention heads and {facts.kv_heads} KV heads "
            "evenly",
            f"state one of {', '.join(choices)}, or 0 for the fewest that fit",
        )


def _stored_as(repository: str, facts: ModelFacts | None) -> QuantizationMethod:
    """How the model's files store the weights: themselves first, then the name, then the catalogue."""
    if facts is not None and facts.origin is Origin.CONFIG and facts.stored_as is not None:
        return facts.stored_as
    marked = marked_quantization(repository)
    if marked is QuantizationMethod.NONE and facts is not None and facts.stored_as is not None:
        return facts.stored_as
    return marked


def _bits(repository: str, facts: ModelFacts) -> int:
    if facts.origin is Origin.CONFIG and facts.stored_bits is not None:
        return facts.stored_bits
    return marked_bits(repository)


def _method(stated: QuantizationMethod, stored: QuantizationMethod) -> QuantizationMethod:
    """The method that holds: the stated one, or how the files are stored."""
    if stated is QuantizationMethod.AUTO:
        return stored
    if stored not in {QuantizationMethod.NONE, stated}:
        kept = "in a way of their own" if stored is QuantizationMethod.AUTO else f"as {stored.value}"
        cure = "leave it Auto" if stored is QuantizationMethod.AUTO else f"leave it Auto or set it to {stored.value}"
        raise InvalidObject(
            "spec.quantization.method",
            f"{stated.value} contradicts the model's name or files, which store the weights {kept}",
            cure,
        )
    return stated


def _on_load(method: QuantizationMethod, stored: QuantizationMethod) -> bool:
    """FP8 alone can be made from plain weights while they are loaded."""
    return method is QuantizationMethod.FP8 and stored is not QuantizationMethod.FP8


def _context(stated: int | None, facts: ModelFacts | None) -> int:
    if facts is None or facts.estimated:
        return stated or DEFAULT_CONTEXT_TOKENS
    if stated is None:
        return min(DEFAULT_CONTEXT_TOKENS, facts.context_length)
    if stated > facts.context_length:
        raise InvalidObject(
            "spec.contextLength",
            f"{stated} tokens are more than the {facts.context_length} that the model was trained with",
            f"set it to at most {facts.context_length}",
            reason="ContextTooLong",
        )
    return stated
