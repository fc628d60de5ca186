"""Facts of models: a catalogue of well-known ones, and an estimate from the name for the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from math import log
from types import MappingProxyType

import yaml
from pydantic import Field, TypeAdapter

from spillway.api.v1alpha1 import QuantizationMethod
from spillway.sizing.profiles import Facts


class ModelFacts(Facts):
    """The shape of a model. Sizes are counts of numbers, not bytes."""

    parameters: int = Field(gt=0)
    layers: int = Field(gt=0)
    attention_heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_size: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    feed_forward_size: int = Field(gt=0)
    experts: int = Field(default=1, ge=1)
    vocabulary: int = Field(gt=0)
    tied_embeddings: bool
    context_length: int = Field(gt=0)
    # True: the parameters were read from the name, and the shape is that of the known model nearest in size.
    estimated: bool = False

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding and of the output layer, which quantised copies keep in 16 bits."""
        return self.vocabulary * self.hidden_size * (1 if self.tied_embeddings else 2)


class CatalogueEntry(ModelFacts):
    """A model of the catalogue: its facts, the names it goes by and where the facts are from."""

    names: tuple[str, ...] = Field(min_length=1)
    source: str
    date: str


# What people append to the name of a quantised copy, and the method that it tells.
_MARKS = (
    (re.compile(r"[-_.](awq)([-_.](int4|4bit|w4a16|marlin|gemm|g128|sym|asym))*$"), QuantizationMethod.AWQ),
    (re.compile(r"[-_.](gptq)([-_.](int[348]|[348]bit|marlin|g128|group128|sym))*$"), QuantizationMethod.GPTQ),
    (re.compile(r"[-_.](fp8)([-_.](dynamic|static|kv|block))*$"), QuantizationMethod.FP8),
)
_EIGHT_BITS = re.compile(r"(int8|8bit)")
_PARAMETERS = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")


def marked_quantization(repository: str) -> QuantizationMethod:
    """The method that the name of a `repository` tells; None (the member) when it tells no method."""
    name = _base(repository)
    return next((method for mark, method in _MARKS if mark.search(name)), QuantizationMethod.NONE)


def marked_bits(repository: str) -> int:
    """Bits of a GPTQ copy's weights, by its name: 8 or 4."""
    return 8 if _EIGHT_BITS.search(_base(repository)) else 4


@cache
def catalogue() -> Mapping[str, ModelFacts]:
    """Facts by each name that a model of the catalogue goes by."""
    text = resources.files(__package__).joinpath("models.yaml").read_text(encoding="utf-8")
    entries = TypeAdapter(tuple[CatalogueEntry, ...]).validate_python(_dates_as_text(yaml.safe_load(text)))
    return MappingProxyType({name: entry for entry in entries for name in entry.names})


def find_model(repository: str) -> ModelFacts | None:
    """Facts of the model in `repository` (organisation/name, or a path); None if nothing tells them."""
    name = _base(repository)
    for mark, _ in _MARKS:
        name = mark.sub("", name)
    known = catalogue().get(name.removeprefix("meta-"))
    if known is not None:
        return known
    parameters = _named_parameters(name)
    if parameters is None:
        return None
    nearest = min(catalogue().values(), key=lambda facts: abs(log(facts.parameters / parameters)))
    return nearest.model_copy(update={"parameters": parameters, "estimated": True})


def _base(repository: str) -> str:
    return repository.rstrip("/").rsplit("/", 1)[-1].lower()


def _named_parameters(name: str) -> int | None:
    """Parameters that a name such as `foo-7b` or `bar-8x7b` tells; a mixture counts each expert whole: too much."""
    found = _PARAMETERS.search(name)
    if found is None:
        return None
    experts, size, unit = found.groups()
    each = float(size) * (1e9 if unit == "b" else 1e6)
    return int(each * int(experts or 1)) or None


def _dates_as_text(entries: object) -> object:
    """YAML reads a date as a date; the catalogue keeps it as it is written."""
    if not isinstance(entries, list):
        return entries
    return [{key: str(value) if key == "date" else value for key, value in entry.items()} for entry in entries]
