"""The accelerators that can be bought: memory, bandwidth, arithmetic, power, a dated price."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import cache

from pydantic import Field

from spillway.advisor.data import find, listed, own_text
from spillway.api.v1alpha1 import EngineType
from spillway.sizing.profiles import AcceleratorProfile, Facts


class Accelerator(Facts):
    """One product. Rates are of its data sheet, dense and in 16 bits; the price is in dollars for one."""

    name: str = Field(pattern="^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=63)
    product: str
    # What is printed on the box.
    memory_gigabytes: int = Field(gt=0)
    # What an engine may reach: what a device's driver reports; of Apple's memory what Metal lets the GPU hold.
    memory_gib: float = Field(alias="memoryGiB", gt=0)
    bandwidth_gigabytes_per_second: float = Field(gt=0)
    teraflops: float = Field(gt=0)
    watts: int = Field(gt=0)
    price_usd: Decimal = Field(gt=0)
    price_date: date
    max_count: int = Field(default=8, ge=1)
    engine: EngineType = EngineType.VLLM
    # Whether it can multiply by 8-bit weights of vLLM's FP8 (compute capability 8.0, or AMD's MI300).
    fp8: bool = True

    @property
    def profile(self) -> AcceleratorProfile:
        """As `sizing` knows it. Memory that is the processor's too is sized as a processor's: no device of its own."""
        return AcceleratorProfile(
            name=self.name,
            resource_name="" if self.engine is EngineType.OLLAMA else "nvidia.com/gpu",
            memory_gib=self.memory_gib,
            max_count=self.max_count,
        )


@cache
def accelerators() -> tuple[Accelerator, ...]:
    """The accelerators that Spillway knows, as their file lists them."""
    return listed(own_text("accelerators.yaml"), Accelerator, "accelerators", "write a list of {name, product, ...}")


def find_accelerator(name: str) -> Accelerator:
    """The accelerator called `name`; raises InvalidObject with the choices."""
    return find(accelerators(), name, "accelerator", "accelerator")
