"""The LLMDeployments of a file."""

from __future__ import annotations

import sys
from pathlib import Path

from spillway.api.documents import deployments_in
from spillway.api.v1alpha1 import LLMDeployment
from spillway.errors import InvalidSetting


def read_deployments(path: Path, namespace: str) -> tuple[LLMDeployment, ...]:
    """The LLMDeployments of the YAML file at `path` (`-`: standard input), in `namespace` where they state none.

    Objects of other kinds are passed over.

    Raises:
        InvalidSetting: the file cannot be read, is no YAML or holds no LLMDeployment.
        InvalidObject: a field of one cannot be used; the message begins with the object's name.
    """
    try:
        text = sys.stdin.read() if path == Path("-") else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"FILE: {path} cannot be read ({error}); name a file of LLMDeployments, or -") from error
    return deployments_in(text, f"FILE: {path}", namespace)
