"""What cloud APIs charge: a data file of dollars for a million tokens, each with its source and date."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Final

from pydantic import Field

from spillway.advisor.data import listed, own_text, told_apart
from spillway.api.v1alpha1 import Provider
from spillway.errors import InvalidObject
from spillway.sizing.profiles import Facts

STALE_DAYS: Final = 90
_CURE: Final = (
    'write a list of {provider, model, inputUsdPerMillion: "2.50", outputUsdPerMillion: "10.00", source, date}, and '
    "cachedInputUsdPerMillion where it differs"
)
# Far above any list price of a million tokens: what is more is a price for a thousand, or a slip.
_MOST_USD: Final = Decimal(10_000)


class ListPrice(Facts):
    """What one model of one provider costs, in dollars for a million tokens, as `source` had it on `date`."""

    provider: str = Field(min_length=1, max_length=63)
    model: str = Field(min_length=1, max_length=128)
    input_usd_per_million: Decimal = Field(ge=0, le=_MOST_USD, allow_inf_nan=False)
    output_usd_per_million: Decimal = Field(ge=0, le=_MOST_USD, allow_inf_nan=False)
    # Absent: a prompt's cached tokens cost what the others do.
    cached_input_usd_per_million: Decimal | None = Field(default=None, ge=0, le=_MOST_USD, allow_inf_nan=False)
    # How an LLMDeployment would name it as a target.
    api: Provider = Provider.OPENAI_COMPATIBLE
    base_url: str | None = None
    source: str = Field(min_length=1)
    date: date

    @property
    def name(self) -> str:
        """How needs name it: provider/model."""
        return f"{self.provider}/{self.model}"

    @property
    def cached_usd_per_million(self) -> Decimal:
        """Dollars for a million prompt tokens that the provider found in its cache."""
        cached = self.cached_input_usd_per_million
        return self.input_usd_per_million if cached is None else cached


def load_prices(text: str) -> tuple[ListPrice, ...]:
    """The prices of a YAML or JSON `text`.

    Raises:
        InvalidObject: the text holds no price, a price cannot be used, or two have one name.
    """
    return told_apart(listed(text, ListPrice, "prices", _CURE), "prices", _CURE, "keep the newer one")


@cache
def own_prices() -> tuple[ListPrice, ...]:
    """The prices that come with Spillway."""
    return load_prices(own_text("prices.yaml"))


def find_price(prices: Sequence[ListPrice], name: str) -> ListPrice:
    """The price called `name`, as provider/model or as a model that one provider alone has.

    Raises:
        InvalidObject: there is none, or several; names the choices.
    """
    found = [price for price in prices if name in {price.name, price.model}]
    if len(found) != 1:
        said = "has several prices" if found else "has no price"
        choices = ", ".join(price.name for price in found or prices)
        raise InvalidObject("cloud", f"{name!r} {said}", f"state one of {choices}, or bring your own with --prices")
    return found[0]


def stale(price: ListPrice, today: date) -> str | None:
    """The warning that a price is old or from the future as of `today`; None if it is not."""
    age = (today - price.date).days
    if age > STALE_DAYS:
        return f"the price of {price.name} is of {price.date}, {age} days ago: look it up and bring it with --prices"
    if age < -1:
        return f"the price of {price.name} is of {price.date}, which is still to come"
    return None
