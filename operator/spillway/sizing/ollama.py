"""What one replica of Ollama takes, and how much of it fits.

    weights      P x b / 8, b bits of a weight by the GGUF variant (`formats.py`), or the size of the file
    cache        N x C x L x K x 2 D x 34/32: N slots (OLLAMA_NUM_PARALLEL) of C tokens each; L layers, K KV heads of
                 size D, keys and values in q8_0, a 16-bit scale for each block of 32 one-byte values. All of it
                 is resident as soon as the model is loaded.
    buffers      512 x V x 4 + 100 MiB: logits of a batch of 512 tokens over the vocabulary V, and the graph's own
    runtime      50 MiB for the server beside its runner; on each accelerator 0.5 GiB for its context and libraries, a
                 rule of thumb

Ollama spreads whole layers over accelerators, so what counts is their memory together. What does not fit it leaves to
the processor, which is slow, or refuses to load. Measured with Ollama 0.17.4 on a CPU, with a file of 488 MiB, 32 KiB
of 16-bit cache a token and a small vocabulary: 671 MiB with one slot of 4,096 tokens, 1,055 with four.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from spillway.api.v1alpha1 import GGUFVariant, LLMDeployment
from spillway.errors import DoesNotFit, InvalidObject
from spillway.sizing.catalogue import find_model
from spillway.sizing.cures import told_by
from spillway.sizing.formats import DEFAULT_GGUF, GGUF_BITS, WeightFormat, weight_bytes, weight_format
from spillway.sizing.memory import GIB, Term, available_bytes
from spillway.sizing.models import ModelFacts
from spillway.sizing.ollama_tags import tagged_variant
from spillway.sizing.profiles import AcceleratorProfile

SLOTS = 4
SLOTS_ON_CPU = 2
KV_BYTES = 34 / 32  # q8_0: blocks of 32 values, and a 16-bit scale for each

_SERVER_BYTES = 50 * 1024**2
_GRAPH_BYTES = 100 * 1024**2
_BATCH_TOKENS = 512
_STEP_TOKENS = 16
_WORTHWHILE_CONTEXT_TOKENS = 1024
_DEVICE_BYTES = GIB // 2
_VARIANT = re.compile(
    r"[-_.](" + "|".join(sorted((v.value.lower() for v in GGUFVariant), key=len, reverse=True)) + r")$"
)
_ENDINGS = re.compile(r"([-_.]gguf)$")


@dataclass(frozen=True, slots=True)
class OllamaFit:
    """One replica: its accelerators (none on a CPU), its slots, its memory in bytes, of all accelerators together.

    What depends on the model's size is None or empty when nothing tells it. `problem`: it does not fit.
    """

    accelerators: int
    slots: int
    available_bytes: int
    weights: WeightFormat
    terms: tuple[Term, ...] = ()
    required_bytes: int | None = None
    cache_tokens: int | None = None
    problem: DoesNotFit | None = None


@dataclass(frozen=True, slots=True)
class _Replica:
    """What one replica is to hold."""

    facts: ModelFacts
    variant: GGUFVariant
    slots: int
    context_tokens: int
    assumed: bool = False

    @property
    def weights(self) -> WeightFormat:
        return weight_format("GGUF", variant=self.variant.value)

    @property
    def cache_bytes_per_token(self) -> float:
        facts = self.facts
        return facts.layers * (facts.latent_size or facts.kv_heads * 2 * facts.head_size) * KV_BYTES

    def terms(self, devices: int) -> tuple[Term, ...]:
        """The memory of all devices together; of none: of the pod."""
        weights, per_token = self.weights, self.cache_bytes_per_token
        vocabulary = self.facts.vocabulary
        return (
            Term(
                "weights",
                self.facts.weight_bytes or weight_bytes(self.facts, weights),
                f"{self.facts.parameters / 1e9:.2f}B parameters, {weights.name}{', assumed' if self.assumed else ''}, "
                f"{weights.bits:.4g} bits each",
            ),
            Term(
                "buffers",
                _BATCH_TOKENS * vocabulary * 4 + _GRAPH_BYTES,
                f"{_BATCH_TOKENS} tokens' logits over {vocabulary}",
            ),
            Term("runtime", _SERVER_BYTES + devices * _DEVICE_BYTES, "server" + (", CUDA context" if devices else "")),
            Term(
                f"cache of {self.slots} slots",
                ceil(self.slots * self.context_tokens * per_token),
                f"{self.slots} x {self.context_tokens} tokens x {per_token / 1024:g} KiB",
            ),
        )

    def needs(self, devices: int) -> int:
        return sum(term.bytes_per_accelerator for term in self.terms(devices))

    def fits(self, profile: AcceleratorProfile, devices: int) -> bool:
        return self.needs(devices) <= _available(profile, devices)


def ollama_model(deployment: LLMDeployment) -> ModelFacts | None:
    """Facts of the model, by the catalogue, the stated size or the name; None if nothing tells them."""
    name, _ = _name_and_variant(deployment.spec.model.uri)
    parameters = deployment.spec.model.parameter_count
    full = f"{name.removesuffix('-instruct')}-instruct"
    candidates = (name, full, re.sub(r"^llama(?=\d)", "llama-", full))
    found = [find_model(candidate, parameters) for candidate in candidates]
    return next((facts for facts in found if facts is not None and not facts.estimated), found[0])


def ollama_variant(deployment: LLMDeployment) -> GGUFVariant:
    """How the weights are stored: as stated, or as the tag or file says, or as is usual."""
    return _told_variant(deployment) or GGUFVariant(DEFAULT_GGUF)


def is_variant_assumed(deployment: LLMDeployment) -> bool:
    """Whether nothing tells how the weights are stored; of a repository the usual variant is asked for by its name."""
    return not deployment.spec.model.uri.startswith("hf://") and _told_variant(deployment) is None


def _told_variant(deployment: LLMDeployment) -> GGUFVariant | None:
    scheme, place = deployment.spec.model.uri.split("://", 1)
    stated = deployment.spec.quantization.variant or _name_and_variant(deployment.spec.model.uri)[1]
    return stated or (tagged_variant(place) if scheme == "ollama" else None)


def fit_ollama(
    deployment: LLMDeployment,
    profile: AcceleratorProfile,
    facts: ModelFacts | None,
    context_tokens: int,
    requests: int = 1,
) -> OllamaFit:
    """The fewest accelerators on which the model and its cache fit, or the stated ones; slots for `requests` or more.

    Raises:
        InvalidObject: the stated count contradicts the profile, or nothing tells how big the model is.
    """
    count = deployment.spec.accelerator.count
    slots = max(requests, SLOTS if profile.has_accelerator else SLOTS_ON_CPU)
    variant = ollama_variant(deployment)
    _check(deployment, profile, facts)
    if facts is None:
        return OllamaFit(count, slots, _available(profile, count), weight_format("GGUF", variant=variant.value))
    replica = _Replica(facts, variant, slots, context_tokens, is_variant_assumed(deployment))
    possible = _possible(profile)
    chosen = count or next((devices for devices in possible if replica.fits(profile, devices)), possible[-1])
    share = max(1, chosen)
    return OllamaFit(
        accelerators=chosen,
        slots=slots,
        available_bytes=_available(profile, chosen),
        weights=replica.weights,
        terms=tuple(
            replace(term, bytes_per_accelerator=ceil(term.bytes_per_accelerator / share))
            for term in replica.terms(chosen)
        ),
        required_bytes=replica.needs(chosen),
        cache_tokens=slots * context_tokens,
        problem=None if replica.fits(profile, chosen) else _does_not_fit(replica, profile, chosen),
    )


def _possible(profile: AcceleratorProfile) -> range:
    return range(1, profile.max_count + 1) if profile.has_accelerator else range(1)


def _available(profile: AcceleratorProfile, count: int) -> int:
    return count * available_bytes(profile) if profile.has_accelerator else int(profile.memory_gib * GIB)


def _check(deployment: LLMDeployment, profile: AcceleratorProfile, facts: ModelFacts | None) -> None:
    count = deployment.spec.accelerator.count
    if not profile.has_accelerator and count:
        raise InvalidObject(
            "spec.accelerator.count", f"profile {profile.name} has no accelerator", "leave it away, or set it to 0"
        )
    if count > profile.max_count:
        raise InvalidObject(
            "spec.accelerator.count",
            f"{count} is more than the {profile.max_count} that a node of profile {profile.name} has",
            f"state at most {profile.max_count}",
        )
    if facts is None and profile.has_accelerator and count == 0:
        raise InvalidObject(
            "spec.model.uri",
            "the model is not in the catalogue and its name tells no size such as 7b",
            'state spec.model.parameters, such as "7.6B", or spec.accelerator.count, with which memory is not checked',
            reason="UnknownModel",
        )


def _does_not_fit(replica: _Replica, profile: AcceleratorProfile, count: int) -> DoesNotFit:
    where = f"{count} x {profile.name}" if count else f"profile {profile.name}"
    parts = ", ".join(f"{term.name} {term.bytes_per_accelerator / GIB:.1f}" for term in replica.terms(count))
    changes = list(_changes(replica, profile, count))
    return DoesNotFit(
        "spec.accelerator",
        f"the model needs {_gib(replica.needs(count))} on {where}, which offers {_gib(_available(profile, count))}: "
        f"{parts}{told_by(replica.facts)}",
        ", or ".join(changes) if changes else "use a smaller model or a profile with more memory",
        reason="DoesNotFit",
    )


def _changes(replica: _Replica, profile: AcceleratorProfile, count: int) -> Iterator[str]:
    """The smallest change of each kind that is enough."""
    room = _available(profile, count) - sum(term.bytes_per_accelerator for term in replica.terms(count)[:-1])
    tokens = int(room / (replica.slots * replica.cache_bytes_per_token)) // _STEP_TOKENS * _STEP_TOKENS
    if tokens >= min(_WORTHWHILE_CONTEXT_TOKENS, replica.context_tokens):
        yield f"set spec.contextLength to at most {tokens}"
    smaller = [
        replace(replica, variant=GGUFVariant(name), assumed=False)
        for name, bits in GGUF_BITS.items()
        if bits < GGUF_BITS[replica.variant.value] and replica.facts.weight_bytes is None
    ]
    fitting = [other for other in smaller if other.fits(profile, count)]
    if fitting:
        yield f"use the variant {fitting[-1].variant.value} ({_gib(fitting[-1].needs(count))})"
    more = next((devices for devices in _possible(profile) if devices > count and replica.fits(profile, devices)), 0)
    if more:
        yield f"set spec.accelerator.count to {more} ({_gib(replica.needs(more))} on all)"


def _gib(amount: int) -> str:
    return f"{amount / GIB:.1f} GiB"


def _name_and_variant(uri: str) -> tuple[str, GGUFVariant | None]:
    """The name by which the model is known, and the GGUF variant that its tag or file names."""
    place = uri.split("://", 1)[1].rstrip("/").rsplit("/", 1)[-1].lower()
    name = _ENDINGS.sub("", place).replace(":", "-")
    found = _VARIANT.search(name)
    variant = next((v for v in GGUFVariant if found and v.value.lower() == found.group(1)), None)
    return _ENDINGS.sub("", _VARIANT.sub("", name)), variant
