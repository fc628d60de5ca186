"""Tables of a page: rows of numbers as they are for programs, shown for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from spillway.report.markup import Markup, tag

NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its head, the key of the rows that it shows, and how. Numbers are aligned to the right."""

    head: str
    key: str
    show: Callable[[object], str] = str
    is_number: bool = True


def html_table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Mapping[str, object]],
    is_marked: Callable[[Mapping[str, object]], bool] = lambda _: False,
) -> Markup:
    """The rows as a table that scrolls by itself where it is too wide; what is not known is a dash."""
    head = (tag("th", column.head, scope="col", class_=_kind(column)) for column in columns)
    body = (
        tag(
            "tr",
            *(tag("td", _shown(column, row.get(column.key)), class_=_kind(column)) for column in columns),
            class_="marked" if is_marked(row) else "",
        )
        for row in rows
    )
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body), aria_label=caption)
    scrolled = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)
    return tag("div", tag("p", caption, class_="quiet caption"), scrolled)


def dollars(value: object) -> str:
    """Dollars: $15,000.00 of "15000.00"."""
    whole, _, rest = str(value).partition(".")
    return f"${int(whole):,}.{rest}" if not whole.startswith("-") else f"-${-int(whole):,}.{rest}"


def count(value: object) -> str:
    """A whole number, with commas."""
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _shown(column: Column, value: object) -> str:
    return NOTHING if value is None else column.show(value)


def _kind(column: Column) -> str:
    return "number" if column.is_number else "words"
