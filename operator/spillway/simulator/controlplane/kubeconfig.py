"""Kubeconfig files that hold all they need, so they can be copied anywhere."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from spillway.simulator.controlplane.certificates import Pair


def write(path: Path, server: str, ca: Path, user: dict[str, str]) -> Path:
    """Write a kubeconfig with one cluster and one user, readable by its owner only."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "spillway", "cluster": {"server": server, "certificate-authority-data": _encoded(ca)}}],
        "users": [{"name": "spillway", "user": user}],
        "contexts": [{"name": "spillway", "context": {"cluster": "spillway", "user": "spillway"}}],
        "current-context": "spillway",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1))  # JSON is YAML
    return path


def by_certificate(pair: Pair) -> dict[str, str]:
    """The user entry of a client certificate."""
    return {"client-certificate-data": _encoded(pair.cert), "client-key-data": _encoded(pair.key)}


def by_token(token: str) -> dict[str, str]:
    """The user entry of a bearer token."""
    return {"token": token}


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
