"""How fast a plan can be at most: roofline arithmetic on data sheets, not measured on any machine.

With W bytes of weights that a step reads, A parameters that a token passes, V bytes of cache a token, T accelerators
that share each layer, bandwidth B and arithmetic F of one of them, and n sequences of C tokens each:

    step    2 ms + W / (T x B) + n x (2 x A / (T x F / 2) + C x V / (0.75 x T x B))
    tokens a second, all sequences together   n / step
    first token of a prompt of P              2 ms + W / (T x B) + P x 2 x A / (T x F / 2)

The 2 ms launch a step; arithmetic runs at half its peak and the cache is read at three quarters of the bandwidth, both
rules of thumb. n is at most what the cache has room for, and the engine's own limit. A mixture reads of its experts
those that one token passes, times n, up to all of them. What accelerators tell one another is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from spillway.advisor.accelerators import Accelerator
from spillway.api.v1alpha1 import EngineType, KVCacheDType
from spillway.sizing.formats import weight_bytes
from spillway.sizing.models import ModelFacts
from spillway.sizing.ollama import KV_BYTES
from spillway.sizing.plan import Plan

_LAUNCH_SECONDS: Final = 0.002
_ARITHMETIC_SHARE: Final = 0.5
_CACHE_SHARE: Final = 0.75


@dataclass(frozen=True, slots=True)
class Speed:
    """One replica's speed. `sequences`: how many the greatest rate is of; milliseconds are of one prompt alone."""

    one_sequence_tokens_per_second: float
    most_tokens_per_second: float
    sequences: int
    first_token_milliseconds: float


def requests_per_second(reached: Speed, answer_tokens: int) -> float:
    """Requests that one replica finishes in a second when it is full: each takes its prompt's time and its share."""
    return 1 / (reached.first_token_milliseconds / 1000 + answer_tokens / reached.most_tokens_per_second)


def active_parameters(facts: ModelFacts) -> int:
    """Parameters that one token passes: all of a dense model, of a mixture without the experts that it does not."""
    layers = facts.layers - facts.dense_layers
    passed_by = max(0, facts.experts - facts.experts_per_token)
    return max(1, facts.parameters - layers * 3 * facts.hidden_size * facts.expert_size * passed_by)


def speed(accelerator: Accelerator, plan: Plan, prompt_tokens: int, answer_tokens: int) -> Speed | None:
    """The speed of `plan` with sequences of so long a prompt and answer; None if nothing tells the model's size."""
    facts = plan.facts
    if facts is None or plan.kv_cache_tokens is None:
        return None
    context_tokens = prompt_tokens + answer_tokens
    most = max(1, min(plan.max_sequences, plan.kv_cache_tokens // max(1, context_tokens)))
    active = active_parameters(facts)
    bandwidth = plan.tensor_parallel * accelerator.bandwidth_gigabytes_per_second * 1e9
    operations = plan.tensor_parallel * accelerator.teraflops * 1e12 * _ARITHMETIC_SHARE
    weights = facts.weight_bytes if facts.weight_bytes is not None and not plan.quantized_on_load else None
    stored = weights or weight_bytes(facts, plan.weights)
    cache_bytes = context_tokens * _cache_bytes_per_token(plan, facts)

    def step_seconds(sequences: int) -> float:
        read = stored * min(1.0, active * sequences / facts.parameters)
        each = 2 * active / operations + cache_bytes / (_CACHE_SHARE * bandwidth)
        return _LAUNCH_SECONDS + read / bandwidth + sequences * each

    first = _LAUNCH_SECONDS + stored / bandwidth + prompt_tokens * 2 * active / operations
    return Speed(
        one_sequence_tokens_per_second=1 / step_seconds(1),
        most_tokens_per_second=most / step_seconds(most),
        sequences=most,
        first_token_milliseconds=1000 * first,
    )


def engine_of(plan: Plan) -> EngineType:
    """The engine that a plan is for: Ollama alone runs GGUF."""
    return EngineType.OLLAMA if plan.quantization == "GGUF" else EngineType.VLLM


def _cache_bytes_per_token(plan: Plan, facts: ModelFacts) -> float:
    each = KV_BYTES if engine_of(plan) is EngineType.OLLAMA else 1 if plan.kv_cache_dtype is KVCacheDType.FP8 else 2
    return facts.layers * (facts.latent_size or facts.kv_heads * 2 * facts.head_size) * each
