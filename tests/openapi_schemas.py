"""What a real API server says of its kinds, as JSON schemas for kubeconform: a file for each kind.

https://github.com/yannh/kubeconform#overriding-schemas-location
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spillway.simulator.kubeapi import KubeAPI

LOCATION = "{{.ResourceKind}}{{.KindSuffix}}.json"
_REF = "#/components/schemas/"
_GVK = "x-kubernetes-group-version-kind"


async def write(api: KubeAPI, folder: Path) -> None:
    """Write a schema for each kind that the API server serves; a field that it does not name is refused."""
    for version in (await api.get("/openapi/v3"))["paths"].values():
        path, _, query = version["serverRelativeURL"].partition("?")
        schemas = (await api.get(path, **dict([query.split("=")]))).get("components", {}).get("schemas", {})
        for name, schema in schemas.items():
            for kind in schema.get(_GVK, ()):
                group = kind["group"].partition(".")[0]
                suffix = f"-{group}-{kind['version']}" if group else f"-{kind['version']}"
                file = folder / f"{kind['kind'].lower()}{suffix}.json"
                if not file.exists():
                    file.write_text(json.dumps(_standalone(name, schemas)))


def _standalone(name: str, schemas: dict[str, Any]) -> dict[str, Any]:
    """A schema with all that it refers to."""
    needed: dict[str, Any] = {}
    waiting = [name]
    while waiting:
        if (one := waiting.pop()) not in needed:
            needed[one] = _strict(schemas[one], waiting)
    return {"allOf": [{"$ref": _REF + name}], "components": {"schemas": needed}}


def _strict(schema: Any, refers_to: list[str]) -> Any:
    if isinstance(schema, list):
        return [_strict(one, refers_to) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(ref := schema.get("$ref"), str):
        refers_to.append(ref.removeprefix(_REF))
    made = {key: _strict(value, refers_to) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made
