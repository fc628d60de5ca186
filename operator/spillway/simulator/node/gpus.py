"""What a node with NVIDIA GPUs says of itself; pure.

Label names: NVIDIA's GPU feature discovery
(https://github.com/NVIDIA/k8s-device-plugin/blob/main/docs/gpu-feature-discovery/README.md). Memory is what the driver
reports, in MiB, as the vendor's nvidia-smi prints it for each product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_DRIVER = ("580", "95", "05")
_CUDA = ("13", "0")


@dataclass(frozen=True, slots=True)
class Product:
    """One kind of GPU: memory in MiB, architecture and CUDA compute capability."""

    memory_mib: int
    family: str
    compute: tuple[int, int]


PRODUCTS: Mapping[str, Product] = {
    "NVIDIA-L4": Product(23034, "ada-lovelace", (8, 9)),
    "NVIDIA-L40S": Product(46068, "ada-lovelace", (8, 9)),
    "NVIDIA-A100-SXM4-80GB": Product(81920, "ampere", (8, 0)),
    "NVIDIA-H100-80GB-HBM3": Product(81559, "hopper", (9, 0)),
}


def labels(product: str, count: int) -> dict[str, str]:
    """The labels of a node with `count` GPUs of a product; KeyError for a product that is not in `PRODUCTS`."""
    facts = PRODUCTS[product]
    major, minor, revision = _DRIVER
    return {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.count": str(count),
        "nvidia.com/gpu.product": product,
        "nvidia.com/gpu.memory": str(facts.memory_mib),
        "nvidia.com/gpu.family": facts.family,
        "nvidia.com/gpu.compute.major": str(facts.compute[0]),
        "nvidia.com/gpu.compute.minor": str(facts.compute[1]),
        "nvidia.com/gpu.machine": "spillway-simulated",
        "nvidia.com/gpu.mode": "compute",
        "nvidia.com/gpu.replicas": "1",
        "nvidia.com/gpu.sharing-strategy": "none",
        "nvidia.com/cuda.driver-version.full": ".".join(_DRIVER),
        "nvidia.com/cuda.driver-version.major": major,
        "nvidia.com/cuda.driver-version.minor": minor,
        "nvidia.com/cuda.driver-version.revision": revision,
        "nvidia.com/cuda.runtime-version.full": ".".join(_CUDA),
        "nvidia.com/cuda.runtime-version.major": _CUDA[0],
        "nvidia.com/cuda.runtime-version.minor": _CUDA[1],
    }
