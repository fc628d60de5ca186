"""How the weights of well-known tags of Ollama's registry are stored, where the tag itself does not say it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

import yaml
from pydantic import Field, TypeAdapter

from spillway.api.v1alpha1 import GGUFVariant
from spillway.sizing.profiles import Facts

_LIBRARY = ("registry.ollama.ai/library/", "library/")


class KnownTags(Facts):
    """Tags whose weights are stored in one way, and who says so."""

    tags: tuple[str, ...] = Field(min_length=1)
    variant: GGUFVariant
    source: str


@cache
def known_tags() -> Mapping[str, GGUFVariant]:
    """The variant of each tag that is known."""
    text = resources.files(__package__).joinpath("ollama_tags.yaml").read_text(encoding="utf-8")
    entries = TypeAdapter(tuple[KnownTags, ...]).validate_python(yaml.safe_load(text))
    return MappingProxyType({tag: entry.variant for entry in entries for tag in entry.tags})


def tagged_variant(name: str) -> GGUFVariant | None:
    """The variant of `name` in Ollama's registry, such as llama3.2:1b; None when nobody told us."""
    found = name.lower()
    for prefix in _LIBRARY:
        found = found.removeprefix(prefix)
    return known_tags().get(found)
