"""What a plan costs, as it is printed: lines for people, a mapping for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from rich.console import RenderableType

from spillway.advisor.costs import cents, shown_usd
from spillway.advisor.running import Running
from spillway.terminal import facts_table

_SHARES: Final = (Decimal("0.1"), Decimal("0.5"), Decimal(1))
"""Of what the replicas could serve: hardly used, usual, never idle."""


def cost_table(found: Running) -> RenderableType:
    """The cost of a plan for people: dollars of an hour and a month, of a million tokens here and there."""
    return facts_table(_lines(found))


def cost_mapping(found: Running) -> Mapping[str, object]:
    """The same for programs: dollars as strings, what is not known is null."""
    even = found.break_even_tokens_per_day
    return {
        "replicas": found.replicas,
        "hourlyUsd": shown_usd(found.usd_per_hour),
        "monthlyUsd": shown_usd(found.usd_per_month),
        "promptTokens": found.mix.input_tokens,
        "answerTokens": found.mix.output_tokens,
        "mostTokensPerDay": found.tokens_per_day,
        "localUsdPerMillionTokens": [
            {"utilizationPercent": int(100 * share), "usd": shown_usd(found.local_usd_per_million(share))}
            for share in _SHARES
        ],
        "target": None if found.target is None else found.target.name,
        "cloudUsdPerMillionTokens": shown_usd(found.cloud_usd_per_million),
        "breakEvenTokensPerDay": None if even is None else int(even),
    }


def _lines(found: Running) -> Iterator[tuple[str, str]]:
    hour, month, mix = found.usd_per_hour, found.usd_per_month, found.mix
    if hour is None or month is None:
        yield "cost", f"not known: state hourlyCost in the profile {found.profile}"
    else:
        replicas = f"{found.replicas} replica{'' if found.replicas == 1 else 's'}"
        devices = f" of {found.accelerators} x {found.profile}" if found.accelerators else f" on {found.profile}"
        yield "cost", f"${cents(hour):,} an hour, ${cents(month):,} a month: {replicas}{devices}"
        yield from _here(found)
    if found.target is None or found.cloud_usd_per_million is None:
        yield "cloud", "no target of fallback states a price"
        return
    where = f"{found.target.name}, {found.target.model}"
    yield "cloud", f"${cents(found.cloud_usd_per_million):,} a million tokens at {where}"
    even, most = found.break_even_tokens_per_day, found.tokens_per_day
    if even is None:
        return
    share = "" if not most else f", {100 * even / most:.1f} % of what the replicas could serve"
    never = " - more than that: the target always costs less" if most is not None and even > most else ""
    yield "break-even", f"{even / 10**6:,.2f}M tokens a day{share}{never}"
    yield "reckoned", f"with requests of {mix.input_tokens} and answers of {mix.output_tokens} tokens"


def _here(found: Running) -> Iterator[tuple[str, str]]:
    reached = found.replica_tokens_per_second
    if reached is None or not found.replicas:
        return
    shares = [(share, found.local_usd_per_million(share)) for share in _SHARES]
    said = ", ".join(f"${cents(usd):,} at {100 * share:.0f} %" for share, usd in shares if usd is not None)
    most = f"of {found.replicas * reached:,.0f} tokens/s, the most by the roofline"
    yield "here", f"a million tokens: {said} {most}"
