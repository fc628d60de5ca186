"""LLMDeployments as people write them: YAML of one document or several. Text in, checked objects out; no I/O.

What never passes an API server is held to its rules here: `parse_deployment` for those of the CRD, and what `kubectl
apply` asks beyond them: an apiVersion, and no key that stands twice.
"""

from __future__ import annotations

from typing import Any

import yaml

from spillway.api.common import API_VERSION
from spillway.api.v1alpha1 import LLMDeployment, parse_deployment
from spillway.errors import InvalidObject, InvalidSetting


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: which of two limits counts is not for us to guess."""

    # typeshed gives the anchor that type; it is a string or None
    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        # where nodes are composed, not where they are constructed: by then merge keys (<<) have been put in place
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.composer.ComposerError(
                        None, None, f"the key {key.value!r} stands twice; leave one of them", key.start_mark
                    )
                seen.add((key.tag, key.value))
        return node


def deployments_in(text: str, source: str, namespace: str) -> tuple[LLMDeployment, ...]:
    """The LLMDeployments of `text`, in `namespace` where they state none; objects of other kinds are passed over.

    `source` says in messages where the text is from.

    Raises:
        InvalidSetting: the text is no YAML or holds no LLMDeployment.
        InvalidObject: a field of one cannot be used; the message begins with the object's name.
    """
    try:
        documents = list(yaml.load_all(text, Loader=_StrictLoader))
    except yaml.YAMLError as error:
        raise InvalidSetting(f"{source} is no YAML: {error}; name a file of LLMDeployments") from error
    bodies = [body for body in documents if isinstance(body, dict) and body.get("kind") == "LLMDeployment"]
    if not bodies:
        raise InvalidSetting(f"{source} holds no object of kind LLMDeployment; write one as in manifests/samples")
    return tuple(_parse(body, namespace) for body in bodies)


def named(name: str, problem: InvalidObject) -> InvalidObject:
    """The same problem, with the object's name before the field."""
    return InvalidObject(f"{name}: {problem.field}", problem.problem, problem.cure, problem.reason)


def _parse(body: dict[str, object], namespace: str) -> LLMDeployment:
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        metadata.setdefault("namespace", namespace)
    name = str(metadata.get("name", "?")) if isinstance(metadata, dict) else "?"
    if "apiVersion" not in body:
        raise InvalidObject(f"{name}: apiVersion", "is missing", f"write apiVersion: {API_VERSION}")
    try:
        return parse_deployment(body)
    except InvalidObject as problem:
        raise named(name, problem) from problem
