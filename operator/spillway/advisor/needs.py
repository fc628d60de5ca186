"""What somebody needs, as they write it down in YAML: bounded, so that a slip is refused and not reckoned with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from spillway.advisor.costs import Mix
from spillway.advisor.data import told
from spillway.advisor.hardware import Precision
from spillway.errors import InvalidObject
from spillway.sizing.profiles import Facts

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmbt]?)", re.IGNORECASE)
MOST_TOKENS_A_MONTH = 10**15


def parse_tokens(value: object) -> object:
    """Tokens as a number, or as people write it: 50M, 1.5B. What is neither is left for the field to refuse."""
    if not isinstance(value, str):
        return value
    found = _AMOUNT.fullmatch(value.strip().replace(",", "").replace("_", ""))
    if found is None:
        raise ValueError('write a whole number of tokens, or one such as "500K", "50M" or "2B"')
    return int(Decimal(found[1]) * _UNITS[found[2].lower()])


class DataResidency(StrEnum):
    """Where requests may go."""

    MAY_LEAVE = "MayLeave"
    """All of them, under a provider's usual terms."""
    VARIES = "Varies"
    """They differ in how sensitive they are; with care, all may."""
    PART_MUST_STAY = "PartMustStay"
    """Some may not leave one's own infrastructure, others may."""
    MUST_STAY = "MustStay"
    """None may."""


class Certification(StrEnum):
    """What rules or customers may ask to see of whoever processes the data."""

    SOC_2 = "SOC2"
    BAA = "BAA"
    VENDOR_LIABILITY = "VendorLiability"
    REGIONAL_ENDPOINT = "RegionalEndpoint"
    ZERO_RETENTION = "ZeroRetention"


class Request(Facts):
    """One request on the average, in tokens; the third of prompt gives GPT-4o's $7.50 for a million."""

    prompt_tokens: int = Field(default=500, ge=1, le=10_000_000, description="of a prompt on the average")
    cached_prompt_tokens: int = Field(
        default=0, ge=0, le=10_000_000, description="of these what a provider finds in its cache"
    )
    answer_tokens: int = Field(default=1000, ge=1, le=1_000_000, description="of an answer on the average")

    @model_validator(mode="after")
    def _cached_are_of_the_prompt(self) -> Self:
        if self.cached_prompt_tokens > self.prompt_tokens:
            raise ValueError(f"cachedPromptTokens must be at most promptTokens, which are {self.prompt_tokens}")
        return self

    @property
    def mix(self) -> Mix:
        """The same as prices see it."""
        return Mix(self.prompt_tokens, self.answer_tokens, self.cached_prompt_tokens)


class Traffic(Facts):
    """How requests come over the day."""

    peak_to_average: Decimal = Field(
        default=Decimal(1), ge=1, le=1000, allow_inf_nan=False, description="the busiest hour over the average one"
    )
    always_on: bool = Field(default=False, description="steady load around the clock")


class FirstToken(Facts):
    """How soon the first token must come, and for how many of a hundred requests."""

    limit_milliseconds: int = Field(ge=1, le=600_000, description="from the request to its first token")
    percentile: float = Field(default=95, ge=1, le=99.99, description="of a hundred requests so many are in time")


class Team(Facts):
    """People for it, in full-time equivalents, those to be hired among them."""

    ml_engineers: Decimal = Field(
        default=Decimal(0), ge=0, le=1000, allow_inf_nan=False, description="in full-time equivalents, as the next two"
    )
    dev_ops: Decimal = Field(
        default=Decimal(0), ge=0, le=1000, allow_inf_nan=False, description="those to be hired count as well"
    )
    sre: Decimal = Field(default=Decimal(0), ge=0, le=1000, allow_inf_nan=False, description="for high traffic")


class Model(Facts):
    """The open model that would do the work here."""

    uri: str = Field(
        default="hf://hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4",
        description="the open model that would do the work, hf://organisation/name",
    )
    parameters: str | None = Field(
        default=None, description="such as 7.6B; for a model that is not known and whose name tells no size"
    )
    context_tokens: int = Field(default=8192, ge=128, le=16_777_216, description="longest prompt and answer together")
    precision: Precision = Field(
        default=Precision.FOUR_BITS, description="FourBits, EightBits or SixteenBits a weight, for a plain model"
    )


class SelfHost(Facts):
    """How it would be hosted."""

    setup: str = Field(default="rented-a100", description="one of the setups below")
    minimum_units: int = Field(default=1, ge=1, le=10_000, description="such as 2, so that one may fail")
    tokens_per_second: Decimal | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        allow_inf_nan=False,
        description="measured, of one unit, prompts and answers together; absent: what the setup states",
    )


