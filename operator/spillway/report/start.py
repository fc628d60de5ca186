"""`spillway advise`: read or ask, advise, print."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import orjson
from rich.console import Console

from spillway.advisor.advice import advise
from spillway.advisor.needs import Needs, read_needs
from spillway.advisor.scenarios import find_scenario, scenarios
from spillway.errors import InvalidSetting
from spillway.report.ask import ask
from spillway.report.files import read_prices, read_text, write_text
from spillway.report.mapping import mapping
from spillway.report.page import page
from spillway.report.words import words

_PIPED_WIDTH = 132


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviseSettings:
    """What `spillway advise` is asked with: a file of needs, the name of a scenario, or neither: then it asks.

    `html`: a file to write the page to, beside what is printed.
    """

    needs: Path | None
    scenario: str | None
    prices: Path | None
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
    advice = advise(_needs(settings), settings.today, prices)
    if settings.html is not None:
        write_text(settings.html, page(advice, settings.today), "--html")
    if settings.json:
        print(orjson.dumps(mapping(advice), option=orjson.OPT_INDENT_2).decode())  # noqa: T201 - what the command is for
        return
    Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(words(advice))


def _needs(settings: AdviseSettings) -> Needs:
    if settings.needs is not None and settings.scenario is not None:
        raise InvalidSetting("--scenario: there is --needs as well; state one of them")
    if settings.scenario is not None:
        return find_scenario(settings.scenario).needs
    if settings.needs is not None:
        return read_needs(read_text(settings.needs, "--needs"))
    if not sys.stdin.isatty():
        names = "|".join(case.name for case in scenarios())
        raise InvalidSetting(f"--needs: there is no file, and no terminal to ask on; state it, or --scenario {names}")
    console = Console(stderr=True, highlight=False)
    return ask(console.input, lambda text: console.print(text, style="yellow", markup=False))
