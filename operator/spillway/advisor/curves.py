"""What plots are drawn of: cost by volume and by setup, latency by place, memory by quantisation.

Memory is that of one accelerator which holds the whole model, by `sizing`: weights, what the engine takes beside them,
and the cache of one request of full length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil, isfinite
from typing import Final

from spillway.advisor.accelerators import find_accelerator
from spillway.advisor.advice import Advice
from spillway.advisor.costs import effective_usd_per_million, units_needed
from spillway.advisor.figures import Bill, Figures, figures
from spillway.advisor.latency import LOCAL_ROUND_TRIP_MILLISECONDS, places
from spillway.advisor.needs import Needs, SelfHost
from spillway.advisor.setups import MonthlyCost, Setup
from spillway.sizing.formats import weight_format
from spillway.sizing.memory import BYTES_16, Load, available_bytes, memory_terms
from spillway.sizing.models import ModelFacts
from spillway.sizing.plan import fewest

_STEPS: Final = (1, 2, 5)
_FORMATS: Final = (("16 bits", "None"), ("8 bits, FP8", "FP8"), ("4 bits, AWQ or GPTQ", "AWQ"))


@dataclass(frozen=True, slots=True)
class SetupCost:
    """A month of the same needs on a setup; `cost` is None where the model does not fit a machine of it.

    `units` are by the capacity that the setup states, and dollars by them; `roofline_units` are the fewest that could
    serve this model.
    """

    setup: str
    units: int
    roofline_units: int | None
    cost: MonthlyCost | None
    usd_per_million: Decimal | None
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class PlaceTime:
    """How long one request takes at a place, in milliseconds, by its parts; `to_last_token` of the whole answer."""

    place: str
    round_trip: float
    queue: float
    model: float
    to_last_token: float
    basis: str

    @property
    def to_first_token(self) -> float:
        """All parts."""
        return self.round_trip + self.queue + self.model


@dataclass(frozen=True, slots=True)
class FormatMemory:
    """Bytes of one accelerator that holds the whole model, by how its weights are stored.

    `accelerators`: how many of the setup's share it, at least; None: a machine of them is too small.
    """

    stored: str
    weight_bytes: int
    engine_bytes: int
    cache_bytes: int
    accelerators: int | None

    @property
    def total_bytes(self) -> int:
        """All three."""
        return self.weight_bytes + self.engine_bytes + self.cache_bytes


@dataclass(frozen=True, slots=True)
class Curves:
    """All that is drawn. `device_bytes`: what an engine may use of one of the setup's accelerators."""

    by_volume: tuple[Bill, ...]
    by_setup: tuple[SetupCost, ...]
    by_place: tuple[PlaceTime, ...]
    by_format: tuple[FormatMemory, ...]
    device_bytes: int


def curves(advice: Advice) -> Curves:
    """The numbers of the plots of an `advice`."""
    return Curves(
        by_volume=tuple(advice.figures.bill(tokens) for tokens in volumes(advice.figures)),
        by_setup=tuple(_by_setup(advice.needs, advice.figures, advice.setups)),
        by_place=tuple(_by_place(advice.needs, advice.figures)),
        by_format=tuple(_by_format(advice.needs, advice.figures)),
        device_bytes=available_bytes(find_accelerator(advice.figures.setup.accelerator).profile),
    )


def volumes(found: Figures) -> tuple[int, ...]:
    """Tokens a month around one's own volume and the break-even: 1, 2 and 5 of each decade, and these two."""
    even = found.break_even_tokens_per_month
    marked = {found.tokens} | ({int(even)} if even is not None and even >= 1 else set())
    least, most = max(1, min(marked) // 10), 10 * max(marked)
    decades = range(len(str(least)) - 1, len(str(most)))
    steps = {step * 10**decade for decade in decades for step in _STEPS}
    return tuple(sorted(tokens for tokens in steps | marked if least <= tokens <= most))


def _by_setup(needs: Needs, found: Figures, setups: Sequence[Setup]) -> Iterator[SetupCost]:
    # what was measured of one setup says nothing of the others
    elsewhere = needs.model_copy(update={"self_host": SelfHost(minimum_units=needs.self_host.minimum_units)})
    for setup in setups:
        chosen = setup.name == found.setup.name
        there = found if chosen else figures(elsewhere, found.price, setup)
        if there.plan is None:
            yield SetupCost(setup.name, there.units, None, None, None, chosen)
            continue
        cost = there.unit.times(there.units)
        a_million = effective_usd_per_million(cost.total, needs.tokens_per_month)
        yield SetupCost(setup.name, there.units, _roofline_units(needs, there), cost, a_million, chosen)


def _roofline_units(needs: Needs, there: Figures) -> int | None:
    most = there.roofline_tokens
    if most is None:
        return None
    return max(there.least_units, units_needed(ceil(needs.tokens_per_month * there.peak_to_average), max(1, most)))


def _by_place(needs: Needs, found: Figures) -> Iterator[PlaceTime]:
    answer = needs.request.answer_tokens
    for place in places():
        yield PlaceTime(
            place=place.name,
            round_trip=place.round_trip_milliseconds,
            queue=place.queue_milliseconds,
            model=place.first_token_milliseconds,
            to_last_token=place.to_last_token(answer),
            basis=f"published: {place.source}",
        )
    if found.speed is None:
        return
    trip = LOCAL_ROUND_TRIP_MILLISECONDS[1]
    own, generated = found.speed.first_token_milliseconds, 1000 * answer / found.speed.one_sequence_tokens_per_second
    yield PlaceTime(found.setup.name, trip, 0.0, own, trip + own + generated, "this model by the roofline, alone")
    promise = found.local
    if promise is not None and isfinite(promise.percentile_milliseconds):
        queue = promise.percentile_milliseconds - trip - own
        name = f"{found.setup.name}, slowest of {promise.percentile:g} %"
        yield PlaceTime(name, trip, queue, own, trip + queue + own + generated, "at the peak, by the queue")


def _by_format(needs: Needs, found: Figures) -> Iterator[FormatMemory]:
    facts = found.facts
    if facts is None:
        return
    profile = find_accelerator(found.setup.accelerator).profile
    for name, method in _FORMATS:
        load = _load(facts, method, needs.model.context_tokens)
        weights, *engine, cache = (term.bytes_per_accelerator for term in memory_terms(load, profile, 1))
        count = fewest(load, profile)
        held = sum(term.bytes_per_accelerator for term in memory_terms(load, profile, count))
        yield FormatMemory(name, weights, sum(engine), cache, count if held <= available_bytes(profile) else None)


def _load(facts: ModelFacts, method: str, context_tokens: int) -> Load:
    return Load(
        facts=facts,
        weights=weight_format(method),
        kv_bytes=BYTES_16,
        context_tokens=context_tokens,
        from_files=False,
    )
