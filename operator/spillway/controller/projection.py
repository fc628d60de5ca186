"""Would applying this object change anything? Answered without asking the API server.

A server-side apply that changes nothing still costs the API server more than a create, so a pass compares first.
What we applied before is written in the live object's `metadata.managedFields`: a tree of the fields that our field
manager owns (https://kubernetes.io/docs/reference/using-api/server-side-apply/). The live object projected on that
tree is what we said last, with whatever others have changed since; it must be equal to what we want to say now.

- A field that we want and do not own: another manager has taken it, or it is new.
- A field that we own and no longer want: applying gives it up.
- A value that differs: someone changed it by force, or we changed our mind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TypeGuard

from spillway.controller.objects import at

# What the API server itself fills into values that it merges as a whole, and so shows as if we had said it
# (`x-kubernetes-map-type: atomic` and atomic lists in its OpenAPI document), and into keys of merged lists.
_DEFAULTS: Mapping[str, object] = {
    "apiGroup": "",
    "apiVersion": "v1",
    "defaultMode": 420,
    "expirationSeconds": 3600,
    "optional": False,
    "protocol": "TCP",
    "scheme": "HTTP",
}
_IDENTITY = frozenset({"apiVersion", "kind"})
_METADATA_IDENTITY = frozenset({"name", "namespace", "uid"})

# Fields whose values are quantities, which the API server writes in a form of its own ("1000m" becomes "1").
_QUANTITY_MAPS = frozenset({"limits", "requests", "capacity"})
_QUANTITIES = frozenset({"sizeLimit", "divisor"})
_QUANTITY = re.compile(r"([+-]?[0-9.]+)(?:([eE][+-]?[0-9]+)|([KMGTPE]i)|([numkMGTPE]))?")
_BINARY = {unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)}
_DECIMAL = {
    unit: Decimal(1000) ** power
    for power, unit in ((-3, "n"), (-2, "u"), (-1, "m"), (1, "k"), (2, "M"), (3, "G"), (4, "T"), (5, "P"), (6, "E"))
}


def difference(
    desired: Mapping[str, object], live: Mapping[str, object], *, manager: str, subresource: str = ""
) -> str | None:
    """The path of the first field that applying `desired` as `manager` would change in `live`, None if none.

    With a `subresource` ("status") only what was applied through it counts. Neither argument is changed.
    """
    fields = _owned(live, manager, subresource)
    if fields is None:
        return "metadata.managedFields"
    said = {key: value for key, value in desired.items() if key not in _IDENTITY}
    metadata = said.get("metadata")
    if isinstance(metadata, Mapping):
        said["metadata"] = {key: value for key, value in metadata.items() if key not in _METADATA_IDENTITY}
        if not said["metadata"]:
            del said["metadata"]
    return _mappings(said, live, fields, "", quantities=False)


def quantity(value: object) -> Decimal | None:
    """The number that a Kubernetes quantity stands for ("1500m" is 1.5, "1Ki" is 1024), None if it is none.

    The grammar: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if match is None or match[1].count(".") > 1 or not match[1].strip("+-."):
        return None
    number, exponent, binary, decimal = match.groups()
    if exponent:
        return Decimal(number + exponent)
    return Decimal(number) * (_BINARY[binary] if binary else _DECIMAL[decimal] if decimal else 1)


def _owned(live: Mapping[str, object], manager: str, subresource: str) -> Mapping[str, object] | None:
    entries = at(live, "metadata", "managedFields")
    for entry in entries if _is_list(entries) else ():
        if (
            at(entry, "manager") == manager
            and at(entry, "operation") == "Apply"
            and (at(entry, "subresource") or "") == subresource
        ):
            fields = at(entry, "fieldsV1")
            return fields if isinstance(fields, Mapping) else None
    return None


def _is_leaf(fields: Mapping[str, object]) -> bool:
    return not any(name != "." for name in fields)


