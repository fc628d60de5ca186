"""The data files of the advisor: their records, by name, and how one that cannot be used is told."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Protocol, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from spillway.errors import InvalidObject
from spillway.sizing.profiles import Facts


class Named(Protocol):
    """A record that others name."""

    @property
    def name(self) -> str:
        """How they do."""


T = TypeVar("T", bound=Facts)
N = TypeVar("N", bound=Named)


def own_text(name: str) -> str:
    """The text of the data file `name` that comes with the advisor."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def listed(text: str, kind: type[T], where: str, cure: str) -> tuple[T, ...]:
    """The records of one kind that the YAML (or JSON) `text` lists.

    Raises:
        InvalidObject: the text is no such list; names the record's place below `where`, and says the `cure`.
    """
    try:
        return TypeAdapter(tuple[kind, ...]).validate_python(yaml.safe_load(text) or ())  # type: ignore[valid-type] # a class, known at run time
    except yaml.YAMLError as error:
        raise InvalidObject(where, f"no YAML: {error}", cure) from error
    except ValidationError as error:
        raise told(error.errors(include_url=False)[0], where, cure) from error


def told_apart(records: tuple[N, ...], where: str, cure: str, cure_twice: str) -> tuple[N, ...]:
    """The `records` of a file of somebody's own.

    Raises:
        InvalidObject: there is none, with the `cure`, or two have one name, with `cure_twice`; names `where`.
    """
    if not records:
        raise InvalidObject(where, "the file holds none", cure)
    names = [record.name for record in records]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidObject(where, f"{twice} is there twice", cure_twice)
    return records


def find(records: Sequence[N], name: str, field: str, kind: str) -> N:
    """The record called `name`, a thing of that `kind` which `field` states; raises InvalidObject with the choices."""
    found = next((record for record in records if record.name == name), None)
    if found is None:
        choices = ", ".join(record.name for record in records)
        raise InvalidObject(field, f"there is no {kind} {name!r}", f"state one of {choices}")
    return found


def told(problem: ErrorDetails, where: str, cure: str) -> InvalidObject:
    """The first thing that pydantic found wrong, by its path below `where`, with the value that is wrong."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
    value = problem["input"]
    shown = f" (it is {value!r})" if isinstance(value, str | int | float | bool) else ""
    said = problem["msg"].removeprefix("Value error, ")
    return InvalidObject(f"{where}{path}".removeprefix("."), f"{said[:1].lower()}{said[1:]}{shown}", cure)
