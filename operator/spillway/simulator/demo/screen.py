"""What the demo shows: live tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from spillway.simulator.demo.claims import Claim
from spillway.simulator.demo.tally import Tally

PLACE_WORDS = {"local": "local GPUs", "cloud": "cloud (spilled)", "none": "nowhere (refused)"}
LINE_EVERY_SECONDS = 5.0


class Screen:
    """Writes to one console; live where that is a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._last_line_seconds = 0.0

    def say(self, text: str, style: str = "") -> None:
        """One line."""
        self.console.print(text, style=style, highlight=False, soft_wrap=True)

    def step(self, text: str) -> None:
        """The headline of a step."""
        self.console.print()
        self.say(f"▸ {text}", style="bold")

    def block(self, text: str) -> None:
        """The output of a program, as it was."""
        for line in text.rstrip().splitlines():
            self.console.print(Text("  " + line), style="cyan", soft_wrap=True)

    def progress(self, what: str, seconds: float) -> None:
        """Something long that goes on: rewritten in place on a terminal, a line now and then elsewhere."""
        line = f"  {what} ({seconds:.0f} s)"
        if self.console.is_terminal:
            self.console.print(Text(line.ljust(76)), end="\r", style="dim")
        elif seconds - self._last_line_seconds >= LINE_EVERY_SECONDS * 3 or seconds < self._last_line_seconds:
            self._last_line_seconds = seconds
            self.say(line)

    def begin_live(self) -> None:
        """From here on `update` draws in place."""
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=4, transient=True)
            self._live.start()
        self._last_line_seconds = 0.0

    def update(
        self, tally: Tally, held: int, spent_usd: Decimal, limit_usd: Decimal, now_seconds: float, news: Sequence[str]
    ) -> None:
        """Show how the burst goes."""
        if self._live is not None:
            self._live.update(burst_view(tally, held, spent_usd, limit_usd, now_seconds, news))
        elif now_seconds - self._last_line_seconds >= LINE_EVERY_SECONDS:
            self._last_line_seconds = now_seconds
            self.say(burst_line(tally, held, spent_usd, limit_usd, now_seconds))

    def end_live(self) -> None:
        """Leave the last picture where it is."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def summary(self, claims: Sequence[Claim]) -> None:
        """Each claim with its figure."""
        self.console.print(claims_view(claims))


def burst_line(tally: Tally, held: int, spent_usd: Decimal, limit_usd: Decimal, now_seconds: float) -> str:
    """The state of the burst in one line."""
    shares = ", ".join(f"{place.place} {place.share:.0%}" for place in tally.places if place.requests)
    waits = ", ".join(
        f"{place.place} p50 {place.first_token_p50_seconds:.2f} s p99 {place.first_token_p99_seconds:.2f} s"
        for place in tally.places
        if place.first_token_p50_seconds is not None and place.first_token_p99_seconds is not None
    )
    return (
        f"  {now_seconds:5.0f} s  {tally.requests_per_second:4.1f} requests/s  {shares or '-'}  held {held}  "
        f"first token {waits or '-'}  ${spent_usd:.4f} of ${limit_usd:.2f}"
    )


def burst_view(
    tally: Tally, held: int, spent_usd: Decimal, limit_usd: Decimal, now_seconds: float, news: Sequence[str]
) -> RenderableType:
    """The state of the burst as tables."""
    places = Table(title=f"{now_seconds:.0f} s into the burst", title_justify="left", expand=False)
    for column in ("where", "requests", "share", "first token p50", "p99"):
        places.add_column(column, justify="left" if column == "where" else "right")
    for place in tally.places:
        places.add_row(
            PLACE_WORDS[place.place],
            str(place.requests),
            f"{place.share:.0%}",
            _seconds(place.first_token_p50_seconds),
            _seconds(place.first_token_p99_seconds),
        )
    places.add_row("held now", str(held), "", "", "", style="dim")
    reasons = Table(title="why", title_justify="left")
    reasons.add_column("where")
    reasons.add_column("reason")
    reasons.add_column("requests", justify="right")
    for place_name, reason, count in tally.reasons[:8]:
        reasons.add_row(PLACE_WORDS[place_name], reason or "-", str(count))
    share = float(spent_usd / limit_usd) if limit_usd else 0.0
    bar = "█" * round(30 * min(1.0, share))
    money = Text(
        f"${spent_usd:.4f} of ${limit_usd:.2f}  {bar:░<30}  {share:.0%} of the budget",
        style="yellow" if share > 0.8 else "",
    )
    rate = Text(f"{tally.requests_per_second:.1f} requests a second, {tally.sent} sent, {tally.ended} ended")
    return Group(rate, money, places, reasons, *(Text(f"· {line}", style="magenta") for line in news))


def claims_view(claims: Sequence[Claim]) -> RenderableType:
    """The summary: a row a claim."""
    table = Table(title="What was claimed, and what was measured", title_justify="left", show_lines=True)
    table.add_column("held", justify="center")
    table.add_column("claim", ratio=2)
    table.add_column("measured", ratio=3)
    words = {True: ("yes", "green"), False: ("NO", "bold red"), None: ("not shown", "yellow")}
    for claim in claims:
        word, style = words[claim.held]
        table.add_row(Text(word, style=style), claim.sentence, claim.figure)
    return table


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
