"""The CRDs, made from the models: pydantic's JSON schema turned into what Kubernetes calls a structural schema.

A structural schema has no `$ref`, no `title`, no union with null, no `const` and no `additionalProperties: false`
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema).
Beyond that: every string is bounded, so that the API server can bound the cost of the rules, and defaults stand only
on scalars at the top of `spec`, because a default inside an object is drift to Argo CD
(https://github.com/argoproj/argo-cd/issues/11074).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import yaml
from pydantic import BaseModel

from spillway.api.common import GROUP, LIST_MAP_KEYS, LIST_TYPE, VALIDATIONS, VERSION
from spillway.api.v1alpha1 import LLMDeployment, LLMLedger

HEADER = (
    "# Generated from operator/spillway/api; do not edit. `make generate` writes it anew, `make verify` compares it.\n"
)

_KEPT = (
    "type",
    "format",
    "description",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    LIST_TYPE,
    LIST_MAP_KEYS,
    VALIDATIONS,
)
_INT32 = 2**31 - 1
_LONGEST_TIME = 64  # RFC 3339, with room for fractions and an offset


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; `wide` shows it only with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    wide: bool = False

    def render(self) -> dict[str, object]:
        """The column as the CRD has it."""
        made: dict[str, object] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.description:
            made["description"] = self.description
        if self.wide:
            made["priority"] = 1
        return made


@dataclass(frozen=True, slots=True)
class Kind:
    """What a CRD says beside its schema."""

    model: type[BaseModel]
    plural: str
    columns: tuple[Column, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    scale: bool = False


def _ready(part: str) -> str:
    return f'.status.conditions[?(@.type=="Ready")].{part}'


AGE = Column("Age", ".metadata.creationTimestamp", "date")

KINDS: tuple[Kind, ...] = (
    Kind(
        model=LLMDeployment,
        plural="llmdeployments",
        short_names=("llmdep",),
        categories=("spillway",),
        scale=True,
        columns=(
            Column("Model", ".spec.model.uri"),
            Column("Engine", ".status.engine"),
            Column("Ready", _ready("status")),
            Column("Reason", _ready("reason")),
            Column("Replicas", ".status.readyReplicas", "integer", "Replicas that answer."),
            Column("Fallback", ".status.fallback.state"),
            Column("Spend", ".status.budget.spent", description="Dollars spent in this window."),
            AGE,
            Column("URL", ".status.url", wide=True),
            Column("Quantization", ".status.plan.quantization", wide=True),
            Column("GPUs", ".status.plan.accelerators", "integer", "Accelerators of one replica.", wide=True),
            Column(
                "Local$/M",
                ".status.cost.localPerMillionTokens",
                description="Dollars for a million tokens here, of the last hour.",
                wide=True,
            ),
            Column(
                "Cloud$/M",
                ".status.cost.cloudPerMillionTokens",
                description="Dollars for a million of the same tokens at the target.",
                wide=True,
            ),
            Column("Cost", ".status.cost.recommendation", description="Where tokens cost less.", wide=True),
        ),
    ),
    Kind(
        model=LLMLedger,
        plural="llmledgers",
        columns=(
            Column("Limit", ".spec.limit", description="Dollars that one window may cost."),
            Column("Window", ".spec.window"),
            Column("Spent", ".status.spent", description="Dollars spent in this window."),
            AGE,
        ),
    ),
)


def structural(model: type[BaseModel]) -> dict[str, object]:
    """The structural schema of `model`, without defaults."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    definitions = schema.pop("$defs", {})
    return _structural(schema, definitions)


def _structural(schema: dict[str, object], definitions: dict[str, dict[str, object]]) -> dict[str, object]:
    schema = _resolved(schema, definitions)
    made: dict[str, object] = {key: schema[key] for key in _KEPT if key in schema}
    if "const" in schema:
        made["enum"] = [schema["const"]]
    properties = schema.get("properties")
    if isinstance(properties, dict):
        made["properties"] = {name: _structural(value, definitions) for name, value in properties.items()}
        if required := schema.get("required"):
            made["required"] = required
    items = schema.get("items")
    if isinstance(items, dict):
        made["items"] = _structural(items, definitions)
    match made.get("type"):
        case "integer":
            most = made.get("maximum")
            made["format"] = "int32" if isinstance(most, int) and most <= _INT32 else "int64"
        case "string" if made.get("format") == "date-time":
            made["maxLength"] = _LONGEST_TIME
        case _:
            pass
    return made


def _resolved(schema: dict[str, object], definitions: dict[str, dict[str, object]]) -> dict[str, object]:
    """`schema` with its reference and its union with null put in place; what stands beside them wins."""
    beside = {key: value for key, value in schema.items() if key not in {"$ref", "anyOf"}}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _resolved(definitions[reference.rsplit("/", 1)[1]] | beside, definitions)
    union = schema.get("anyOf")
    if isinstance(union, list):
        (one,) = (choice for choice in union if choice.get("type") != "null")
        return _resolved(one | beside, definitions)
    return schema


def render_crd(kind: Kind) -> dict[str, object]:
    """The CustomResourceDefinition of one kind."""
    name = kind.model.__name__
    schema = structural(kind.model)
    properties = schema["properties"]
    assert isinstance(properties, dict)
    # The API server owns these three; of metadata nothing but its type may stand here.
    properties["apiVersion"] = {"type": "string", "maxLength": 64, "description": "The API's group and version."}
    properties["kind"] = {"type": "string", "maxLength": 64, "description": "The object's kind."}
    properties["metadata"] = {"type": "object"}
    schema["required"] = ["spec"]
    _default_top_scalars(kind.model, properties["spec"])
    names: dict[str, object] = {
        "kind": name,
        "listKind": f"{name}List",
        "plural": kind.plural,
        "singular": name.lower(),
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    if kind.categories:
        names["categories"] = list(kind.categories)
    subresources: dict[str, object] = {"status": {}}
    if kind.scale:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": names,
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": subresources,
                    "additionalPrinterColumns": [column.render() for column in kind.columns],
                }
            ],
        },
    }


def _default_top_scalars(model: type[BaseModel], spec: dict[str, object]) -> None:
    spec_model = model.model_fields["spec"].annotation
    properties = spec["properties"]
    assert isinstance(properties, dict)
    assert isinstance(spec_model, type)
    assert issubclass(spec_model, BaseModel)
    for field in spec_model.model_fields.values():
        if isinstance(field.default, bool | int | str) and field.alias:
            default = field.default
            properties[field.alias]["default"] = default.value if isinstance(default, Enum) else default


class _Dumper(yaml.SafeDumper):
    """YAML without anchors, so that each schema reads on its own."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - yaml's signature
        return True


def render_crds() -> dict[str, str]:
    """File name to text, one CRD a file; the same models give the same bytes."""
    return {
        f"{GROUP}_{kind.plural}.yaml": HEADER + yaml.dump(render_crd(kind), Dumper=_Dumper, sort_keys=True, width=120)
        for kind in KINDS
    }


def write(directory: Path) -> tuple[Path, ...]:
    """Write every CRD below `directory`, which is made if it is missing; returns the files."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in render_crds().items():
        path = directory / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return tuple(written)
