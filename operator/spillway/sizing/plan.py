"""The plan of one replica: how many accelerators, what stands in their memory, how long the context may be.

Memory of one accelerator, when a replica's layers are shared by T of them (tensor parallel):

    weights      (P - E) x b_w / 8 / T  +  E x 2 / T
                 P parameters, E of them in embedding and output layer; quantised copies keep those in 16 bits.
                 b_w bits for a weight: 16; FP8 8; AWQ and GPTQ 4 + 32/128 = 4.25 (a 16-bit scale, and a zero point
                 that fills up to another 16, for each group of 128; https://arxiv.org/abs/2306.00978), GPTQ in 8 bits
                 8.25.
    activations  B x (2 F / T + 4 H) x 2  +  2 x S x V x 4
                 the widest step of vLLM's profile run: B batched tokens through a feed-forward block of width F (gate
                 and up) and the residual streams of width H in 16 bits; then S sequences' logits over the vocabulary
                 V, as 32-bit floats, twice for the sampler.
    runtime      1 GiB for the CUDA context and libraries, 0.5 GiB for CUDA graphs, 0.5 GiB more for NCCL when T > 1
    cache        context x layers x max(1, K // T) x 2 x D x b_kv
                 K KV heads of size D, keys and values; below one head per accelerator they are copied, so more
                 accelerators do not shrink it further (vLLM: get_num_kv_heads). b_kv is 2 bytes, 1 with FP8.

vLLM refuses to start when the cache of one request of full length does not fit into

    memory x 0.92 - weights - activations - runtime

(0.92 is --gpu-memory-utilization's default), so that is what "fits" means here. The rest is cache for more requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from spillway.api.v1alpha1 import KVCacheDType, LLMDeployment, QuantizationMethod
from spillway.errors import DoesNotFit, InvalidObject
from spillway.sizing.models import ModelFacts, find_model, marked_bits, marked_quantization
from spillway.sizing.profiles import AcceleratorProfile, Profiles, find_profile

GIB = 1024**3
GPU_MEMORY_UTILIZATION = 0.92
DEFAULT_CONTEXT_TOKENS = 8192
MAX_SEQUENCES = 256
BLOCK_TOKENS = 16  # vLLM's block of the cache on CUDA; one block is kept back

_RUNTIME_BYTES = int(1.5 * GIB)
_NCCL_BYTES = int(0.5 * GIB)
_BYTES_16 = 2
_BYTES_32 = 4


@dataclass(frozen=True, slots=True)
class Term:
    """One part of an accelerator's memory, in bytes."""

    name: str
    bytes_per_accelerator: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One replica: what it runs on and what fits. Memory is of all its accelerators together.

    `memory_required_bytes`, `kv_cache_tokens` and `terms` are None or empty when the model's size is not known, which
    only a stated accelerator count allows; `estimated` says that they rest on the size in the model's name.
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
    memory_required_bytes: int | None = None
    kv_cache_tokens: int | None = None
    terms: tuple[Term, ...] = ()
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """What the accelerators are asked to hold."""

    facts: ModelFacts
    bits_per_weight: float
    kv_bytes: int
    context_tokens: int
    max_sequences: int = MAX_SEQUENCES


