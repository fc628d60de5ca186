"""A container's environment and command line as its program gets them; pure.

A container without root has no mounts of its own: the paths of its mounts are replaced by where the volumes really lie,
wherever an argument or a variable's value names one.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence

from spillway.simulator.kubeapi import Object
from spillway.simulator.node.plan import ContainerPlan, UnsupportedError

Lookup = Callable[[str, str], Object | None]
"""(kind, name) -> the Secret or ConfigMap of the pod's namespace, or None."""


class NotYetError(LookupError):
    """Something that the container refers to does not exist (yet); the message is in the kubelet's words."""


_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace $(NAME); an unknown one stays as it is written, and $$ is a dollar.

    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    """

    def replacement(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return variables.get(match[2], match[0])

    return _REFERENCE.sub(replacement, text)


def rewriter(paths: Mapping[str, str]) -> Callable[[str], str]:
    """A function that replaces each mount path in a text, where it stands as a path of its own, by its real place."""
    longest_first = sorted((path for path in paths if path != "/"), key=len, reverse=True)
    if not longest_first:
        return lambda text: text
    pattern = re.compile(rf"(?<![\w./-])({'|'.join(map(re.escape, longest_first))})(?![\w.-])")
    return lambda text: pattern.sub(lambda match: paths[match[1]], text)


def variables(container: ContainerPlan, pod: Object, service: Mapping[str, str], lookup: Lookup) -> dict[str, str]:
    """The variables of a container: those of the API's Service first, then envFrom, then env in order.

    Raises:
        NotYetError: a Secret, ConfigMap or key that is not optional is missing.
        UnsupportedError: a source that the node does not do.
    """
    result = dict(service)
    for source in container.env_from:
        kind, reference = _env_from(source)
        found = lookup(kind, reference["name"])
        if found is None:
            if not reference.get("optional"):
                raise NotYetError(f'{kind.lower()} "{reference["name"]}" not found')
            continue
        result |= {source.get("prefix", "") + key: value.decode() for key, value in contents(found).items()}
    for entry in container.env:
        if "valueFrom" not in entry:
            result[entry["name"]] = expand(entry.get("value") or "", result)
        elif (value := _from(entry["valueFrom"], pod, lookup)) is not None:
            result[entry["name"]] = value
    return result


def field_value(pod: Object, path: str) -> str:
    """What a fieldRef reads.

    Raises:
        UnsupportedError: a field that the API does not offer.
    """
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    if match := _SUBSCRIPT.fullmatch(path):
        return str((meta.get(match[1]) or {}).get(match[2], ""))
    if path in {"metadata.labels", "metadata.annotations"}:
        entries: Mapping[str, str] = meta.get(path.removeprefix("metadata.")) or {}
        quoted = (f'{key}="{value.translate(_QUOTES)}"' for key, value in sorted(entries.items()))
        return "\n".join(quoted)
    fields = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": status.get("hostIP", ""),
        "status.hostIPs": ",".join(entry["ip"] for entry in status.get("hostIPs") or []),
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": ",".join(entry["ip"] for entry in status.get("podIPs") or []),
    }
    if path not in fields:
        raise UnsupportedError(f"fieldRef {path}")
    return str(fields[path])


def contents(obj: Object) -> dict[str, bytes]:
    """What a Secret or ConfigMap holds, by key."""
    if obj["kind"] == "Secret":
        return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    text = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    return text | {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}


def arguments(words: Sequence[str], env: Mapping[str, str], rewrite: Callable[[str], str]) -> tuple[str, ...]:
    """A command or its arguments with $(NAME) and mount paths replaced."""
    return tuple(rewrite(expand(word, env)) for word in words)


_QUOTES = {ord('"'): r"\"", ord("\\"): r"\\", ord("\n"): r"\n"}


def _env_from(source: Object) -> tuple[str, Object]:
    for name, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
        if reference := source.get(name):
            return kind, reference
    raise UnsupportedError(f"envFrom {', '.join(sorted(source))}")


def _from(source: Object, pod: Object, lookup: Lookup) -> str | None:
    """The value, or None when the source is optional and not there."""
    if field := source.get("fieldRef"):
        return field_value(pod, field["fieldPath"])
    for name, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        if reference := source.get(name):
            found = lookup(kind, reference["name"])
            held = {} if found is None else contents(found)
            if reference["key"] in held:
                return held[reference["key"]].decode()
            if reference.get("optional"):
                return None
            if found is None:
                raise NotYetError(f'{kind.lower()} "{reference["name"]}" not found')
            where = f"{pod['metadata']['namespace']}/{reference['name']}"
            raise NotYetError(f"couldn't find key {reference['key']} in {kind} {where}")
    raise UnsupportedError(f"env valueFrom {', '.join(sorted(source))}")


def references(containers: Sequence[ContainerPlan]) -> set[tuple[str, str]]:
    """The Secrets and ConfigMaps, as (kind, name), that the variables of some containers come from."""
    found = set()
    for container in containers:
        for source in container.env_from:
            kind, reference = _env_from(source)
            found.add((kind, str(reference["name"])))
        for entry in container.env:
            value_from: Object = entry.get("valueFrom") or {}
            for name, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
                if wanted := value_from.get(name):
                    found.add((kind, str(wanted["name"])))
    return found
