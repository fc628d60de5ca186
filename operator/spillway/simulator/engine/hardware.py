"""What a step costs on an accelerator: roofline arithmetic on data sheets, not calibrated on any machine.

With W bytes of weights, N parameters, V bytes of KV per token, T accelerators, bandwidth B and dense FP16 rate F:

    a = 2 ms of launch + W / (T * B)          every step reads all weights
    b = 2 * N / (T * F / 2)                   two operations per parameter and token, at half the peak rate
    c = per product                           sampling and bookkeeping of one sequence, guessed: 0.03 to 0.1 ms
    d = V / (T * 0.75 * B)                    every step reads the KV cache once
    KV tokens = (gpu_memory_utilization * memory * T - W - 2 GB * T) / V

Bandwidths, rates and memory are NVIDIA's data sheets (dense, without sparsity). For a 7B AWQ model on an NVIDIA-L4
that is a = 19 ms, b = 0.23 ms, c = 0.1 ms and, in steps of at most 512 tokens, about 3,500 prompt tokens a second.
V is 57,344 bytes for Qwen2.5-7B (28 layers, 4 KV heads of 128, FP16), scaled with N^0.75 for other sizes, which meets
Llama-3.3-70B (327,680) within a tenth; models without grouped KV heads need several times that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from spillway.simulator.engine.batching import Coefficients

_LAUNCH_SECONDS: Final = 0.002
_RUNTIME_BYTES: Final = 2e9
_DEFAULT_PARAMETERS: Final = 7e9
_KV_REFERENCE_PARAMETERS: Final = 7.6e9
_MAX_SEQUENCES: Final = 256

BYTES_PER_PARAMETER: Final = {"none": 2.0, "fp8": 1.06, "bitsandbytes": 0.8, "awq": 0.74, "gptq": 0.74}
"""Of a whole checkpoint: embeddings stay in 16 bits, and Qwen2.5-7B-Instruct-AWQ is 5.6 GB for 7.6e9 parameters."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One product, by its data sheet. `max_batched_tokens` keeps a full step of a 7B model near 0.1 s."""

    memory_bytes: float
    bandwidth_bytes_per_second: float
    operations_per_second: float
    sequence_seconds: float
    max_batched_tokens: int


ACCELERATORS: Final = {
    # label nvidia.com/gpu.product as GPU feature discovery writes it
    "Tesla-T4": Accelerator(16.1e9, 320e9, 65e12, 100e-6, 256),
    "NVIDIA-L4": Accelerator(24.1e9, 300e9, 121e12, 100e-6, 512),
    "NVIDIA-A10": Accelerator(24.1e9, 600e9, 125e12, 100e-6, 512),
    "NVIDIA-L40S": Accelerator(48.3e9, 864e9, 362e12, 50e-6, 1024),
    "NVIDIA-A100-SXM4-40GB": Accelerator(42.9e9, 1555e9, 312e12, 50e-6, 1024),
    "NVIDIA-A100-SXM4-80GB": Accelerator(85.9e9, 2039e9, 312e12, 50e-6, 1024),
    "NVIDIA-H100-80GB-HBM3": Accelerator(85.5e9, 3350e9, 989e12, 30e-6, 2048),
    "NVIDIA-H200": Accelerator(151e9, 4800e9, 989e12, 30e-6, 2048),
    "cpu": Accelerator(32e9, 60e9, 2e12, 100e-6, 128),
}


@dataclass(frozen=True, slots=True)
class Model:
    """What the arithmetic needs to know of a model."""

    parameters: float
    weight_bytes: float
    kv_bytes_per_token: float


def model_of(name: str, quantization: str | None) -> Model:
    """Guess a model from its name.

    "7B" in it gives the parameters (7e9 when nothing does), the flag or else the name the quantisation. Of a path only
    the last folder counts: the others are named by whoever made the volume, and "41b" in them means nothing.
    """
    name = name.rstrip("/").rpartition("/")[2]
    sized = re.search(r"(?<![\d.])(\d+(?:\.\d+)?)b(?![a-z0-9])", name, re.IGNORECASE)
    parameters = float(sized.group(1)) * 1e9 if sized else _DEFAULT_PARAMETERS
    stated = (quantization or name).lower()
    per_parameter = next((size for method, size in BYTES_PER_PARAMETER.items() if method in stated), 2.0)
    return Model(parameters, parameters * per_parameter, 57_344 * (parameters / _KV_REFERENCE_PARAMETERS) ** 0.75)


def kv_cache_bytes(accelerator: Accelerator, model: Model, count: int, utilization: float) -> float:
    """Bytes left for the KV cache on `count` accelerators; negative when the weights alone do not fit."""
    return utilization * accelerator.memory_bytes * count - model.weight_bytes - _RUNTIME_BYTES * count


def coefficients_of(accelerator: Accelerator, model: Model, count: int, kv_bytes: float) -> Coefficients:
    """What a step of this model costs on `count` accelerators in tensor parallel."""
    return Coefficients(
        step_seconds=_LAUNCH_SECONDS + model.weight_bytes / (count * accelerator.bandwidth_bytes_per_second),
        prompt_token_seconds=4 * model.parameters / (count * accelerator.operations_per_second),
        sequence_seconds=accelerator.sequence_seconds,
        resident_token_seconds=model.kv_bytes_per_token / (count * 0.75 * accelerator.bandwidth_bytes_per_second),
        max_batched_tokens=accelerator.max_batched_tokens,
        max_sequences=_MAX_SEQUENCES,
        kv_tokens=int(kv_bytes / model.kv_bytes_per_token),
    )
