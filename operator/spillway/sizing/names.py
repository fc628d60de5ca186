"""What the name of a repository or folder tells of a model: its size, and how its weights are stored."""

from __future__ import annotations

import re

from spillway.api.v1alpha1 import QuantizationMethod

# What people append to the name of a quantised copy, and the method that it tells.
_MARKS = (
    (re.compile(r"[-_.](awq)([-_.](int4|4bit|w4a16|marlin|gemm|g128|sym|asym))*$"), QuantizationMethod.AWQ),
    (re.compile(r"[-_.](gptq)([-_.](int[348]|[348]bit|marlin|g128|group128|sym))*$"), QuantizationMethod.GPTQ),
    (re.compile(r"[-_.](fp8)([-_.](dynamic|static|kv|block))*$"), QuantizationMethod.FP8),
    (re.compile(r"[-_.](bnb|bitsandbytes|nf4)([-_.]([48]bit|int8|nf4))*$"), QuantizationMethod.BITS_AND_BYTES),
    (re.compile(r"[-_.](gguf)$"), QuantizationMethod.GGUF),
)
_EIGHT_BITS = re.compile(r"(int8|8bit)")
_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")


def marked_quantization(repository: str) -> QuantizationMethod:
    """The method that the name of a `repository` tells; None (the member) when it tells no method."""
    name = _last_part(repository)
    return next((method for mark, method in _MARKS if mark.search(name)), QuantizationMethod.NONE)


def marked_bits(repository: str) -> int:
    """Bits of a quantised copy's weights, by its name: 8 or 4."""
    return 8 if _EIGHT_BITS.search(_last_part(repository)) else 4


def base_name(repository: str) -> str:
    """The name by which a model is known, whoever copied or quantised it."""
    name = _last_part(repository)
    for mark, _ in _MARKS:
        name = mark.sub("", name)
    return name.removeprefix("meta-")


def named_parameters(repository: str) -> int | None:
    """Parameters that a name such as `foo-7b` or `bar-8x7b` tells; a mixture counts each expert whole: too much."""
    found = _SIZE.search(base_name(repository))
    if found is None:
        return None
    experts, size, unit = found.groups()
    each = float(size) * (1e9 if unit == "b" else 1e6)
    return round(each * int(experts or 1)) or None


def _last_part(repository: str) -> str:
    return repository.rstrip("/").rsplit("/", 1)[-1].lower()
