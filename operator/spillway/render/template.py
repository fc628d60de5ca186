"""Templates of manifests: jinja2 over YAML, where no value is ever part of the text.

A value's place in the text is taken by a token, and the value is put there after the YAML is read: it stands in its
place as one scalar, list or mapping and cannot break out of it, whatever it holds. And text that is the same for most
objects is read once. An undefined name is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

import jinja2
import yaml

# An object of Kubernetes as data; what a value is depends on its key alone.
Manifest = dict[str, object]

_TEMPLATES = Path(__file__).parent / "templates"
# How a token begins: what no template holds; the number of its value follows.
_PLACE = "\0"
_WRITTEN = "values written so far"


@jinja2.pass_context
def _finalize(context: jinja2.runtime.Context, value: object) -> str:
    """The token, as YAML, of a value that a template writes."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # StrictUndefined raises here, with the name that is not defined
    written = context[_WRITTEN]
    written.append(plain(value))
    return f'"\\0{len(written) - 1}"'


def plain(value: object) -> object:
    """A copy of `value` that is nothing but mappings, lists, strings and whole numbers.

    Raises:
        TypeError: it is not plain data.
    """
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case tuple() | list():
            return [plain(item) for item in value]
        case str():
            return str.__str__(value)
        case None | int():
            return value
        case _:
            raise TypeError(f"a template wrote {value!r}, which is not plain data")


@cache
def _environment() -> jinja2.Environment:
    # Nothing here is HTML, and no value is part of the text.
    return jinja2.Environment(  # noqa: S701
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: object) -> Manifest:
    """The manifest that `template` (a path below templates/) makes of `values`."""
    written: list[object] = []
    manifest = _fill(_parse(_environment().get_template(template).render(values, **{_WRITTEN: written})), written)
    assert isinstance(manifest, dict), f"{template} holds one object"
    return manifest


@lru_cache(maxsize=512)
def _parse(text: str) -> object:
    """What the YAML holds, for reading only: the next text that is the same shares it."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - a SafeLoader, in C where there is one


def _fill(parsed: object, written: Sequence[object]) -> object:
    """A copy in which values stand where their tokens stood."""
    if isinstance(parsed, dict):
        return {_fill(key, written): _fill(item, written) for key, item in parsed.items()}
    if isinstance(parsed, list):
        return [_fill(item, written) for item in parsed]
    if isinstance(parsed, str) and parsed.startswith(_PLACE):
        return written[int(parsed[1:])]
    return parsed


_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
