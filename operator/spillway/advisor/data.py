"""The data files of the advisor: what they are made of, and how a record that cannot be used is told."""

from __future__ import annotations

from importlib import resources
from typing import TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from spillway.errors import InvalidObject
from spillway.sizing.profiles import Facts

T = TypeVar("T", bound=Facts)


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


def told(problem: ErrorDetails, where: str, cure: str) -> InvalidObject:
    """The first thing that pydantic found wrong, by its path below `where`, with the value that is wrong."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
    value = problem["input"]
    shown = f" (it is {value!r})" if isinstance(value, str | int | float | bool) else ""
    said = problem["msg"].removeprefix("Value error, ")
    return InvalidObject(f"{where}{path}".removeprefix("."), f"{said[:1].lower()}{said[1:]}{shown}", cure)
