"""How many bits a weight takes, by the way that it is stored.

    AWQ, GPTQ      b + (16 + b) / 128: for each group of 128 weights a 16-bit scale and a zero point as wide as a weight
                   (https://arxiv.org/abs/2306.00978, https://arxiv.org/abs/2210.17323)
    FP8            8: one scale a tensor, channel or block of 128 x 128 is under a thousandth
    BitsAndBytes   4 + 32/64 = 4.5: a 32-bit scale for each block of 64 (https://arxiv.org/abs/2305.14314, 3); 8 bits: 8
    MXFP4          4 + 8/32 = 4.25: an 8-bit scale for each block of 32, of experts alone; the rest stays in 16 bits
                   (OCP Microscaling Formats v1.0; https://huggingface.co/openai/gpt-oss-20b)
    GGUF           what llama.cpp's quantize makes of Llama 3.1 8B on the average of all its tensors
                   (https://github.com/ggml-org/llama.cpp/blob/311c2c9/tools/quantize/README.md); Q4_0 and Q5_0, which
                   are not listed there, are 4.5 and 5.5 bits for blocks of 32 and 6.56 for the output layer

All but GGUF keep the embedding and the output layer in 16 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from types import MappingProxyType
from typing import Final

from spillway.sizing.models import ModelFacts

DEFAULT_GGUF: Final = "Q4_K_M"
GGUF_BITS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "Q2_K": 3.1593,
        "Q3_K_S": 3.6429,
        "Q3_K_L": 4.2979,
        "IQ4_XS": 4.4597,
        "Q4_0": 4.64,
        "Q4_K_S": 4.6672,
        "Q4_K_M": 4.8944,
        "Q5_0": 5.57,
        "Q5_K_S": 5.5704,
        "Q5_K_M": 5.7036,
        "Q6_K": 6.5633,
        "Q8_0": 8.5008,
        "F16": 16.0005,
    }
)
_GROUP = 128


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """How weights are stored. `experts_only`: all but the experts of a mixture are in 16 bits."""

    name: str
    bits: float
    embedding_bits: float = 16
    experts_only: bool = False


PLAIN: Final = WeightFormat("16 bits", 16)


def weight_format(method: str, bits: int = 4, variant: str = DEFAULT_GGUF) -> WeightFormat:
    """The format of a QuantizationMethod, with weights of `bits` where it has several, or of a GGUF `variant`.

    Auto is what a model's publisher chose by itself: MXFP4.
    """
    match method:
        case "AWQ" | "GPTQ":
            return WeightFormat(f"{method} {bits} bits", bits + (16 + bits) / _GROUP)
        case "FP8":
            return WeightFormat("FP8", 8)
        case "BitsAndBytes":
            return WeightFormat(f"BitsAndBytes {bits} bits", bits if bits == 8 else bits + 32 / 64)
        case "GGUF":
            return WeightFormat(f"GGUF {variant}", GGUF_BITS[variant], embedding_bits=GGUF_BITS[variant])
        case "Auto":
            return WeightFormat("MXFP4", 4.25, experts_only=True)
        case _:
            return PLAIN


def weight_bytes(facts: ModelFacts, stored: WeightFormat) -> int:
    """Bytes of a model's weights in a format, all accelerators together."""
    embedding = facts.embedding_parameters
    inner = max(0, facts.parameters - embedding)
    if stored.experts_only:
        mixtures = facts.layers - facts.dense_layers
        experts = min(inner, 3 * facts.hidden_size * facts.experts * facts.expert_size * mixtures)
        return ceil((experts * stored.bits + (facts.parameters - experts) * 16) / 8)
    return ceil((inner * stored.bits + min(embedding, facts.parameters) * stored.embedding_bits) / 8)


def format_table() -> str:
    """Bits of a weight by how it is stored, in Markdown."""
    stored = [weight_format("None"), weight_format("FP8"), weight_format("AWQ"), weight_format("GPTQ")]
    stored += [weight_format("GPTQ", 8), weight_format("BitsAndBytes"), weight_format("Auto")]
    stored += [weight_format("GGUF", variant=variant) for variant in GGUF_BITS]
    rows = [f"| {each.name}{', of experts alone' if each.experts_only else ''} | {each.bits:.4g} |" for each in stored]
    return "\n".join(["| stored as | bits of a weight |", "| --- | ---: |", *rows]) + "\n"
