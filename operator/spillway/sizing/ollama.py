"""What one replica of Ollama takes, and how much of it fits.

    weights      P x b / 8, b bits of a weight by the GGUF variant (`formats.py`)
    cache        N x C x L x K x 2 D x 34/32: N slots (OLLAMA_NUM_PARALLEL) of C tokens each; L layers, K KV heads of
                 size D, keys and values in q8_0, a 16-bit scale for each block of 32 one-byte values. All of it
                 is resident as soon as the model is loaded.
    runtime      150 MiB for the server and compute buffers at a context of 4,096, as measured with Ollama 0.17.4 on a
                 CPU; on each accelerator 0.5 GiB more for its context and libraries, a rule of thumb

Ollama spreads whole layers over accelerators, so what counts is their memory together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil

from spillway.api.v1alpha1 import GGUFVariant, LLMDeployment
from spillway.errors import DoesNotFit, InvalidObject
from spillway.sizing.catalogue import find_model
from spillway.sizing.formats import DEFAULT_GGUF, weight_bytes, weight_format
from spillway.sizing.memory import GIB, Term, available_bytes
from spillway.sizing.models import ModelFacts
from spillway.sizing.profiles import AcceleratorProfile

SLOTS = 4
SLOTS_ON_CPU = 2
KV_BYTES = 34 / 32  # q8_0: blocks of 32 values, and a 16-bit scale for each

_SERVER_BYTES = 150 * 1024**2
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
    terms: tuple[Term, ...] = ()
    required_bytes: int | None = None
    cache_tokens: int | None = None
    problem: DoesNotFit | None = None


def ollama_model(deployment: LLMDeployment) -> ModelFacts | None:
    """Facts of the model, by the catalogue, the stated size or the name; None if nothing tells them."""
    name, _ = _name_and_variant(deployment.spec.model.uri)
    parameters = deployment.spec.model.parameter_count
    candidates = (name, f"{name}-instruct", re.sub(r"^llama(?=\d)", "llama-", f"{name}-instruct"))
    found = [find_model(candidate, parameters) for candidate in candidates]
    return next((facts for facts in found if facts is not None and not facts.estimated), found[0])


def ollama_variant(deployment: LLMDeployment) -> GGUFVariant:
    """How the weights are stored: as stated, or as the tag or file says, or as is usual."""
    stated = deployment.spec.quantization.variant
    return stated or _name_and_variant(deployment.spec.model.uri)[1] or GGUFVariant(DEFAULT_GGUF)


def fit_ollama(
    deployment: LLMDeployment, profile: AcceleratorProfile, facts: ModelFacts | None, context_tokens: int
) -> OllamaFit:
    """The fewest accelerators on which the model and its cache fit, or the stated ones.

    Raises:
        InvalidObject: the stated count contradicts the profile, or nothing tells how big the model is.
    """
    count = deployment.spec.accelerator.count
    slots = SLOTS if profile.has_accelerator else SLOTS_ON_CPU
    _check(deployment, profile, facts)
    if facts is None:
        return OllamaFit(count, slots, _available(profile, count))
    variant = ollama_variant(deployment)
    weights = weight_bytes(facts, weight_format("GGUF", variant=variant.value))
    per_token = facts.layers * facts.kv_heads * 2 * facts.head_size * KV_BYTES
    cache = ceil(slots * context_tokens * per_token)

    def terms(devices: int) -> tuple[Term, ...]:
        runtime = _SERVER_BYTES + devices * _DEVICE_BYTES
        share = max(1, devices)
        return (
            Term("weights", ceil(weights / share), f"GGUF {variant.value}"),
            Term("runtime", ceil(runtime / share), "server and compute buffers"),
            Term(
                f"cache of {slots} slots",
                ceil(cache / share),
                f"{slots} x {context_tokens} tokens x {per_token / 1024:g} KiB",
            ),
        )

    def required(devices: int) -> int:
        return weights + cache + _SERVER_BYTES + devices * _DEVICE_BYTES

    possible = range(1, profile.max_count + 1) if profile.has_accelerator else (0,)
    fitting = (devices for devices in possible if required(devices) <= _available(profile, devices))
    chosen = count or next(fitting, possible[-1])
    need, room = required(chosen), _available(profile, chosen)
    return OllamaFit(
        accelerators=chosen,
        slots=slots,
        available_bytes=room,
        terms=terms(chosen),
        required_bytes=need,
        cache_tokens=slots * context_tokens,
        problem=None if need <= room else _does_not_fit(profile, chosen, need, room, terms(chosen)),
    )


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


def _does_not_fit(profile: AcceleratorProfile, count: int, need: int, room: int, terms: tuple[Term, ...]) -> DoesNotFit:
    where = f"{count} x {profile.name}" if count else profile.name
    parts = ", ".join(f"{term.name} {term.bytes_per_accelerator * max(1, count) / GIB:.1f}" for term in terms)
    return DoesNotFit(
        "spec.accelerator",
        f"the model needs {need / GIB:.1f} GiB on {where}, which offers {room / GIB:.1f} GiB: {parts}",
        "state a shorter spec.contextLength, a smaller variant or tag, or a profile with more memory",
        reason="DoesNotFit",
    )


def _name_and_variant(uri: str) -> tuple[str, GGUFVariant | None]:
    """The name by which the model is known, and the GGUF variant that its tag or file names."""
    place = uri.split("://", 1)[1].rstrip("/").rsplit("/", 1)[-1].lower()
    name = _ENDINGS.sub("", place).replace(":", "-")
    found = _VARIANT.search(name)
    variant = next((v for v in GGUFVariant if found and v.value.lower() == found.group(1)), None)
    return _ENDINGS.sub("", _VARIANT.sub("", name)), variant