class Needs(Facts):
    """What is needed. Only the volume has no default: without it there is nothing to advise on."""

    name: str = Field(
        default="chat", pattern="^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$", description="what the objects are named by"
    )
    tokens_per_month: Annotated[int, BeforeValidator(parse_tokens)] = Field(
        ge=1, le=MOST_TOKENS_A_MONTH, strict=True, description="prompts and answers together, such as 50M or 2B"
    )
    request: Request = Request()
    traffic: Traffic = Traffic()
    data: DataResidency = Field(
        default=DataResidency.MAY_LEAVE,
        description="whether requests may leave your infrastructure: MayLeave; Varies, all may with care; "
        "PartMustStay; MustStay",
    )
    offline: bool = Field(default=False, description="there is no connection to an API")
    first_token: FirstToken | None = Field(default=None, description="absent: no limit")
    frontier_percent: Decimal = Field(
        default=Decimal(0),
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="of a hundred requests those that only a frontier model answers well enough",
    )
    custom_weights: bool = Field(default=False, description="the model is your own, such as a fine-tuned one")
    still_experimenting: bool = Field(default=False, description="prompts and models still change")
    time_to_market: bool = Field(default=False, description="it has to be there soon")
    certifications: tuple[Certification, ...] = Field(
        default=(), description="what must be shown: SOC2, BAA, VendorLiability, RegionalEndpoint, ZeroRetention"
    )
    team: Team = Team()
    models: int = Field(default=1, ge=1, le=1000, description="models to be served")
    cloud: str = Field(default="OpenAI/gpt-4o", description="the API to compare with: one of the prices below")
    cloud_percent: Decimal = Field(
        default=Decimal(20),
        gt=0,
        lt=100,
        allow_inf_nan=False,
        description="in a hybrid, of a hundred tokens those that go to the cloud",
    )
    self_host: SelfHost = SelfHost()
    model: Model = Model()

    @field_validator("name")
    @classmethod
    def _leaves_spillways_own_names(cls, name: str) -> str:
        if name == "spillway-gateway" or name.endswith("-engine"):
            raise ValueError("name must not be spillway-gateway and not end with -engine: these are Spillway's own")
        return name

    @property
    def requests_per_second(self) -> float:
        """On the average of a month."""
        return self.tokens_per_month / self.request.mix.tokens / (30 * 86_400)


def read_needs(text: str) -> Needs:
    """The needs of a YAML (or JSON) `text`.

    Raises:
        InvalidObject: names the first field that cannot be used, its value, and what it may be.
    """
    return parse_needs(read_document(text))


def read_document(text: str) -> Mapping[str, object]:
    """The fields that a YAML (or JSON) `text` states, unread; raises InvalidObject if it holds no mapping of them."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidObject("needs", f"no YAML: {error}", "write tokensPerMonth: 50M and what else you know") from error
    if not isinstance(document, Mapping):
        raise InvalidObject("needs", "no mapping of fields", "write tokensPerMonth: 50M and what else you know")
    return document


def parse_needs(document: Mapping[str, object]) -> Needs:
    """The needs that a mapping holds; raises InvalidObject as `read_needs` does."""
    try:
        return Needs.model_validate(document)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise told(problem, "", _cure(problem["type"], tuple(problem["loc"]))) from error


def _cure(kind: str, path: tuple[int | str, ...]) -> str:
    if kind == "extra_forbidden":
        return f"the fields here are {', '.join(_fields(path[:-1]))}"
    if kind == "missing" and path == ("tokensPerMonth",):
        return "state it, such as tokensPerMonth: 50M"
    return "see docs/when-to-self-host.md for what each field means"


def _fields(path: tuple[int | str, ...]) -> list[str]:
    """The names of the fields of the part at `path`."""
    kind: type[Facts] = Needs
    for part in path:
        field = next((field for field in kind.model_fields.values() if field.alias == part), None)
        kind = (None if field is None else _part(field)) or kind
    return [field.alias or name for name, field in kind.model_fields.items()]


def described(kind: type[Facts] = Needs, above: str = "") -> Iterator[tuple[str, str, str]]:
    """Each field by its path, its default (empty: none) and what it means."""
    for name, field in kind.model_fields.items():
        path = f"{above}{field.alias or name}"
        inner = _part(field)
        if inner is not None:
            yield from described(inner, f"{path}.")
        else:
            absent = field.is_required() or field.default is None or field.default == ()
            shown = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
            yield path, "" if absent else shown, field.description or ""


def _part(field: FieldInfo) -> type[Facts] | None:
    """The part that a field holds, if it holds one."""
    named = (field.annotation, *getattr(field.annotation, "__args__", ()))
    return next((each for each in named if isinstance(each, type) and issubclass(each, Facts)), None)
