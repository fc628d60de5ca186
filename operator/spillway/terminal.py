"""How commands print for people: as wide as their terminal, and facts beside their names."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.table import Table

# Enough for the longest line of a table where there is no terminal to ask.
_PIPED_WIDTH: Final = 132


def console() -> Console:
    """Standard output."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)


def facts_table(facts: Iterable[tuple[str, str]]) -> Table:
    """Each fact's name, then what it is."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in facts:
        table.add_row(label, value)
    return table
