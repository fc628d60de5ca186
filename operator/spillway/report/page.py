"""Advice as one page of HTML that needs nothing else: no script, no font, no picture, no network."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from importlib import resources
from typing import Final

import yaml

from spillway import __version__
from spillway.advisor.advice import Advice
from spillway.advisor.costs import cents
from spillway.advisor.curves import curves
from spillway.advisor.decision import Force, Recommendation
from spillway.report.figures import FIGURES
from spillway.report.html_table import Column, count, dollars, html_table
from spillway.report.mapping import choice, reason
from spillway.report.markup import Markup, tag
from spillway.report.measured import Measured, caveats, measured_lines
from spillway.report.plots import plots
from spillway.report.volume_plot import short_tokens

_ANSWERS: Final = {
    Recommendation.API: "use an API",
    Recommendation.SELF_HOST: "host it yourself",
    Recommendation.HYBRID: "host it yourself, and use an API beside it",
}


def page(advice: Advice, today: date, found: Measured | None = None) -> str:
    """The document, as of `today`; with what was `found` in traffic, if that was measured."""
    css = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    title = f"{advice.needs.name}: {_ANSWERS[advice.recommendation]}"
    document = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", title),
            tag("style", Markup(css)),
        ),
        tag("body", tag("main", *_parts(advice, title, today, found))),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{document}\n"


def _parts(advice: Advice, title: str, today: date, measured: Measured | None) -> Iterator[Markup]:
    yield tag("header", tag("h1", title), tag("p", _why(advice)), class_="answer")
    yield _cards(advice)
    for warning in advice.warnings:
        yield tag("p", warning, class_="warning")
    if measured is not None:
        yield from _measured(measured)
    found = curves(advice)
    rows = plots(found)
    for name, draw in FIGURES.items():
        yield draw(advice, found, rows[name])
    yield tag("h2", "Why")
    yield _reasons(advice)
    yield tag("h2", "What runs it, cheapest first")
    yield _hardware(advice)
    yield from _patterns(advice)
    yield tag("footer", *_sources(advice, today), class_="quiet")


def _measured(found: Measured) -> Iterator[Markup]:
    for alert in found.alerts:
        yield tag("p", alert, class_="warning")
    for caveat in caveats(found.traffic):
        yield tag("p", caveat, class_="warning")
    yield tag("h2", "What was measured")
    columns = (Column("figure", "what", is_number=False), Column("is", "is", is_number=False))
    rows = [{"what": label, "is": value} for label, value in measured_lines(found)]
    yield html_table(f"Of {found.traffic.source}", columns, rows)


def _why(advice: Advice) -> str:
    said = [each for each in advice.reasons if each.says is advice.recommendation]
    return f"{advice.recommendation}, by {', '.join(dict.fromkeys(each.criterion for each in said))}."


def _cards(advice: Advice) -> Markup:
    it = advice.figures
    even = it.break_even_tokens_per_month
    cards = (
        ("API, a month", f"${cents(it.api_usd):,}"),
        (f"{it.units} x {it.setup.name}, a month", f"${cents(it.self_host_usd):,}"),
        ("hybrid, a month", f"${cents(it.hybrid_usd):,}"),
        ("break-even, tokens a month", "never" if even is None else short_tokens(float(even))),
    )
    return tag("ul", *(tag("li", label, tag("b", value)) for label, value in cards), class_="cards")


def _reasons(advice: Advice) -> Markup:
    columns = (
        Column("criterion", "criterion", is_number=False),
        Column("figure", "figure", is_number=False),
        Column("says", "says", is_number=False),
        Column("weight", "weight", count),
        Column("because", "text", is_number=False),
    )
    caption = "Each reason: what it goes by, what it says, how much it weighs"
    if any(each.force is not Force.WEIGHS for each in advice.reasons):
        excluded = ", ".join(sorted(advice.decision.excluded))
        caption += f"; ruled out: {excluded}"
    rows = [reason(each) for each in advice.reasons]
    return html_table(caption, columns, rows, lambda row: row["says"] == advice.recommendation.value)


def _hardware(advice: Advice) -> Markup:
    if not advice.hardware:
        return tag("p", "No machine that is known runs this model so: take fewer bits, or a shorter context.")
    columns = (
        Column("accelerators", "count", count),
        Column("of", "product", is_number=False),
        Column("price, about", "purchaseUsd", dollars),
        Column("watts", "watts", count),
        Column("tokens/s alone", "oneSequenceTokensPerSecond", count),
        Column("tokens/s at most", "mostTokensPerSecond", count),
    )
    caption = f"{advice.needs.model.uri} with {advice.needs.model.context_tokens:,} tokens, by the roofline"
    return html_table(caption, columns, [choice(way) for way in advice.hardware])


def _patterns(advice: Advice) -> Iterator[Markup]:
    if not advice.patterns:
        return
    yield tag("h2", "What to apply")
    for pattern in advice.patterns:
        yield tag("p", tag("b", f"{pattern.name}: "), pattern.text)
        yield tag("pre", yaml.safe_dump_all(pattern.objects, sort_keys=False).rstrip(), tabindex="0")


def _sources(advice: Advice, today: date) -> Iterator[Markup]:
    price, setup = advice.figures.price, advice.figures.setup
    yield tag("p", f"Price of {price.name}: {price.source}, {price.date}. {setup.name}: {setup.source}, {setup.date}.")
    yield tag(
        "p", f"Latency of places as published; speed by the roofline, not measured. Spillway {__version__}, {today}."
    )
