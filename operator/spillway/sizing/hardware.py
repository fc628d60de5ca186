"""The hardware table that people print, beside what a plan says; docs/sizing.md holds what `hardware_table` writes.

The sizes are Llama 2's, whose three models the table was first made for; 4 bits are AWQ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from spillway.api.v1alpha1 import QuantizationMethod
from spillway.sizing.catalogue import catalogue
from spillway.sizing.devices import GIGABYTE, WeightsAlone, weights_alone
from spillway.sizing.formats import weight_format
from spillway.sizing.memory import BYTES_16, Load, fits, needed_bytes, shares
from spillway.sizing.profiles import AcceleratorProfile, default_profiles

CONTEXT_TOKENS: Final = 4096
REQUESTS: Final = 8

_ROWS: Final = (
    ("7B", "4 bits", 6, "llama-2-7b-hf", QuantizationMethod.AWQ),
    ("7B", "16 bits", 16, "llama-2-7b-hf", QuantizationMethod.NONE),
    ("13B", "4 bits", 10, "llama-2-13b-hf", QuantizationMethod.AWQ),
    ("70B", "4 bits", 40, "llama-2-70b-hf", QuantizationMethod.AWQ),
    ("70B", "16 bits", 140, "llama-2-70b-hf", QuantizationMethod.NONE),
)


@dataclass(frozen=True, slots=True)
class HardwareRow:
    """One model: the rule of thumb, its weights alone, and the plan for REQUESTS of CONTEXT_TOKENS at once."""

    size: str
    stored: str
    rule_gigabytes: int
    alone: WeightsAlone
    count: int
    profile: AcceleratorProfile
    needed_bytes: int


def hardware_rows() -> tuple[HardwareRow, ...]:
    """The table's rows; the plan takes what has the least memory, all together, of the profiles that come along."""
    return tuple(_row(*row) for row in _ROWS)


def hardware_table() -> str:
    """The table in Markdown."""
    lines = [
        "| model | stored in | rule of thumb | weights | device for them alone | plan needs | on |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in hardware_rows():
        alone = row.alone
        lines.append(
            f"| {row.size} | {row.stored} | {row.rule_gigabytes} GB | {alone.weight_bytes / GIGABYTE:.1f} GB "
            f"| {alone.device_gigabytes} GB | {row.needed_bytes / GIGABYTE:.1f} GB | {row.count} x {row.profile.name} |"
        )
    return "\n".join(lines) + "\n"


def _row(size: str, stored: str, rule_gigabytes: int, name: str, method: QuantizationMethod) -> HardwareRow:
    facts, weights = catalogue()[name], weight_format(method)
    load = Load(facts, weights, BYTES_16, CONTEXT_TOKENS, REQUESTS)
    _, count, profile = min(
        (
            (share * profile.memory_gib, share, profile)
            for profile in default_profiles().values()
            for share in shares(load, profile)
            if fits(load, profile, share)
        ),
        key=lambda choice: choice[:2],
    )
    needed = count * needed_bytes(load, profile, count)
    return HardwareRow(size, stored, rule_gigabytes, weights_alone(facts, weights), count, profile, needed)
