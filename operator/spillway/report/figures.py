"""The four figures of the page: a heading that says what is to be seen, the plot, the numbers that it is drawn of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from spillway.advisor.advice import Advice
from spillway.advisor.costs import cents
from spillway.advisor.curves import Curves, FormatMemory, PlaceTime, SetupCost
from spillway.report.bar_plot import Bar, Bars, Mark, bar_plot
from spillway.report.html_table import Column, count, dollars, html_table
from spillway.report.markup import Markup, tag
from spillway.report.plots import Row
from spillway.report.volume_plot import LINES, short_tokens, volume_plot
from spillway.sizing.memory import GIB

_WIDE: Final = 760
_NARROW: Final = 340
_SECOND: Final = 1000


def cost_by_volume(advice: Advice, found: Curves, rows: Sequence[Row]) -> Markup:
    """Dollars a month against tokens a month."""
    even = advice.figures.break_even_tokens_per_month
    heading = (
        "No volume at which self-hosting costs less than the API"
        if even is None
        else f"Self-hosting costs less than the API from {short_tokens(float(even))} tokens a month"
    )
    return _figure(
        heading,
        f"{advice.figures.price.name} against {advice.figures.setup.name}; each step is a unit more, for the peak.",
        (_stroke(line.kind, line.name) for line in LINES),
        _twice("volume", lambda width, name: volume_plot(advice.figures, found.by_volume, width, name)),
        html_table(
            "Dollars a month by tokens a month",
            (
                Column("tokens a month", "tokensPerMonth", count),
                Column("API", "apiUsd", dollars),
                Column("units", "selfHostUnits", count),
                Column("self-hosted", "selfHostUsd", dollars),
                Column("units", "hybridUnits", count),
                Column("hybrid", "hybridUsd", dollars),
            ),
            rows,
            lambda row: row["tokensPerMonth"] in {advice.figures.tokens, None if even is None else int(even)},
        ),
    )


def cost_by_setup(advice: Advice, found: Curves, rows: Sequence[Row]) -> Markup:
    """The same month on each setup, beside the API."""
    api = advice.figures.api_usd
    bars = [Bar(f"API: {advice.figures.price.name}", f"${cents(api):,}", (("first", float(api)),))]
    for each in sorted(found.by_setup, key=lambda each: (each.cost is None, each.cost.total if each.cost else 0)):
        cost = each.cost
        if cost is None:
            bars.append(Bar(each.setup, "does not fit", ()))
            continue
        parts = (("second", float(cost.hardware)), ("third", float(cost.power)), ("fourth", float(cost.people)))
        bars.append(Bar(f"{each.units} x {each.setup}", f"${cents(cost.total):,}", parts))
    fitting = [each for each in found.by_setup if each.cost is not None]
    least = min(fitting, key=lambda each: each.cost.total if each.cost else 0, default=None)
    heading = "This model fits none of the setups" if least is None else _cheapest(least)
    plot = Bars(
        title="Dollars a month by setup",
        description="; ".join(f"{bar.name}: {bar.shown}" for bar in bars),
        bars=tuple(bars),
    )
    return _figure(
        heading,
        f"A month of {short_tokens(advice.needs.tokens_per_month)} tokens, with units for its peak.",
        _swatches(("first", "API"), ("second", "hardware"), ("third", "power"), ("fourth", "people")),
        _twice("setup", lambda width, name: bar_plot(plot, width, name)),
        html_table(
            "Dollars a month by setup",
            (
                Column("setup", "setup", is_number=False),
                Column("units", "units", count),
                Column("by roofline", "rooflineUnits", count),
                Column("hardware", "hardwareUsd", dollars),
                Column("power", "powerUsd", dollars),
                Column("people", "peopleUsd", dollars),
                Column("a month", "totalUsd", dollars),
                Column("a million tokens", "usdPerMillionTokens", dollars),
            ),
            rows,
            lambda row: row["setup"] == advice.figures.setup.name,
        ),
    )


def latency_by_place(advice: Advice, found: Curves, rows: Sequence[Row]) -> Markup:
    """Milliseconds to the first token, and seconds to the last."""
    wished = advice.needs.first_token
    marks = (Mark(f"limit {wished.limit_milliseconds} ms", wished.limit_milliseconds),) if wished else ()
    fastest = min(found.by_place, key=lambda place: place.to_first_token)
    answer = advice.needs.request.answer_tokens
    first = Bars(
        title="Milliseconds to the first token, by place",
        description="; ".join(f"{place.place}: {place.to_first_token:,.0f} ms" for place in found.by_place),
        bars=tuple(_first(place) for place in found.by_place),
        marks=marks,
    )
    last = Bars(
        title=f"Seconds to the last of {answer} tokens, by place",
        description="; ".join(f"{place.place}: {place.to_last_token / _SECOND:,.1f} s" for place in found.by_place),
        bars=tuple(_last(place) for place in found.by_place),
    )
    return _figure(
        f"{fastest.place} answers first, after {fastest.to_first_token:,.0f} ms",
        "Milliseconds to the first token; below, seconds to the whole answer.",
        _swatches(("first", "network"), ("fourth", "queue"), ("second", "model"), ("third", "rest of the answer")),
        Markup(
            _twice("first-token", lambda width, name: bar_plot(first, width, name))
            + tag("p", f"Whole answers of {answer:,} tokens:", class_="quiet")
            + _twice("last-token", lambda width, name: bar_plot(last, width, name))
        ),
        html_table(
            "Milliseconds by place",
            (
                Column("place", "place", is_number=False),
                Column("round trip", "roundTripMilliseconds", count),
                Column("queue", "queueMilliseconds", count),
                Column("model", "modelMilliseconds", count),
                Column("first token", "firstTokenMilliseconds", count),
                Column("whole answer", "lastTokenMilliseconds", count),
                Column("by", "basis", is_number=False),
            ),
            rows,
        ),
    )


def memory_by_format(advice: Advice, found: Curves, rows: Sequence[Row]) -> Markup:
    """GiB of the whole model by how its weights are stored, beside what accelerators hold."""
    device, name = found.device_bytes / GIB, advice.figures.setup.accelerator
    longest = max((each.total_bytes / GIB for each in found.by_format), default=0)
    marks = [Mark(f"{times} x {name}", times * device) for times in (1, 2, 4, 8) if (times - 1) * device < longest]
    one = next((each.stored for each in found.by_format if each.accelerators == 1), None)
    heading = f"No quantisation fits one {name}" if one is None else f"Stored in {one}, it fits one {name}"
    plot = Bars(
        title="GiB of memory by quantisation",
        description="; ".join(f"{each.stored}: {each.total_bytes / GIB:.1f} GiB" for each in found.by_format)
        + f"; one {name} has {device:.1f} GiB for an engine",
        bars=tuple(_memory(each) for each in found.by_format),
        marks=tuple(marks),
    )
    return _figure(
        heading,
        f"{advice.needs.model.uri} with room for one request of {advice.needs.model.context_tokens:,} tokens.",
        _swatches(("first", "weights"), ("fourth", "engine"), ("second", "cache of one request")),
        _twice("memory", lambda width, prefix: bar_plot(plot, width, prefix)),
        html_table(
            f"GiB of memory by quantisation; of one {name} an engine may use {round(device, 2)}",
            (
                Column("weights in", "stored", is_number=False),
                Column("weights", "weightGiB", count),
                Column("engine", "engineGiB", count),
                Column("cache", "cacheGiB", count),
                Column("together", "totalGiB", count),
                Column(f"of {name}, at least", "accelerators", count),
            ),
            rows,
        ),
    )


def _cheapest(least: SetupCost) -> str:
    said = f"By the capacity that setups state, {least.setup} costs least"
    more = least.roofline_units
    return said if more is None or more <= least.units else f"{said}; by the roofline it would take {more} of it"


def _first(place: PlaceTime) -> Bar:
    parts = (("first", place.round_trip), ("fourth", place.queue), ("second", place.model))
    return Bar(place.place, f"{place.to_first_token:,.0f} ms", parts)


def _last(place: PlaceTime) -> Bar:
    parts = (*_first(place).parts, ("third", place.to_last_token - place.to_first_token))
    return Bar(place.place, f"{place.to_last_token / _SECOND:,.1f} s", parts)


def _memory(each: FormatMemory) -> Bar:
    parts = (("first", each.weight_bytes), ("fourth", each.engine_bytes), ("second", each.cache_bytes))
    return Bar(each.stored, f"{each.total_bytes / GIB:.1f} GiB", tuple((kind, size / GIB) for kind, size in parts))


def _figure(heading: str, caption: str, legend: Iterable[Markup], drawn: Markup, numbers: Markup) -> Markup:
    return tag(
        "section",
        tag("h2", heading),
        tag("figure", tag("figcaption", caption), tag("ul", *legend, class_="legend"), drawn),
        numbers,
    )


def _twice(name: str, draw: Callable[[int, str], Markup]) -> Markup:
    """A plot for wide screens and one for narrow ones, of which the page shows the one that can be read."""
    return Markup(draw(_WIDE, name) + draw(_NARROW, f"{name}-narrow"))


def _stroke(kind: str, label: str) -> Markup:
    return tag("li", tag("span", class_=f"stroke {kind}"), label)


def _swatches(*named: tuple[str, str]) -> Iterator[Markup]:
    for kind, label in named:
        yield tag("li", tag("span", class_=f"swatch {kind}"), label)


FIGURES: Final[Mapping[str, Callable[[Advice, Curves, Sequence[Row]], Markup]]] = {
    "byVolume": cost_by_volume,
    "bySetup": cost_by_setup,
    "byPlace": latency_by_place,
    "byFormat": memory_by_format,
}
"""Each figure by the name of its rows."""
