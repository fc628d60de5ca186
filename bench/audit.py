"""What one account asked of the API server, from the API server's own audit log."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import yaml

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_POLICY = "audit-policy.yaml"
_LOG = "audit.log"


def apiserver_options(directory: Path, user: str) -> tuple[str, ...]:
    """Options of a kube-apiserver that writes down every request that `user` has made, and no other.

    Writes the policy into `directory`, where the log will be. https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/.
    """
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        # a watch is written when it begins, anything else when it has ended
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": [user]}, {"level": "None"}],
    }
    (directory / _POLICY).write_text(yaml.safe_dump(policy))
    return (
        f"--audit-policy-file={directory / _POLICY}",
        f"--audit-log-path={directory / _LOG}",
        "--audit-log-mode=batch",
    )


@dataclass(slots=True)
class Audit:
    """The log, read on from where it was read last."""

    directory: Path
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Requests by verb and resource ("llmdeployments/status"), since the log began."""
    _offset: int = 0

    def read(self) -> Counter[tuple[str, str]]:
        """Count what has come since; a copy of all counts."""
        path = self.directory / _LOG
        if path.exists():
            with path.open("rb") as log:
                log.seek(self._offset)
                for line in log:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    self._count(json.loads(line))
        return Counter(self.counts)

    async def silence(self, seconds: float, deadline_seconds: float = 300.0) -> float:
        """Wait until nothing was asked for so long; the moment (of `time.monotonic`) of what was asked last."""
        since, before = time.monotonic(), self.read()
        deadline = since + deadline_seconds
        while (now := time.monotonic()) - since < seconds:
            await asyncio.sleep(0.1)
            if (made := self.read()) != before:
                since, before = time.monotonic(), made
            if now > deadline:
                raise SystemExit(f"requests still come after {deadline_seconds:.0f} s")
        return since

    def _count(self, event: dict[str, object]) -> None:
        is_watch = event["verb"] == "watch"
        if is_watch == (event["stage"] == "ResponseComplete"):
            return
        ref = event.get("objectRef")
        ref = ref if isinstance(ref, dict) else {}
        resource = "/".join(str(ref[part]) for part in ("resource", "subresource") if part in ref)
        self.counts[str(event["verb"]), resource] += 1


def requests(counts: Counter[tuple[str, str]]) -> int:
    """How many requests there were."""
    return counts.total()


def writes(counts: Counter[tuple[str, str]]) -> int:
    """How many of the requests were writes, whether they changed anything or not."""
    return sum(number for (verb, _), number in counts.items() if verb in WRITES)
