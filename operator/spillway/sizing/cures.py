"""What to change when a model does not fit: the smallest change of each kind that is enough, with its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from spillway.api.v1alpha1 import QuantizationMethod
from spillway.errors import DoesNotFit
from spillway.sizing.formats import PLAIN, weight_format
from spillway.sizing.memory import (
    GIB,
    Load,
    available_bytes,
    fits,
    longest_context,
    memory_terms,
    needed_bytes,
    shares,
)
from spillway.sizing.models import ModelFacts, Origin
from spillway.sizing.profiles import AcceleratorProfile, Profiles

_WORTHWHILE_CONTEXT_TOKENS = 1024


def does_not_fit(load: Load, profile: AcceleratorProfile, count: int, profiles: Profiles) -> DoesNotFit:
    """The error that says what is needed, of what, and which changes would be enough."""
    terms = memory_terms(load, profile, count)
    parts = ", ".join(f"{term.name} {term.bytes_per_accelerator / GIB:.1f}" for term in terms)
    changes = list(_changes(load, profile, count, profiles))
    return DoesNotFit(
        "spec.accelerator",
        f"the model needs {_gib(needed_bytes(load, profile, count))} on each of {count} x {profile.name}, which offers "
        f"{_gib(available_bytes(profile))}: {parts}{told_by(load.facts)}",
        ", or ".join(changes) if changes else "use a smaller model or a profile with more memory",
        reason="DoesNotFit",
    )


def told_by(facts: ModelFacts) -> str:
    """Where the size of an estimated model is from, in brackets; empty for a known one."""
    if not facts.estimated:
        return ""
    where = "spec.model.parameters" if facts.origin is Origin.STATED else "its name"
    return f" (the model's size is taken from {where}, the rest from a known model of that size)"


def _changes(load: Load, profile: AcceleratorProfile, count: int, profiles: Profiles) -> Iterator[str]:
    room = longest_context(load, profile, count)
    if room >= min(_WORTHWHILE_CONTEXT_TOKENS, load.context_tokens):
        yield f"set spec.contextLength to at most {room}"
    if load.kv_bytes > 1:
        narrow = replace(load, kv_bytes=1)
        if fits(narrow, profile, count):
            yield f"set spec.quantization.kvCacheDType to FP8 ({_gib(needed_bytes(narrow, profile, count))})"
    if load.weights == PLAIN:
        yield from _quantised(load, profile, count)
    more = next((share for share in shares(load, profile) if share > count and fits(load, profile, share)), 0)
    if more:
        yield f"set spec.accelerator.count to {more} ({_gib(needed_bytes(load, profile, more))} on each)"
    else:
        yield from _bigger(load, profile, profiles)


def _quantised(load: Load, profile: AcceleratorProfile, count: int) -> Iterator[str]:
    eight = replace(load, weights=weight_format(QuantizationMethod.FP8), from_files=False)
    if fits(eight, profile, count):
        yield f"set spec.quantization.method to FP8 ({_gib(needed_bytes(eight, profile, count))})"
        return
    four = replace(load, weights=weight_format(QuantizationMethod.AWQ), from_files=False)
    if fits(four, profile, count):
        yield f"use a copy of the model in AWQ or GPTQ, 4 bits ({_gib(needed_bytes(four, profile, count))})"


def _bigger(load: Load, profile: AcceleratorProfile, profiles: Profiles) -> Iterator[str]:
    """The profile with the least memory, all its accelerators together, on which the model fits."""
    fitting = [
        (share * other.memory_gib, share, other.name)
        for other in profiles.values()
        if other.name != profile.name
        for share in shares(load, other)
        if fits(load, other, share)
    ]
    if fitting:
        _, share, name = min(fitting)
        yield f"use {share} x profile {name}"


def _gib(amount: int) -> str:
    return f"{amount / GIB:.1f} GiB"