def plan_deployment(deployment: LLMDeployment, profiles: Profiles) -> Plan:
    """The plan of one replica of `deployment`.

    Raises:
        UnknownProfile: spec.accelerator.profile names none of `profiles`.
        DoesNotFit: with the numbers and the changes that would help.
        InvalidObject: a field contradicts the model, or nothing tells how big the model is.
    """
    spec = deployment.spec
    profile = find_profile(profiles, spec.accelerator.profile)
    repository = spec.model.uri.split("://", 1)[1]
    facts = find_model(repository)
    marked = marked_quantization(repository)
    method = _method(spec.quantization.method, marked)
    context = _context(spec.context_length, facts)
    kv_dtype = spec.quantization.kv_cache_dtype
    count = spec.accelerator.count
    if facts is None and count == 0:
        raise InvalidObject(
            "spec.model.uri",
            f"{spec.model.uri} is not in the catalogue and its name tells no size such as 7B",
            "state spec.accelerator.count; its memory is then not checked",
            reason="UnknownModel",
        )
    if count > profile.max_count:
        raise InvalidObject(
            "spec.accelerator.count",
            f"{count} is more than the {profile.max_count} that a node of profile {profile.name} has",
            f"state at most {profile.max_count}",
        )
    if facts is None:
        return Plan(
            profile=profile,
            accelerators=count,
            tensor_parallel=count,
            quantization=method,
            quantized_on_load=_on_load(method, marked),
            kv_cache_dtype=kv_dtype,
            context_length=context,
            max_sequences=MAX_SEQUENCES,
            memory_available_bytes=count * available_bytes(profile),
        )
    load = Load(
        facts=facts,
        bits_per_weight=bits_per_weight(method, marked_bits(repository)),
        kv_bytes=1 if kv_dtype is KVCacheDType.FP8 else _BYTES_16,
        context_tokens=context,
    )
    chosen = _stated_count(load, profile, count) if count else fewest(load, profile)
    terms = memory_terms(load, profile, chosen)
    return Plan(
        profile=profile,
        accelerators=chosen,
        tensor_parallel=chosen,
        quantization=method,
        quantized_on_load=_on_load(method, marked),
        kv_cache_dtype=kv_dtype,
        context_length=context,
        max_sequences=load.max_sequences,
        memory_available_bytes=chosen * available_bytes(profile),
        memory_required_bytes=chosen * sum(term.bytes_per_accelerator for term in terms),
        kv_cache_tokens=kv_cache_tokens(load, profile, chosen),
        terms=terms,
        estimated=facts.estimated,
    )


def available_bytes(profile: AcceleratorProfile) -> int:
    """What the engine may use of one accelerator."""
    return int(profile.memory_gib * GIB * GPU_MEMORY_UTILIZATION)


def bits_per_weight(method: QuantizationMethod, integer_bits: int = 4) -> float:
    """Bits of a weight outside embedding and output layer, with the scales of its group."""
    match method:
        case QuantizationMethod.AWQ | QuantizationMethod.GPTQ:
            return integer_bits + 0.25
        case QuantizationMethod.FP8:
            return 8.0
        case _:
            return 16.0


def memory_terms(load: Load, profile: AcceleratorProfile, count: int) -> tuple[Term, ...]:
    """What stands in the memory of each of `count` accelerators, with the cache of one request of full length."""
    facts = load.facts
    embedding = facts.embedding_parameters
    inner = max(0, facts.parameters - embedding)
    weights = (inner * load.bits_per_weight / 8 + embedding * _BYTES_16) / count
    width = 2 * facts.feed_forward_size / count + 4 * facts.hidden_size
    logits = 2 * load.max_sequences * facts.vocabulary * _BYTES_32
    activations = batched_tokens(profile) * width * _BYTES_16 + logits
    return (
        Term("weights", ceil(weights)),
        Term("activations", ceil(activations)),
        Term("runtime", _RUNTIME_BYTES + (_NCCL_BYTES if count > 1 else 0)),
        Term("cache of one request", (load.context_tokens + BLOCK_TOKENS) * kv_bytes_per_token(load, count)),
    )


def batched_tokens(profile: AcceleratorProfile) -> int:
    """Tokens of one step, vLLM's default by the device's memory (A100 is named there as an exception)."""
    if profile.memory_gib >= 160:
        return 16384
    if profile.memory_gib >= 70 and "a100" not in profile.name:
        return 8192
    return 2048


