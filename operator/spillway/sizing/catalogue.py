"""The catalogue of well-known models, and what is taken for a model that is not in it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from math import log
from types import MappingProxyType

import yaml
from pydantic import Field, TypeAdapter

from spillway.sizing.models import ModelFacts, Origin
from spillway.sizing.names import base_name, named_parameters


class CatalogueEntry(ModelFacts):
    """A model of the catalogue: its facts, the names it goes by, and where they are published."""

    names: tuple[str, ...] = Field(min_length=1)
    source: str
    date: str


@cache
def entries() -> tuple[CatalogueEntry, ...]:
    """The models of the catalogue, in the order of its file."""
    text = resources.files(__package__).joinpath("models.yaml").read_text(encoding="utf-8")
    return TypeAdapter(tuple[CatalogueEntry, ...]).validate_python(_dates_as_text(yaml.safe_load(text)))


@cache
def catalogue() -> Mapping[str, CatalogueEntry]:
    """The models of the catalogue by each name that they go by."""
    return MappingProxyType({name: entry for entry in entries() for name in entry.names})


def find_model(repository: str, parameters: int | None = None) -> ModelFacts | None:
    """Facts of the model in `repository` (organisation/name, or a path); None if nothing tells them.

    The catalogue knows best, then the stated `parameters`, then a size in the name.
    """
    known = catalogue().get(base_name(repository))
    if known is not None:
        return known
    if parameters is not None:
        return _like_the_nearest(parameters, Origin.STATED)
    named = named_parameters(repository)
    return None if named is None else _like_the_nearest(named, Origin.NAME)


def _like_the_nearest(parameters: int, origin: Origin) -> ModelFacts:
    """A model of `parameters` with the shape of the dense one in the catalogue that is nearest in size."""
    dense = [entry for entry in entries() if not entry.experts]
    return min(dense, key=lambda entry: abs(log(entry.parameters / parameters))).resized(parameters, origin)


def _dates_as_text(listed: object) -> object:
    """YAML reads a date as a date; the catalogue keeps it as it is written."""
    if not isinstance(listed, list):
        return listed
    return [{key: str(value) if key == "date" else value for key, value in entry.items()} for entry in listed]
