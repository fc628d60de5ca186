"""What every model of the API is made of: two bases, and annotations that hold a rule once for Python and for the CRD.

A rule is written here in two tongues side by side, CEL for the API server and Python for objects that never passed
one (files, tests). `tests/cluster/test_crd_rules.py` holds both to the same table of objects.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

GROUP: Final = "spillway.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "spillway.dev/v1alpha1"

VALIDATIONS = "x-kubernetes-validations"
LIST_TYPE = "x-kubernetes-list-type"
LIST_MAP_KEYS = "x-kubernetes-list-map-keys"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule over fields of one model: CEL for the API server, `holds` for Python, a message that says what to do."""

    cel: str
    message: str
    # the model that carries the rule; each rule reads its own model's fields, so no narrower type is common to all
    holds: Callable[[Any], bool]


def _with_rules(schema: dict[str, Any], model: type[BaseModel]) -> None:
    rules: tuple[Rule, ...] = getattr(model, "rules", ())
    if rules:
        schema[VALIDATIONS] = [{"rule": rule.cel, "message": rule.message} for rule in rules]


class StatusModel(BaseModel):
    """A part of metadata or status: what it does not know it ignores, because a newer version may have written it."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
        protected_namespaces=(),
        json_schema_extra=_with_rules,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _keeps_its_rules(self) -> Self:
        for rule in self.rules:
            if not rule.holds(self):
                raise ValueError(rule.message)
        return self


class SpecModel(StatusModel):
    """A part of a spec: an unknown field is refused, for it may be a limit that this version would not keep."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Matches:
    """A string that matches `pattern` as a whole (RE2 and Python alike: no quotes, no backslashes), else `message`."""

    pattern: str
    message: str

    def __post_init__(self) -> None:
        assert not set(self.pattern) & set("'\"\\"), "the pattern stands between quotes in CEL"

    def _check(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise ValueError(self.message)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 - pydantic's
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        made = handler(schema)
        made[VALIDATIONS] = [{"rule": f"self.matches('^(?:{self.pattern})$')", "message": self.message}]
        return made


@dataclass(frozen=True, slots=True)
class ListType:
    """How a list of at most `most` items merges under server-side apply.

    A set has no equal items, a map no two items with equal `key`.
    """

    kind: Literal["atomic", "set", "map"]
    most: int
    key: str = ""

    def _check(self, items: tuple[object, ...]) -> tuple[object, ...]:
        if len(items) > self.most:
            raise ValueError(f"Too many: {len(items)}: must have at most {self.most} items")
        if self.kind != "atomic":
            keys = [getattr(item, self.key) if self.key else item for item in items]
            for index, key in enumerate(keys):
                if key in keys[:index]:
                    raise ValueError(f"Duplicate value: {key}")
        return items

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 - pydantic's
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        made = handler(schema)
        made["maxItems"] = self.most
        made[LIST_TYPE] = self.kind
        if self.key:
            made[LIST_MAP_KEYS] = [self.key]
        return made


@dataclass(frozen=True, slots=True)
class Dollars:
    """A `Decimal` of dollars that is a quoted decimal string in the API, never a float.

    `exact`: the string always has six places, as Spillway itself writes it; else at most six, as people write it.
    `positive` refuses zero.
    """

    name: str
    positive: bool = False
    exact: bool = False
    _pattern: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pattern", "[0-9]{1,9}[.][0-9]{6}" if self.exact else "[0-9]{1,9}([.][0-9]{1,6})?")

    @property
    def message(self) -> str:
        """What the API server and Python answer to a value that is none."""
        above = "above zero, " if self.positive else ""
        places = "exactly" if self.exact else "at most"
        return f'{self.name} must be dollars, {above}as a quoted decimal with {places} six places, such as "2.500000"'

    def _parse(self, value: object) -> Decimal:
        text = format(value, "f") if isinstance(value, Decimal) else value
        if isinstance(value, Decimal) and self.exact:
            text = self._write(value)
        if not isinstance(text, str) or not re.fullmatch(self._pattern, text):
            raise ValueError(self.message)
        amount = Decimal(text)
        if self.positive and not amount:
            raise ValueError(self.message)
        return amount

    def _write(self, value: Decimal) -> str:
        return format(value.quantize(Decimal("0.000001")) if self.exact else value, "f")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 - pydantic's
        return core_schema.no_info_plain_validator_function(
            self._parse, serialization=core_schema.plain_serializer_function_ser_schema(self._write)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rule = f"self.matches('^{self._pattern}$')"
        if self.positive:
            rule += " && quantity(self).isGreaterThan(quantity('0'))"
        return {"type": "string", "maxLength": 16, VALIDATIONS: [{"rule": rule, "message": self.message}]}


def text(longest: int, shortest: int = 1) -> Any:  # noqa: ANN401 - what pydantic.Field returns
    """Metadata of a string of `shortest` to `longest` characters."""
    return Field(min_length=shortest, max_length=longest)


def whole(least: int, most: int) -> Any:  # noqa: ANN401 - what pydantic.Field returns
    """Metadata of an integer between `least` and `most`, both included; never a string or a boolean."""
    return Field(ge=least, le=most, strict=True)


DNS_SUBDOMAIN = "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"

ObjectName = Annotated[
    str,
    text(253),
    Matches(
        DNS_SUBDOMAIN,
        "name must be an object's name: lower-case letters, digits, '-' and '.', "
        "beginning and ending with a letter or digit",
    ),
]
# The key becomes a file name of a projected volume: a leading dot is refused there or hides it.
DataKey = Annotated[
    str,
    text(253),
    Matches(
        "[-_a-zA-Z0-9][-._a-zA-Z0-9]*", "key must be letters, digits, '-', '_' and '.', and must not begin with a dot"
    ),
]


class SecretKeyRef(SpecModel):
    """One key of a Secret in the same namespace."""

    name: Annotated[ObjectName, Field(description="The Secret's name.")]
    key: Annotated[DataKey, Field(description="The key whose value is used.")]


class ConfigMapKeyRef(SpecModel):
    """One key of a ConfigMap in the same namespace."""

    name: Annotated[ObjectName, Field(description="The ConfigMap's name.")]
    key: Annotated[DataKey, Field(description="The key whose value is used.")]


class ObjectMeta(StatusModel):
    """The part of Kubernetes' object metadata that Spillway reads."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