def _compare(desired: object, live: object, fields: Mapping[str, object], path: str, *, quantities: bool) -> str | None:
    if _is_leaf(fields):
        if isinstance(desired, Mapping) and not desired and isinstance(live, Mapping):
            return None  # we own that it exists; what others put into it is theirs
        return None if _same(desired, live, quantities=quantities) else path
    if isinstance(desired, Mapping) and isinstance(live, Mapping):
        return _mappings(desired, live, fields, path, quantities=quantities)
    if _is_list(desired) and _is_list(live):
        return _lists(desired, live, fields, path)
    return path


def _mappings(
    desired: Mapping[str, object],
    live: Mapping[str, object],
    fields: Mapping[str, object],
    path: str,
    *,
    quantities: bool,
) -> str | None:
    owned = {name[2:]: under for name, under in fields.items() if name.startswith("f:")}
    for key, value in desired.items():
        here = f"{path}.{key}" if path else key
        under = owned.pop(key, None)
        if under is None and _is_hollow(value):
            continue
        if not isinstance(under, Mapping):
            return here
        found = _compare(value, live.get(key), under, here, quantities=_holds_quantities(key, under_one=quantities))
        if found is not None:
            return found
    return f"{path}.{next(iter(owned))}".lstrip(".") if owned else None


def _is_hollow(value: object) -> bool:
    """Whether nothing in it can be owned: a merged list without items is in nobody's fields, nor is what holds it."""
    if isinstance(value, Mapping):
        return bool(value) and all(_is_hollow(item) for item in value.values())
    return value is None or (_is_list(value) and not value)


def _holds_quantities(key: str, *, under_one: bool) -> bool:
    return under_one or key in _QUANTITY_MAPS or key in _QUANTITIES


def _lists(desired: Sequence[object], live: Sequence[object], fields: Mapping[str, object], path: str) -> str | None:
    """Compare a list that is merged by key or as a set; the order is the API server's business."""
    owned = dict(fields)
    owned.pop(".", None)
    for item in desired:
        name = next((name for name in owned if _is_key_of(name, item)), None)
        if name is None:
            return f"{path}[{json.dumps(item, default=str)[:60]}]"
        under = owned.pop(name)
        found = next((candidate for candidate in live if _is_key_of(name, candidate)), None)
        here = f"{path}[{name[2:]}]"
        difference = _compare(item, found, under if isinstance(under, Mapping) else {}, here, quantities=False)
        if difference is not None:
            return difference
    return f"{path}[{next(iter(owned))[2:]}]" if owned else None


def _is_key_of(name: str, item: object) -> bool:
    """Whether `name` of a managedFields tree (`k:{"name":"engine"}`, `v:"a-set's-item"`) names `item`."""
    kind, _, text = name.partition(":")
    if kind == "v":
        return bool(item == json.loads(text))
    keys = json.loads(text) if kind == "k" else None
    return isinstance(keys, dict) and all(
        at(item, key) == value or (at(item, key) is None and value == _DEFAULTS.get(key)) for key, value in keys.items()
    )


def _same(desired: object, live: object, *, quantities: bool) -> bool:
    """Whether `live` is `desired`, apart from what the API server fills in and how it writes quantities."""
    if isinstance(desired, Mapping) and isinstance(live, Mapping):
        return all(
            _same(desired[key], live.get(key), quantities=_holds_quantities(key, under_one=quantities))
            if key in desired
            else value == _DEFAULTS.get(key)
            for key, value in {**desired, **live}.items()
        )
    if _is_list(desired) and _is_list(live):
        return len(desired) == len(live) and all(
            _same(one, other, quantities=quantities) for one, other in zip(desired, live, strict=True)
        )
    if isinstance(desired, bool) or isinstance(live, bool):
        return desired is live
    if quantities and desired != live:
        number = quantity(desired)
        return number is not None and number == quantity(live)
    return bool(desired == live)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str)
