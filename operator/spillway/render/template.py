"""Templates of manifests: jinja2 over YAML, where every value is written as JSON.

JSON is YAML, so a value stands in its place as one scalar, list or mapping and cannot break out of it, whatever it
holds. An undefined name is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

import jinja2
import yaml

# An object of Kubernetes as data; what a value is depends on its key alone.
Manifest = dict[str, object]

_TEMPLATES = Path(__file__).parent / "templates"

# What YAML takes for a line break or does not take at all inside quotes; JSON allows them as they are.
_NOT_PLAIN = re.compile("[\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def as_json(value: object) -> str:
    """`value` as JSON that YAML reads as the same value; raises TypeError if it is not plain data."""
    if isinstance(value, jinja2.Undefined):
        return str(value)  # StrictUndefined raises here, with the name that is not defined
    text = json.dumps(_plain(value), ensure_ascii=False)
    return _NOT_PLAIN.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"a template wrote {value!r}, which is not plain data")


@cache
def _environment() -> jinja2.Environment:
    # Nothing here is HTML: as_json is the escape, and it covers every value.
    return jinja2.Environment(  # noqa: S701
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        finalize=as_json,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: object) -> Manifest:
    """The manifest that `template` (a path below templates/) makes of `values`."""
    manifest = json.loads(_parse(_environment().get_template(template).render(**values)))
    assert isinstance(manifest, dict), f"{template} holds one object"
    return manifest


# What a namespace shares is rendered at each pass and is nearly always as it was; reading its YAML is most of that.
@lru_cache(maxsize=512)
def _parse(text: str) -> str:
    """YAML as JSON, which is read much faster."""
    return json.dumps(yaml.load(text, Loader=_LOADER))  # noqa: S506 - a SafeLoader, in C where there is one


_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
