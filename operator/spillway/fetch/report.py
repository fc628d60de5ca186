"""What a download tells: progress as JSON lines, and its end as a termination message that the kubelet passes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from spillway.errors import FetchError

MESSAGE_BYTES = 4096
"""What the kubelet keeps of a termination message
(https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/)."""


@dataclass(frozen=True, slots=True)
class Result:
    """A complete download: which commit, how much, and what the model's config.json says of its shape.

    `weight_bytes` are those of the files with weights; `unverified` counts files that nobody published a checksum of.
    """

    revision: str
    bytes: int
    files: int
    weight_bytes: int
    unverified: int = 0
    config: Mapping[str, object] = field(default_factory=dict)


def complete_message(result: Result) -> str:
    """The termination message of a complete download, with as much of the config as there is room for."""
    keys = list(result.config)
    while True:
        told = {**asdict(result), "percent": 100, "config": {key: result.config[key] for key in keys}}
        text = _compact(told)
        if len(text.encode()) <= MESSAGE_BYTES or not keys:
            return text
        keys.pop()


def step_message(arrived: int, total: int) -> str:
    """The termination message of a step that ends before the download does."""
    return _compact({"percent": percent(arrived, total), "bytes": arrived, "totalBytes": total})


def failure_message(error: FetchError) -> str:
    """The termination message of a download that failed."""
    return _compact({"reason": error.reason, "message": str(error)[:1000]})


def percent(arrived: int, total: int) -> int:
    """How much has arrived; 100 only of everything."""
    return 100 if arrived >= total else arrived * 100 // total


class Reporter:
    """Writes JSON lines to stdout, and the last word where the kubelet looks for it."""

    def __init__(self, termination_message: Path | None) -> None:
        self._path = termination_message

    def line(self, event: str, **facts: object) -> None:
        """One line of the log."""
        print(_compact({"event": event, **facts}), flush=True)  # noqa: T201 - this is the log

    def end(self, message: str) -> None:
        """The last word."""
        print(message, flush=True)  # noqa: T201
        if self._path is not None:
            self._path.write_text(message, encoding="utf-8")


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, default=str)
