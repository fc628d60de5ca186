"""What stands in the memory of one accelerator when a replica's layers are shared by T of them (tensor parallel).

    weights      (E x b_e + (P - E) x b_w) / 8 / T
                 P parameters, E of them in embedding and output layer; b bits each (`formats.py`). Where the size of
                 the files is known and they are loaded as they are: that, shared by T.
    activations  B x (2 F / T + 4 H) x 2  +  2 x S x V x 4
                 the widest step of vLLM's profile run: B batched tokens through feed-forward blocks of width F (gate
                 and up; of a mixture, those that one token passes) and the residual streams of width H in 16 bits; then
                 S sequences' logits over the vocabulary V, as 32-bit floats, twice for the sampler.
    runtime      1 GiB for the CUDA context and libraries, 0.5 GiB for CUDA graphs, 0.5 GiB more for NCCL when T > 1
    cache        (R x C + 16) x L x max(1, K // T) x 2 D x b_kv
                 R requests of C tokens, in blocks of 16, and one block that vLLM keeps back; L layers; K KV heads of
                 size D, keys and values. Below one head per accelerator they are copied, so more accelerators do not
                 shrink it further (vLLM: get_num_kv_heads). b_kv is 2 bytes, 1 with FP8. Latent attention (MLA) leaves
                 one vector in place of keys and values, on each accelerator. Layers with a sliding window of W tokens
                 hold min(C, W - 1 + B) and a block (vLLM: SlidingWindowSpec.max_memory_usage_bytes).

vLLM refuses to start when the cache of one request of full length does not fit into

    memory x 0.92 - weights - activations - runtime

(0.92 is --gpu-memory-utilization's default), so that is what "fits" means here. The rest is cache for more requests.
The cache is measured: a model with L = 4, K = 2, D = 64 held 524,288 tokens in 1 GiB. The runtime's share is a rule of
thumb, on the safe side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from spillway.sizing.formats import WeightFormat, weight_bytes
from spillway.sizing.models import ModelFacts
from spillway.sizing.profiles import AcceleratorProfile

GIB = 1024**3
GPU_MEMORY_UTILIZATION = 0.92
MAX_SEQUENCES = 256
BLOCK_TOKENS = 16  # vLLM's block of the cache on CUDA
LEAST_CONTEXT_TOKENS = 128

RUNTIME_BYTES = int(1.5 * GIB)
NCCL_BYTES = int(0.5 * GIB)
BYTES_16 = 2
BYTES_32 = 4


@dataclass(frozen=True, slots=True)
class Term:
    """One part of an accelerator's memory, in bytes, and the numbers that it is made of."""

    name: str
    bytes_per_accelerator: int
    basis: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """What the accelerators are asked to hold: a model in a format, and `requests` of `context_tokens` at once.

    `from_files`: the weights are loaded as they are in the model's files, so their size holds where it is known.
    """

    facts: ModelFacts
    weights: WeightFormat
    kv_bytes: float
    context_tokens: int
    requests: int = 1
    max_sequences: int = MAX_SEQUENCES
    from_files: bool = True


def available_bytes(profile: AcceleratorProfile) -> int:
    """What the engine may use of one accelerator."""
    return int(profile.memory_gib * GIB * GPU_MEMORY_UTILIZATION)


def memory_terms(load: Load, profile: AcceleratorProfile, count: int) -> tuple[Term, ...]:
    """What stands in the memory of each of `count` accelerators."""
    facts = load.facts
    tokens = batched_tokens(profile)
    width = 2 * facts.widest_feed_forward / count + 4 * facts.hidden_size
    logits = 2 * load.max_sequences * facts.vocabulary * BYTES_32
    cache = load.requests * _request_bytes(load, profile, count) + BLOCK_TOKENS * kv_bytes_per_token(load, count)
    requests = "one request" if load.requests == 1 else f"{load.requests} requests"
    return (
        _weights(load, count),
        Term(
            "activations",
            ceil(tokens * width * BYTES_16 + logits),
            f"{tokens} batched tokens, {load.max_sequences} sequences' logits over {facts.vocabulary}",
        ),
        Term(
            "runtime",
            RUNTIME_BYTES + (NCCL_BYTES if count > 1 else 0),
            "CUDA context, CUDA graphs" + (", NCCL" if count > 1 else ""),
        ),
        Term(
            f"cache of {requests}",
            ceil(cache),
            _cache_basis(load, count),
        ),
    )


def batched_tokens(profile: AcceleratorProfile) -> int:
    """Tokens of one step, vLLM's default by the device's memory (A100 is named there as an exception)."""
    if profile.memory_gib >= 160:
        return 16384
    if profile.memory_gib >= 70 and "a100" not in profile.name:
        return 8192
    return 2048


