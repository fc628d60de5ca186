"""Cost against volume, both on logarithmic axes, with the crossover and one's own volume marked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import floor, log10
from typing import Final

from spillway.advisor.costs import cents
from spillway.advisor.figures import Bill, Figures
from spillway.report.markup import Markup, tag

_LEFT: Final = 62
_TOP: Final = 40
_BOTTOM: Final = 46
_POINTS_A_DECADE: Final = 160
_SHORT: Final = 250
_STEPS: Final = (1.0, 2.0, 5.0)
"""Of each decade, what an axis may end at, and what is marked on a short one."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its class, its name, its dollars, and the units of which one more is a step."""

    kind: str
    name: str
    usd: Callable[[Bill], Decimal]
    units: Callable[[Bill], int]


LINES: Final = (
    Line("api", "API", lambda bill: bill.api_usd, lambda _: 0),
    Line("own", "self-hosted", lambda bill: bill.self_host_usd, lambda bill: bill.units),
    Line("both", "hybrid", lambda bill: bill.hybrid_usd, lambda bill: bill.hybrid_units),
)


@dataclass(frozen=True, slots=True)
class _Axis:
    """A logarithmic axis from `least` to `most`, drawn from `start` to `end`."""

    least: float
    most: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (log10(max(value, 1e-9)) - log10(self.least)) / (log10(self.most) - log10(self.least))
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    @property
    def ticks(self) -> Iterator[float]:
        """Its decades; of a short axis their halves and fifths too."""
        steps = _STEPS if self.most / self.least < _SHORT else (1.0,)
        for power in range(floor(log10(self.least)), floor(log10(self.most) + 1e-9) + 1):
            for step in steps:
                if self.least * 0.999 <= step * 10.0**power <= self.most * 1.001:
                    yield step * 10.0**power


def volume_plot(found: Figures, shown: Sequence[Bill], width: int, name: str) -> Markup:
    """The plot, `width` units wide; its ids begin with `name`."""
    height = 380 if width > 500 else 330
    dollars = [float(line.usd(bill)) for bill in shown for line in LINES]
    x = _Axis(shown[0].tokens, shown[-1].tokens, _LEFT, width - 14)
    positive = [amount for amount in dollars if amount > 0] or [1.0]
    y = _Axis(_below(min(positive)), _above(max(positive)), height - _BOTTOM, _TOP)
    bills = _bills(found, x)
    return tag(
        "svg",
        tag("title", "Dollars a month by tokens a month", id=f"{name}-title"),
        tag("desc", _described(found), id=f"{name}-desc"),
        *_grid(x, y, height),
        *(_path(bills, line, x, y) for line in LINES),
        *_own_volume(found, x, height),
        *_crossover(found, x, y),
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        viewBox=f"0 0 {width} {height}",
        class_="wide" if width > 500 else "narrow",
    )


def short_tokens(count: float) -> str:
    """Tokens as an axis shows them: 500M, 2B."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.3g}"


def short_usd(amount: float) -> str:
    """Dollars as an axis shows them: $500, $20K."""
    return f"${short_tokens(amount)}" if amount >= 1 else f"${amount:.2g}"


def _described(found: Figures) -> str:
    own = found.bill(found.tokens)
    said = ", ".join(f"{line.name} ${cents(line.usd(own)):,}" for line in LINES)
    even = found.break_even_tokens_per_month
    crossing = "they never cross" if even is None else f"API and self-hosting cross at {short_tokens(float(even))}"
    return f"At {short_tokens(found.tokens)} tokens a month: {said}; {crossing}."


def _grid(x: _Axis, y: _Axis, height: int) -> Iterator[Markup]:
    for value in y.ticks:
        yield tag("line", x1=x.start, x2=x.end, y1=y.at(value), y2=y.at(value), class_="grid")
        yield tag("text", short_usd(value), x=_LEFT - 8, y=y.at(value) + 4, text_anchor="end")
    for value in x.ticks:
        yield tag("line", x1=x.at(value), x2=x.at(value), y1=y.start, y2=y.end, class_="grid")
        yield tag("text", short_tokens(value), x=x.at(value), y=height - _BOTTOM + 18, text_anchor="middle")
    yield tag("line", x1=x.start, x2=x.end, y1=y.start, y2=y.start, class_="axis")
    yield tag("text", "tokens a month", x=(x.start + x.end) / 2, y=height - 8, text_anchor="middle")
    yield tag("text", "dollars a month", x=4, y=14)


def _bills(found: Figures, x: _Axis) -> Sequence[Bill]:
    """What lines are drawn of: so many volumes, evenly along the axis."""
    count = max(2, int(_POINTS_A_DECADE * (log10(x.most) - log10(x.least))))
    return [found.bill(int(x.least * (x.most / x.least) ** (step / count))) for step in range(count + 1)]


def _path(bills: Sequence[Bill], line: Line, x: _Axis, y: _Axis) -> Markup:
    corners: list[tuple[float, float]] = []
    units = line.units(bills[0])
    for bill in bills:
        left, top = x.at(bill.tokens), y.at(float(line.usd(bill)))
        if line.units(bill) != units:
            corners.append((left, corners[-1][1]))  # a unit more is a step up, not a slope
            units = line.units(bill)
        elif len(corners) > 1 and corners[-1][1] == corners[-2][1] == top:
            corners.pop()  # of a level stretch its two ends say all
        corners.append((left, top))
    return tag("path", d="M" + " L".join(f"{left:.1f},{top:.1f}" for left, top in corners), class_=f"line {line.kind}")


def _above(amount: float) -> float:
    decade = 10.0 ** floor(log10(amount))
    return next((step * decade for step in _STEPS if step * decade >= amount), 10 * decade)


def _below(amount: float) -> float:
    decade = 10.0 ** floor(log10(amount))
    return next(step * decade for step in reversed(_STEPS) if step * decade <= amount)


def _own_volume(found: Figures, x: _Axis, height: int) -> Iterator[Markup]:
    at = x.at(found.tokens)
    anchor = "end" if at > (x.start + x.end) / 2 else "start"
    yield tag("line", x1=at, x2=at, y1=_TOP - 6, y2=height - _BOTTOM, class_="mark")
    said = f"yours: {short_tokens(found.tokens)}"
    yield tag("text", said, x=at + (-6 if anchor == "end" else 6), y=_TOP - 10, text_anchor=anchor, class_="strong")


def _crossover(found: Figures, x: _Axis, y: _Axis) -> Iterator[Markup]:
    even = found.break_even_tokens_per_month
    if even is None:
        return
    usd = found.unit.times(found.least_units).total
    left, top = x.at(float(even)), y.at(float(usd))
    yield tag("circle", cx=left, cy=top, r=6, class_="crossing")
    said = f"break-even {short_tokens(float(even))}, {short_usd(float(usd))}"
    wide = 7.5 * len(said)
    # On the right of the crossing there is no line below it; where there is no room, it stands below the crossing.
    if left + 10 + wide < x.end:
        yield tag("text", said, x=left + 10, y=top + 22, class_="strong halo")
    else:
        yield tag("text", said, x=min(left, x.end) - wide / 3, y=top + 30, text_anchor="middle", class_="strong halo")