def kv_bytes_per_token(load: Load, count: int) -> int:
    """Bytes of the attention cache for one token on each of `count` accelerators."""
    facts = load.facts
    return facts.layers * max(1, facts.kv_heads // count) * 2 * facts.head_size * load.kv_bytes


def kv_cache_tokens(load: Load, profile: AcceleratorProfile, count: int) -> int:
    """Tokens that the cache of one replica holds, less the block that vLLM keeps back."""
    rest = available_bytes(profile) - sum(
        term.bytes_per_accelerator for term in memory_terms(load, profile, count) if not term.name.startswith("cache")
    )
    blocks = rest // (BLOCK_TOKENS * kv_bytes_per_token(load, count)) - 1
    return max(0, blocks) * BLOCK_TOKENS


def divides(facts: ModelFacts, count: int) -> bool:
    """Whether `count` accelerators can share each layer: they divide its heads, and share or copy KV heads evenly."""
    return facts.attention_heads % count == 0 and (facts.kv_heads % count == 0 or count % facts.kv_heads == 0)


def fits(load: Load, profile: AcceleratorProfile, count: int) -> bool:
    """Whether one request of full length fits beside everything else."""
    return sum(term.bytes_per_accelerator for term in memory_terms(load, profile, count)) <= available_bytes(profile)


def fewest(load: Load, profile: AcceleratorProfile) -> int:
    """The fewest accelerators of one node on which `load` fits; raises DoesNotFit."""
    shares = [count for count in range(1, profile.max_count + 1) if divides(load.facts, count)]
    for count in shares:
        if fits(load, profile, count):
            return count
    raise _does_not_fit(load, profile, shares[-1])


def _stated_count(load: Load, profile: AcceleratorProfile, count: int) -> int:
    # The shape of an estimated model is another's: only a known one says how it can be shared.
    if not load.facts.estimated and not divides(load.facts, count):
        choices = [str(share) for share in range(1, profile.max_count + 1) if divides(load.facts, share)]
        raise InvalidObject(
            "spec.accelerator.count",
            f"{count} accelerators cannot share {load.facts.attention_heads} attention heads evenly",
            f"state one of {', '.join(choices)}, or 0 for the fewest that fit",
        )
    if not fits(load, profile, count):
        raise _does_not_fit(load, profile, count)
    return count


def _does_not_fit(load: Load, profile: AcceleratorProfile, count: int) -> DoesNotFit:
    terms = memory_terms(load, profile, count)
    need = sum(term.bytes_per_accelerator for term in terms)
    parts = ", ".join(f"{term.name} {term.bytes_per_accelerator / GIB:.1f}" for term in terms)
    estimated = " (the model's size is taken from its name)" if load.facts.estimated else ""
    return DoesNotFit(
        "spec.accelerator",
        f"the model needs {need / GIB:.1f} GiB on each of {count} x {profile.name}, which offers "
        f"{available_bytes(profile) / GIB:.1f} GiB: {parts}{estimated}",
        _cure(load, profile, count),
        reason="DoesNotFit",
    )


def _cure(load: Load, profile: AcceleratorProfile, count: int) -> str:
    cures = []
    room = kv_cache_tokens(load, profile, count)
    if room >= 1024:
        cures.append(f"set spec.contextLength to at most {room}")
    if count < profile.max_count:
        more = next(
            (c for c in range(count + 1, profile.max_count + 1) if divides(load.facts, c) and fits(load, profile, c)), 0
        )
        if more:
            cures.append(f"set spec.accelerator.count to {more}")
    cures.append("use a quantised copy of the model or a profile with more memory")
    return ", or ".join(cures)


def _method(stated: QuantizationMethod, marked: QuantizationMethod) -> QuantizationMethod:
    """The method that holds: the stated one, or what the model's name tells."""
    if stated is QuantizationMethod.AUTO:
        return marked
    if marked not in {QuantizationMethod.NONE, stated}:
        raise InvalidObject(
            "spec.quantization.method",
            f"{stated.value} contradicts the model's name, which says {marked.value}",
            f"leave it Auto or set it to {marked.value}",
        )
    return stated


def _on_load(method: QuantizationMethod, marked: QuantizationMethod) -> bool:
    """FP8 alone can be made from plain weights while they are loaded."""
    return method is QuantizationMethod.FP8 and marked is not QuantizationMethod.FP8


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
