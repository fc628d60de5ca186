"""What the administrator says of gateways' pods: where they may run, with which Secrets their image is pulled.

It is read from JSON, in Kubernetes' own words for a pod, and kept as the API server will tell it: what is empty is
left out, for what is applied is compared with what is there, and an empty value is not there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?")
_OPERATORS = ("Exists", "Equal")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_AFFINITIES = ("nodeAffinity", "podAffinity", "podAntiAffinity")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPod:
    """Fields of the pods of gateways, as Kubernetes writes them."""

    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, object], ...] = ()
    affinity: Mapping[str, object] = field(default_factory=dict)
    priority_class_name: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    """Names of Secrets in each namespace that has a gateway, for Spillway's image: downloads run it as well."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, Mapping[str, str | int]] = field(
        default_factory=lambda: {"requests": {"cpu": "100m", "memory": "256Mi"}}
    )


DEFAULT_POD = GatewayPod()


def parse_gateway_pod(text: str) -> GatewayPod:
    """The pod that JSON `text` says; what is absent or empty is as it is by default.

    Raises:
        ValueError: it cannot be used; the message goes on after the text, with the field and what it must be.
    """
    try:
        # a quantity may be a fraction, which no binary number holds
        said = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise ValueError(f'must be JSON such as {{"nodeSelector": {{"pool": "system"}}}}: {error}') from None
    known: dict[str, tuple[str, Callable[[object, str], object]]] = {
        "nodeSelector": ("node_selector", _texts),
        "tolerations": ("tolerations", _tolerations),
        "affinity": ("affinity", _affinity),
        "priorityClassName": ("priority_class_name", _text),
        "imagePullSecrets": ("image_pull_secrets", _secrets),
        "podAnnotations": ("annotations", _texts),
        "resources": ("resources", _resources),
    }
    parsed = {}
    for key, value in _mapping(said, "it", tuple(known)).items():
        name, parse = known[key]
        if value and (made := parse(value, key)):
            parsed[name] = made
    # each value has just been made by the parser of its own field
    return GatewayPod(**parsed)  # type: ignore[arg-type]


def _mapping(value: object, path: str, known: tuple[str, ...] = ()) -> Mapping[str, object]:
    """`value`, if it is a mapping; with `known` only of these keys."""
    if isinstance(value, dict):
        unknown = next((key for key in value if known and key not in known), None)
        if unknown is None:
            return value
        raise ValueError(f"has {unknown!r} at {path}, which is not known: it must be one of {', '.join(known)}")
    raise ValueError(f"must have a mapping at {path}, not {_shown(value)}")


def _items(value: object, path: str) -> list[object]:
    if isinstance(value, list):
        return value
    raise ValueError(f"must have a list at {path}, not {_shown(value)}")


def _text(value: object, path: str) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"must have text at {path}, not {_shown(value)}: quote it")


def _texts(value: object, path: str) -> dict[str, str]:
    return {key: _text(item, f"{path}.{key}") for key, item in _mapping(value, path).items()}


def _chosen(value: str, path: str, choices: tuple[str, ...]) -> None:
    if value and value not in choices:
        raise ValueError(f"has {value!r} at {path}, which must be one of {', '.join(choices)}")


def _tolerations(value: object, path: str) -> tuple[dict[str, object], ...]:
    return tuple(_toleration(item, f"{path}[{place}]") for place, item in enumerate(_items(value, path)))


def _toleration(value: object, path: str) -> dict[str, object]:
    stated = dict(_mapping(value, path, ("key", "operator", "value", "effect", "tolerationSeconds")))
    seconds = stated.pop("tolerationSeconds", None)
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int)):
        raise ValueError(f"must have whole seconds at {path}.tolerationSeconds, not {_shown(seconds)}")
    texts = {key: _text(item, f"{path}.{key}") for key, item in stated.items() if item is not None}
    _chosen(texts.get("operator", ""), f"{path}.operator", _OPERATORS)
    _chosen(texts.get("effect", ""), f"{path}.effect", _EFFECTS)
    if not texts.get("key") and texts.get("operator") != "Exists":
        raise ValueError(f"must have a key at {path}, or operator Exists, which tolerates every taint")
    return {key: item for key, item in texts.items() if item} | (
        {} if seconds is None else {"tolerationSeconds": seconds}
    )


def _affinity(value: object, path: str) -> dict[str, object]:
    stated = _mapping(value, path, _AFFINITIES)
    kinds = {kind: _full(_mapping(item, f"{path}.{kind}"), f"{path}.{kind}") for kind, item in stated.items() if item}
    return {kind: item for kind, item in kinds.items() if item}


def _full(value: object, path: str) -> object:
    """A copy without empty lists, which the API server leaves out. An empty selector stays: it selects everything."""
    match value:
        case dict():
            full = {key: _full(item, f"{path}.{key}") for key, item in value.items()}
            return {key: item for key, item in full.items() if item is not None and item != []}
        case list():
            return [_full(item, f"{path}[{place}]") for place, item in enumerate(value)]
        case Decimal():
            raise ValueError(f"must have a whole number at {path}, not {value}")
        case _:
            return value


def _secrets(value: object, path: str) -> tuple[str, ...]:
    places = [f"{path}[{place}]" for place, _ in enumerate(_items(value, path))]
    stated = [_mapping(item, where, ("name",)) for item, where in zip(_items(value, path), places, strict=True)]
    names = [_text(item.get("name"), f"{where}.name") for item, where in zip(stated, places, strict=True)]
    for place, name in enumerate(names):
        if not name or name in names[:place]:
            raise ValueError(f"has {name!r} at {places[place]}.name, which must name a Secret, each of them once")
    return tuple(names)


def _resources(value: object, path: str) -> dict[str, dict[str, str | int]]:
    stated = _mapping(value, path, ("requests", "limits"))
    kinds = {
        kind: {name: _amount(item, f"{path}.{kind}.{name}") for name, item in _mapping(of, f"{path}.{kind}").items()}
        for kind, of in stated.items()
        if of
    }
    return {kind: amounts for kind, amounts in kinds.items() if amounts}


def _amount(value: object, path: str) -> str | int:
    said = str(value) if isinstance(value, Decimal) else value
    if isinstance(said, int) and not isinstance(said, bool) and said >= 0:
        return said
    if isinstance(said, str) and _QUANTITY.fullmatch(said):
        return said
    raise ValueError(f'must have a quantity such as "500m" or "1Gi" at {path}, not {_shown(value)}')


def _shown(value: object) -> str:
    return json.dumps(value, default=str)
