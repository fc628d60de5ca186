"""Bars of several parts, each below its name and its number, with marks across all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from spillway.report.markup import Markup, tag

_ROW: Final = 46
_BAR: Final = 16
_TOP: Final = 24
_LETTER: Final = 7.5
"""About the width of a letter, by which names are kept apart."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its name, the number as it is shown, its parts as (class, length); none: there is nothing to draw."""

    name: str
    shown: str
    parts: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A line across the bars, with its name at the top."""

    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A plot of bars; `title` and `description` are for those who do not see it."""

    title: str
    description: str
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...] = ()


def bar_plot(plot: Bars, width: int, name: str) -> Markup:
    """The plot, `width` units wide; its ids begin with `name`."""
    top = _TOP if plot.marks else 4
    height = top + _ROW * len(plot.bars) + 6
    longest = max((sum(length for _, length in bar.parts) for bar in plot.bars), default=0) or 1.0
    scale = (width - 8) / max(longest, *(0.0, *(mark.value * 1.02 for mark in plot.marks)))
    return tag(
        "svg",
        tag("title", plot.title, id=f"{name}-title"),
        tag("desc", plot.description, id=f"{name}-desc"),
        *_marks(plot.marks, scale, width, height),
        *(piece for index, bar in enumerate(plot.bars) for piece in _bar(bar, top + index * _ROW, scale, width)),
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        viewBox=f"0 0 {width} {height}",
        class_="wide" if width > 500 else "narrow",
    )


def _bar(bar: Bar, top: float, scale: float, width: int) -> Iterator[Markup]:
    yield tag("text", bar.name, x=4, y=top + 16, class_="halo")
    yield tag("text", bar.shown, x=width - 4, y=top + 16, text_anchor="end", class_="strong halo")
    left = 4.0
    for kind, length in bar.parts:
        if length > 0:
            yield tag("rect", x=left, y=top + 22, width=max(1.0, length * scale), height=_BAR, class_=f"part {kind}")
            left += length * scale


def _marks(marks: Sequence[Mark], scale: float, width: int, height: int) -> Iterator[Markup]:
    taken = -1.0
    for mark in marks:
        at = 4 + mark.value * scale
        yield tag("line", x1=at, x2=at, y1=_TOP - 6, y2=height - 4, class_="mark")
        long = _LETTER * len(mark.name)
        from_end = at + long > width
        left = at - 4 - long if from_end else at + 4
        if left > taken:
            yield tag(
                "text", mark.name, x=at - 4 if from_end else left, y=14, text_anchor="end" if from_end else "start"
            )
            taken = left + long