def kv_bytes_per_token(load: Load, count: int) -> int:
    """Bytes of the attention cache for one token of full attention on each of `count` accelerators."""
    return ceil(load.facts.layers * _kv_bytes_per_layer(load, count))


def kv_cache_tokens(load: Load, profile: AcceleratorProfile, count: int) -> int:
    """Tokens that the cache of one replica holds, in requests of full length, less the block that vLLM keeps back."""
    *others, _ = memory_terms(load, profile, count)
    rest = available_bytes(profile) - sum(term.bytes_per_accelerator for term in others)
    block = BLOCK_TOKENS * kv_bytes_per_token(load, count)
    if not load.facts.sliding_layers:
        return max(0, rest // block - 1) * BLOCK_TOKENS
    tokens = (rest - block) * load.context_tokens / _request_bytes(load, profile, count)
    return max(0, int(tokens) // BLOCK_TOKENS) * BLOCK_TOKENS


def divides(facts: ModelFacts, count: int) -> bool:
    """Whether `count` accelerators can share each layer: they divide its heads, and share or copy KV heads evenly."""
    return facts.attention_heads % count == 0 and (facts.kv_heads % count == 0 or count % facts.kv_heads == 0)


def shares(load: Load, profile: AcceleratorProfile) -> tuple[int, ...]:
    """How many accelerators of one node can share the layers, from the fewest on."""
    return tuple(count for count in range(1, profile.max_count + 1) if divides(load.facts, count))


def fits(load: Load, profile: AcceleratorProfile, count: int) -> bool:
    """Whether the requests that are asked for fit beside everything else."""
    return needed_bytes(load, profile, count) <= available_bytes(profile)


def needed_bytes(load: Load, profile: AcceleratorProfile, count: int) -> int:
    """What is needed of the memory of each of `count` accelerators."""
    return sum(term.bytes_per_accelerator for term in memory_terms(load, profile, count))


def longest_context(load: Load, profile: AcceleratorProfile, count: int) -> int:
    """The most tokens, up to those of `load`, with which it fits; 0 if not even the shortest context does."""
    least, most = LEAST_CONTEXT_TOKENS // BLOCK_TOKENS - 1, load.context_tokens // BLOCK_TOKENS
    while least < most:
        middle = (least + most + 1) // 2
        if fits(replace(load, context_tokens=middle * BLOCK_TOKENS), profile, count):
            least = middle
        else:
            most = middle - 1
    return least * BLOCK_TOKENS if least * BLOCK_TOKENS >= LEAST_CONTEXT_TOKENS else 0


def _weights(load: Load, count: int) -> Term:
    facts, stored = load.facts, load.weights
    if load.from_files and facts.weight_bytes is not None:
        return Term("weights", ceil(facts.weight_bytes / count), f"{stored.name}, the size of the files")
    kept = f", embedding in {stored.embedding_bits:g}" if stored.embedding_bits != stored.bits else ""
    if stored.experts_only:
        kept = " for experts, 16 for the rest"
    return Term(
        "weights",
        ceil(weight_bytes(facts, stored) / count),
        f"{facts.parameters / 1e9:.2f}B parameters, {stored.bits:.4g} bits each{kept}",
    )


def _cache_basis(load: Load, count: int) -> str:
    facts = load.facts
    per_token = (facts.layers - facts.sliding_layers) * _kv_bytes_per_layer(load, count)
    window = f", and {facts.sliding_layers} layers' windows of {facts.window_tokens}" if facts.sliding_layers else ""
    return f"{load.context_tokens} tokens x {per_token / 1024:g} KiB{window}"


def _kv_bytes_per_layer(load: Load, count: int) -> float:
    facts = load.facts
    if facts.latent_size:
        return facts.latent_size * load.kv_bytes
    return max(1, facts.kv_heads // count) * 2 * facts.head_size * load.kv_bytes


def _request_bytes(load: Load, profile: AcceleratorProfile, count: int) -> float:
    """Bytes of the cache of one request of full length on each accelerator, in whole blocks."""
    facts, tokens = load.facts, _whole_blocks(load.context_tokens)
    if not facts.sliding_layers:
        return tokens * kv_bytes_per_token(load, count)
    window = min(load.context_tokens, facts.window_tokens - 1 + batched_tokens(profile))
    in_window = _whole_blocks(window) + BLOCK_TOKENS
    held = (facts.layers - facts.sliding_layers) * tokens + facts.sliding_layers * min(in_window, tokens)
    return held * _kv_bytes_per_layer(load, count)


def _whole_blocks(tokens: int) -> int:
    return ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS
