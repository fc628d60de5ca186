"""What somebody needs, as they write it down in YAML: bounded, so that a slip is refused and not reckoned with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

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

    prompt_tokens: int = Field(default=500, ge=1, le=10_000_000)
    cached_prompt_tokens: int = Field(default=0, ge=0, le=10_000_000)
    answer_tokens: int = Field(default=1000, ge=1, le=1_000_000)

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

    # The busiest hour over the average one.
    peak_to_average: Decimal = Field(default=Decimal(1), ge=1, le=1000, allow_inf_nan=False)
    always_on: bool = False


class FirstToken(Facts):
    """How soon the first token must come, and for how many of a hundred requests."""

    limit_milliseconds: int = Field(ge=1, le=600_000)
    percentile: float = Field(default=95, ge=1, le=99.99)


class Team(Facts):
    """People for it, in full-time equivalents, those to be hired among them."""

    ml_engineers: Decimal = Field(default=Decimal(0), ge=0, le=1000, allow_inf_nan=False)
    dev_ops: Decimal = Field(default=Decimal(0), ge=0, le=1000, allow_inf_nan=False)
    sre: Decimal = Field(default=Decimal(0), ge=0, le=1000, allow_inf_nan=False)


class Model(Facts):
    """The open model that would do the work here."""

    uri: str = "hf://hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4"
    # Such as 7.6B; only for a model that the catalogue does not know and whose name tells no size.
    parameters: str | None = None
    context_tokens: int = Field(default=8192, ge=128, le=16_777_216)
    precision: Precision = Precision.FOUR_BITS


class SelfHost(Facts):
    """How it would be hosted."""

    setup: str = "rented-a100"
    minimum_units: int = Field(default=1, ge=1, le=10_000)
    # Measured, of one unit, prompt and answer together; absent: what the setup states.
    tokens_per_second: Decimal | None = Field(default=None, gt=0, le=10_000_000, allow_inf_nan=False)


class Needs(Facts):
    """What is needed. Only the volume has no default: without it there is nothing to advise on."""

    name: str = Field(default="chat", pattern="^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$")
    tokens_per_month: Annotated[int, BeforeValidator(parse_tokens), Field(ge=1, le=MOST_TOKENS_A_MONTH, strict=True)]
    request: Request = Request()
    traffic: Traffic = Traffic()
    data: DataResidency = DataResidency.MAY_LEAVE
    offline: bool = False
    first_token: FirstToken | None = None
    # Requests that only a frontier model can answer well enough.
    frontier_percent: Decimal = Field(default=Decimal(0), ge=0, le=100, allow_inf_nan=False)
    custom_weights: bool = False
    still_experimenting: bool = False
    time_to_market: bool = False
    certifications: tuple[Certification, ...] = ()
    team: Team = Team()
    models: int = Field(default=1, ge=1, le=1000)
    cloud: str = "OpenAI/gpt-4o"
    # In a hybrid, the share of tokens that goes to the cloud.
    cloud_percent: Decimal = Field(default=Decimal(20), gt=0, lt=100, allow_inf_nan=False)
    self_host: SelfHost = SelfHost()
    model: Model = Model()

    @property
    def requests_per_second(self) -> float:
        """On the average of a month."""
        return self.tokens_per_month / self.request.mix.tokens / (30 * 86_400)


def read_needs(text: str) -> Needs:
    """The needs of a YAML (or JSON) `text`.

    Raises:
        InvalidObject: names the first field that cannot be used, its value, and what it may be.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidObject("needs", f"no YAML: {error}", "write tokensPerMonth: 50M and what else you know") from error
    if not isinstance(document, Mapping):
        raise InvalidObject("needs", "no mapping of fields", "write tokensPerMonth: 50M and what else you know")
    return parse_needs(document)


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
        found = next((field for field in kind.model_fields.values() if field.alias == part), None)
        inner = found.annotation if found is not None else None
        named = [inner, *getattr(inner, "__args__", ())]
        kind = next((each for each in named if isinstance(each, type) and issubclass(each, Facts)), kind)
    return [field.alias or name for name, field in kind.model_fields.items()]
