"""Advice for people, on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from math import isinf

import yaml
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from spillway.advisor.advice import Advice
from spillway.advisor.costs import cents, tokens_usd
from spillway.advisor.decision import Force
from spillway.advisor.latency import Promise
from spillway.terminal import facts_table

_SHOWN_HARDWARE = 6


def words(advice: Advice) -> RenderableType:
    """The recommendation with its reasons, the dollars, what the hardware would be, and what to mind."""
    decision = advice.decision
    scores = ", ".join(
        f"{answer} {'ruled out' if answer in decision.excluded else score}" for answer, score in decision.scores.items()
    )
    parts: list[RenderableType] = [
        Text.assemble((f"{advice.needs.name}: ", "bold"), (decision.recommendation, "bold green"), f"  ({scores})"),
        Text(),
        _reasons(advice),
        Text(),
        facts_table(_lines(advice)),
        Text(),
        _hardware(advice),
    ]
    for pattern in advice.patterns:
        parts += [Text(), Text.assemble((f"{pattern.name}: ", "bold"), pattern.text)]
    if advice.patterns:
        best = yaml.safe_dump_all(advice.patterns[0].objects, sort_keys=False)
        parts += [Text(), Text(best.rstrip(), style="dim", no_wrap=True, overflow="ignore")]
    parts += [Text(f"note: {warning}", style="yellow") for warning in advice.warnings]
    return Group(*parts)


def _reasons(advice: Advice) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), expand=False)
    table.add_column("criterion", no_wrap=True)
    table.add_column("figure", overflow="fold", ratio=2)
    table.add_column("says", no_wrap=True)
    table.add_column("weight", justify="right", no_wrap=True)
    table.add_column("because", overflow="fold", ratio=2)
    for reason in advice.reasons:
        says = "-" if reason.says is None else reason.says.value
        weight = str(reason.weight) if reason.force is Force.WEIGHS else f"{reason.weight} !"
        style = "bold" if reason.says is advice.recommendation else "dim" if reason.says is None else ""
        table.add_row(reason.criterion, reason.figure, says, weight, reason.text, style=style)
    if any(reason.force is not Force.WEIGHS for reason in advice.reasons):
        table.caption = "!: rules other answers out"
        table.caption_justify = "left"
    return table


def _lines(advice: Advice) -> Iterator[tuple[str, str]]:
    it = advice.figures
    own = it.unit.times(it.units)
    a_million = f"{it.price.name} at ${it.blended_usd_per_million:.2f} a million ({it.price.date})"
    parts = f"hardware ${cents(own.hardware):,}, power ${cents(own.power):,}, people ${cents(own.people):,}"
    leaving = f"${cents(it.hybrid_cloud_usd):,} for the {advice.needs.cloud_percent.normalize():f} % that leave"
    yield "API", f"${cents(it.api_usd):,} a month: {a_million}"
    yield "self-hosted", f"${cents(own.total):,} a month: {it.units} x {it.setup.name}; {parts}"
    yield "hybrid", f"${cents(it.hybrid_usd):,} a month: {it.hybrid_units} x {it.setup.name}, and {leaving}"
    month, day = it.break_even_tokens_per_month, it.break_even_tokens_per_day
    if month is not None and day is not None:
        yield "break-even", f"of self-hosting: {month / 10**6:,.1f}M tokens a month, {day / 10**6:,.2f}M a day"
    else:
        worth = f"${cents(tokens_usd(it.full_tokens, it.blended_usd_per_million)):,}"
        least = f"{it.least_units} x {it.setup.name} for ${cents(it.unit.times(it.least_units).total):,}"
        yield "break-even", f"never: {least} is full at {it.full_tokens / 10**6:,.0f}M tokens, {worth} at the API"
    if it.effective_usd_per_million is not None:
        used = f"{100 * it.utilization:.1f} % of the units used"
        yield "effective", f"${cents(it.effective_usd_per_million):,} a million tokens self-hosted, {used}"
    if it.payback_months is not None:
        yield "payback", f"{it.payback_months:.1f} months"
    yield from _speed(advice)
    for where, promise in (("first token, cloud", it.cloud), ("first token, here", it.local)):
        if promise is not None:
            yield where, _promised(promise)
    steps = " ".join(f"{step.question} {'yes.' if step.yes else 'no.'}" for step in advice.steps)
    yield "flowchart", f"{advice.flowchart}: {steps}"
    held = [each.name for each in advice.triggers if each.holds]
    yield "triggers", f"{len(held)} of {len(advice.triggers)}" + (f": {', '.join(held)}" if held else "")


def _speed(advice: Advice) -> Iterator[tuple[str, str]]:
    it = advice.figures
    if it.speed is None or it.plan is None:
        return
    replicas = f"{it.replicas} replica{'' if it.replicas == 1 else 's'} of {max(1, it.plan.accelerators)}"
    first = f"first token of a prompt alone {it.speed.first_token_milliseconds:.0f} ms"
    alone, most = it.speed.one_sequence_tokens_per_second, it.speed.most_tokens_per_second
    rates = f"{alone:.0f} tokens/s alone, {most:,.0f} of {it.speed.sequences} at once"
    yield "by the roofline", f"{replicas} x {it.setup.accelerator}: {first}, {rates}"


def _promised(promise: Promise) -> str:
    slowest = promise.percentile_milliseconds
    most = "never: the queue only grows" if isinf(slowest) else f"{slowest:,.0f} ms"
    return (
        f"{100 * promise.share_in_time:.1f} % within {promise.limit_milliseconds:g} ms; "
        f"{promise.percentile:g} % within {most}"
    )


def _hardware(advice: Advice) -> RenderableType:
    if not advice.hardware:
        return Text("no machine that is known runs this model so: fewer bits, a shorter context or a smaller model")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), title_justify="left")
    table.title = f"what runs {advice.needs.model.uri} with {advice.needs.model.context_tokens} tokens, cheapest first"
    table.add_column("hardware")
    table.add_column("price, about", justify="right")
    table.add_column("power", justify="right")
    table.add_column("tokens/s alone", justify="right")
    table.add_column("tokens/s at most", justify="right")
    for way in advice.hardware[:_SHOWN_HARDWARE]:
        table.add_row(
            f"{max(1, way.plan.accelerators)} x {way.accelerator.product}",
            f"${way.purchase_usd:,}",
            f"{way.watts:,} W",
            "" if way.speed is None else f"{way.speed.one_sequence_tokens_per_second:,.0f}",
            "" if way.speed is None else f"{way.speed.most_tokens_per_second:,.0f}",
        )
    return table
