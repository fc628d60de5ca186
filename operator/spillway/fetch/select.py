"""Which files of a repository an engine loads: a repository often holds the same weights in several formats. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from spillway.fetch.source import RemoteFile

# Weights in the formats of other programs, and pictures for people.
_NEVER = frozenset(
    {".onnx", ".msgpack", ".h5", ".tflite", ".ot", ".mlmodel", ".mlpackage", ".png", ".jpg", ".jpeg", ".gif", ".mp4"}
)
_NEVER_FOLDERS = frozenset({"onnx", "openvino", "coreml", "original", "flax", "tf", ".git", ".github"})
# What an engine falls back to where there are no safetensors.
_PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt"})


def needed(files: Sequence[RemoteFile]) -> tuple[RemoteFile, ...]:
    """The files that are worth downloading, by path: pickled weights and GGUF only where there are no safetensors."""
    kept = [file for file in files if not _is_of_another_program(PurePosixPath(file.path))]
    if any(file.path.endswith(".safetensors") for file in kept):
        kept = [file for file in kept if PurePosixPath(file.path).suffix not in _PICKLED | {".gguf"}]
    return tuple(sorted(kept, key=lambda file: file.path))


def _is_of_another_program(path: PurePosixPath) -> bool:
    return path.suffix.lower() in _NEVER or any(part in _NEVER_FOLDERS for part in path.parts[:-1])
