"""`spillway advise`: read, measure or ask, advise, print."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import orjson
from rich.console import Console

from spillway.advisor.advice import advise
from spillway.advisor.needs import Needs, parse_needs, read_document, read_needs
from spillway.advisor.prices import own_prices
from spillway.advisor.scenarios import find_scenario, scenarios
from spillway.advisor.traffic import measured_needs
from spillway.errors import InvalidSetting
from spillway.report.ask import ask
from spillway.report.files import read_prices, read_setups, read_text, write_text
from spillway.report.mapping import mapping
from spillway.report.measured import measured, measured_mapping, measured_words
from spillway.report.page import page
from spillway.report.source import read_source
from spillway.report.words import words
from spillway.terminal import console


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviseSettings:
    """What `spillway advise` is asked with: a file of needs, the name of a scenario, or neither: then it asks.

    `source`: where traffic was measured, which then takes the place of what needs say of it; `days`: of how many, where
    the source does not tell. `html`: a file to write the page to, beside what is printed.
    """

    needs: Path | None
    scenario: str | None
    source: str | None
    days: float | None
    prices: Path | None
    setups: Path | None
    json: bool
    html: Path | None
    today: date


def run(settings: AdviseSettings) -> None:
    """Print the advice.

    Raises:
        InvalidSetting: an option or a file cannot be used.
        InvalidObject: a field of the needs or of a price cannot be used; names it, its value and the choices.
    """
    prices = read_prices(settings.prices)
    traffic = None if settings.source is None else read_source(settings.source, settings.days)
    needs = _needs(settings) if traffic is None else parse_needs(measured_needs(_document(settings), traffic))
    advice = advise(needs, settings.today, prices, read_setups(settings.setups))
    found = None if traffic is None else measured(traffic, advice, own_prices() if prices is None else prices)
    if settings.html is not None:
        write_text(settings.html, page(advice, settings.today, found), "--html")
    if settings.json:
        told = mapping(advice) if found is None else {**mapping(advice), "measured": measured_mapping(found)}
        print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())  # noqa: T201 - what the command is for
        return
    shown = console()
    if found is not None:
        shown.print(measured_words(found), "")
    shown.print(words(advice))


def _document(settings: AdviseSettings) -> Mapping[str, object]:
    """What is stated beside traffic that was measured."""
    if settings.scenario is not None:
        raise InvalidSetting("--scenario: there is --from as well; state what else is needed with --needs")
    return {} if settings.needs is None else read_document(read_text(settings.needs, "--needs"))


def _needs(settings: AdviseSettings) -> Needs:
    if settings.days is not None:
        raise InvalidSetting("--days: it goes with --from, for metrics; leave it out")
    if settings.needs is not None and settings.scenario is not None:
        raise InvalidSetting("--scenario: there is --needs as well; state one of them")
    if settings.scenario is not None:
        return find_scenario(settings.scenario).needs
    if settings.needs is not None:
        return read_needs(read_text(settings.needs, "--needs"))
    if not sys.stdin.isatty():
        names = "|".join(case.name for case in scenarios())
        raise InvalidSetting(f"--needs: there is no file, and no terminal to ask on; state it, or --scenario {names}")
    asking = Console(stderr=True, highlight=False)
    return ask(asking.input, lambda text: asking.print(text, style="yellow", markup=False))
