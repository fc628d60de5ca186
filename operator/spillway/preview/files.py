"""The LLMDeployments of a file."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from spillway.api.v1alpha1 import LLMDeployment, parse_deployment
from spillway.errors import InvalidObject, InvalidSetting


def read_deployments(path: Path, namespace: str) -> tuple[LLMDeployment, ...]:
    """The LLMDeployments of the YAML file at `path` (`-`: standard input), in `namespace` where they state none.

    Objects of other kinds are passed over.

    Raises:
        InvalidSetting: the file cannot be read, is no YAML or holds no LLMDeployment.
        InvalidObject: a field of one cannot be used; the message begins with the object's name.
    """
    try:
        text = sys.stdin.read() if path == Path("-") else path.read_text(encoding="utf-8")
        documents = list(yaml.safe_load_all(text))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"FILE: {path} cannot be read ({error}); name a file of LLMDeployments, or -") from error
    except yaml.YAMLError as error:
        raise InvalidSetting(f"FILE: {path} is no YAML: {error}; name a file of LLMDeployments, or -") from error
    bodies = [body for body in documents if isinstance(body, dict) and body.get("kind") == "LLMDeployment"]
    if not bodies:
        raise InvalidSetting(f"FILE: {path} holds no object of kind LLMDeployment; write one as in manifests/samples")
    return tuple(_parse(body, namespace) for body in bodies)


def _parse(body: dict[str, object], namespace: str) -> LLMDeployment:
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        metadata.setdefault("namespace", namespace)
    name = str(metadata.get("name", "?")) if isinstance(metadata, dict) else "?"
    try:
        return parse_deployment(body)
    except InvalidObject as problem:
        raise named(name, problem) from problem


def named(name: str, problem: InvalidObject) -> InvalidObject:
    """The same problem, with the object's name before the field."""
    return InvalidObject(f"{name}: {problem.field}", problem.problem, problem.cure, problem.reason)
