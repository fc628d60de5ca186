"""Traffic that was measured, as it is told: what it cost, what it would have cost elsewhere, when to change, room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from spillway.advisor.advice import Advice
from spillway.advisor.costs import cents, shown_usd
from spillway.advisor.prices import ListPrice
from spillway.advisor.traffic import DAY_SECONDS, Elsewhere, Room, Traffic, alerts, capacity, elsewhere, local_usd
from spillway.terminal import facts_table

_UNITS: Final = ((DAY_SECONDS, "days"), (3600, "hours"), (60, "minutes"))


@dataclass(frozen=True, slots=True)
class Measured:
    """Traffic with what follows from it."""

    traffic: Traffic
    setup: str
    local_usd: Decimal
    elsewhere: tuple[Elsewhere, ...]
    alerts: tuple[str, ...]
    rooms: tuple[Room, ...]
    break_even_tokens_per_day: Decimal | None


def measured(traffic: Traffic, advice: Advice, prices: Sequence[ListPrice]) -> Measured:
    """What follows from `traffic`, with the advice on it and the `prices` to compare with."""
    found = advice.figures
    return Measured(
        traffic=traffic,
        setup=f"{found.units} x {found.setup.name}",
        local_usd=local_usd(traffic, found),
        elsewhere=elsewhere(traffic, prices),
        alerts=alerts(traffic),
        rooms=capacity(traffic, found),
        break_even_tokens_per_day=found.break_even_tokens_per_day,
    )


def measured_words(found: Measured) -> RenderableType:
    """For people, on a terminal."""
    notes = [Text(f"alert: {each}", style="bold red") for each in found.alerts]
    return Group(
        facts_table(measured_lines(found)),
        *notes,
        *(Text(f"note: {each}", style="yellow") for each in caveats(found.traffic)),
    )


def measured_lines(found: Measured) -> Iterator[tuple[str, str]]:
    """Each figure with its name."""
    it, served = found.traffic, found.traffic.all
    split = f"{_millions(it.local.tokens)} here and {_millions(it.cloud.tokens)} at the cloud"
    said = f"{served.requests:,} requests in {_duration(it.seconds)}: {_millions(served.tokens)} tokens, {split}"
    yield "measured", said
    yield "it cost", f"${cents(it.spent_usd):,} at the cloud; ${cents(found.local_usd):,} here, were it {found.setup}"
    yield "elsewhere", "; ".join(f"{each.price.name} ${cents(each.usd):,}" for each in found.elsewhere)
    if it.shadow_usd:
        yield "shadow", f"${cents(it.shadow_usd):,} is what spills of fallback.mode Shadow would have cost"
    month = it.a_month(Decimal(served.tokens))
    bill = it.a_month(it.spent_usd)
    yield "a month so", f"{_millions(int(month))} tokens, ${cents(bill):,} at the cloud"
    even, a_day = found.break_even_tokens_per_day, served.tokens * DAY_SECONDS / it.seconds
    when = "never" if even is None else f"{_millions(int(even))} tokens a day"
    yield "change at", f"{when}, for {found.setup} to cost less than the API; now it is {_millions(int(a_day))}"
    for room in found.rooms:
        roofline = "" if room.roofline_units is None else f", {room.roofline_units} by the roofline"
        name = found.setup.partition(" x ")[2]
        yield f"room, {room.name}", f"{room.tokens_per_second:,.1f} tokens/s: {room.units} x {name}{roofline}"


def caveats(traffic: Traffic) -> Iterator[str]:
    """What was left out, and what is a guess."""
    if traffic.bad:
        yield f"{traffic.bad:,} of {traffic.lines:,} lines could not be read; the first is {traffic.first_bad}"
    if traffic.unmeasured:
        yield f"{traffic.unmeasured:,} requests were served without a report of their tokens, and are not counted"
    if traffic.seconds < DAY_SECONDS:
        yield f"measured over {_duration(traffic.seconds)}: what a month of it would be is a guess"


def measured_mapping(found: Measured) -> Mapping[str, object]:
    """For programs: dollars are strings."""
    it = found.traffic
    even = found.break_even_tokens_per_day
    return {
        "source": it.source,
        "seconds": round(it.seconds, 3),
        "requests": it.all.requests,
        "localTokens": it.local.tokens,
        "cloudTokens": it.cloud.tokens,
        "promptTokens": it.all.prompt_tokens,
        "cachedPromptTokens": it.all.cached_prompt_tokens,
        "completionTokens": it.all.completion_tokens,
        "unmeasuredRequests": it.unmeasured,
        "unservedRequests": it.unserved,
        "cloudUsd": shown_usd(it.spent_usd),
        "shadowUsd": shown_usd(it.shadow_usd),
        "localUsd": shown_usd(found.local_usd),
        "cloudUsdPerMonth": shown_usd(it.a_month(it.spent_usd)),
        "elsewhere": [{"price": each.price.name, "usd": shown_usd(each.usd)} for each in found.elsewhere],
        "breakEvenTokensPerDay": None if even is None else int(even),
        "alerts": list(found.alerts),
        "capacity": [
            {
                "of": room.name,
                "tokensPerSecond": round(room.tokens_per_second, 3),
                "units": room.units,
                "rooflineUnits": room.roofline_units,
            }
            for room in found.rooms
        ],
        "lines": it.lines,
        "badLines": it.bad,
        "firstBadLine": it.first_bad or None,
    }


def _duration(seconds: float) -> str:
    for size, name in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def _millions(tokens: int) -> str:
    return f"{tokens / 10**6:,.2f}M" if tokens >= 10_000 else f"{tokens:,}"
