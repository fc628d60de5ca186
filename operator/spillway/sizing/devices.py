"""The rule of thumb: which device would hold a model's weights, and nothing else.

What people print in tables ("7B in 4 bits: 6 GB") is the size of the weights, rounded up to a device that can be
bought. It leaves no room for a cache worth the name, so the plan (`plan.py`) may need more; docs/sizing.md has both.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from spillway.sizing.formats import WeightFormat, weight_bytes
from spillway.sizing.models import ModelFacts

GIGABYTE: Final = 10**9
DEVICE_GIGABYTES: Final = (4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 141, 180)
# What the CUDA context takes of a device before anything is loaded.
CONTEXT_BYTES: Final = 1024**3


@dataclass(frozen=True, slots=True)
class WeightsAlone:
    """Weights in bytes, and the devices (how many, of how many gigabytes) that would hold them and nothing else."""

    weight_bytes: int
    devices: int
    device_gigabytes: int


def weights_alone(facts: ModelFacts, stored: WeightFormat, from_files: bool = True) -> WeightsAlone:
    """The weights of a model, and the smallest device beside whose CUDA context they fit; the most of the biggest."""
    known = facts.weight_bytes if from_files else None
    size = known if known is not None else weight_bytes(facts, stored)
    for gigabytes in DEVICE_GIGABYTES:
        if size + CONTEXT_BYTES <= gigabytes * GIGABYTE:
            return WeightsAlone(size, 1, gigabytes)
    biggest = DEVICE_GIGABYTES[-1]
    return WeightsAlone(size, ceil(size / (biggest * GIGABYTE - CONTEXT_BYTES)), biggest)
