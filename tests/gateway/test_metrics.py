"""The exposition as Prometheus reads it, and the page that lists it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from gateway.rig import COMPLETION, Rig, chat, engine, unary
from spillway.gateway.metrics import Listed, Metrics

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
UNITS = {"seconds", "usd", "tokens", "requests", "spills", "scrapes", "exchanges"}
LABELS = {
    *("deployment", "place", "reason", "outcome", "data_class", "target", "kind", "error", "replica", "told_by"),
}


def listed() -> list[Listed]:
    """All that a gateway can say."""
    return Metrics(lambda: 0.0).listed


async def page_of(rig: Rig) -> str:
    async with rig.http.get(f"{rig.url}/metrics") as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return await answer.text()


async def test_prometheus_reads_every_line_and_every_name_says_its_unit(rig: Rig) -> None:
    async with engine(unary(COMPLETION)) as fake:
        rig.replicas(fake.address)
        await rig.post(chat())
        await rig.post(b"{")
        text = await page_of(rig)

    read = list(text_string_to_metric_families(text))

    told = {(f"{family.name}_total" if family.type == "counter" else family.name, family.type) for family in read}
    assert told == {(one.name, one.kind) for one in listed()}
    assert {label for one in listed() for label in one.labels} <= LABELS
    for family in read:
        assert family.name.startswith("spillway_")
        assert family.name.rsplit("_", 1)[-1] in UNITS, family.name
        assert family.documentation.endswith("."), f"{family.name} says nothing of itself"
    counted = {sample.name: sample.value for family in read for sample in family.samples if family.type == "counter"}
    assert counted["spillway_requests_total"] == counted["spillway_turned_away_requests_total"] == 1.0


async def test_what_a_caller_makes_up_is_no_label(rig: Rig) -> None:
    before = len((await page_of(rig)).splitlines())
    for number in range(20):
        await rig.post(chat() | {"model": f"made-up-{number}"})
        await rig.post(chat(), f"/v1/made-up-{number}")
        await rig.post(chat() | {f"made-up-{number}": 1, "max_tokens": f"made-up-{number}"})

    text = await page_of(rig)

    assert "made-up" not in text
    assert len(text.splitlines()) - before <= 5  # one series a word


def table() -> str:
    """The table of the page, as the registry has it."""
    rows = ["| metric | type | labels | |", "| --- | --- | --- | --- |"]
    for one in sorted(listed(), key=lambda one: one.name):
        labels = ", ".join(f"`{label}`" for label in one.labels)
        rows.append(f"| `{one.name}` | {one.kind} | {labels} | {one.documentation} |")
    return "\n".join(rows)


def test_the_page_lists_every_metric_as_it_is() -> None:
    text = PAGE.read_text()
    if os.environ.get("SPILLWAY_UPDATE_GOLDEN") == "1":
        text = re.sub(r"\| metric \|.*?\n(?!\|)", lambda _: table() + "\n", text, flags=re.DOTALL)
        PAGE.write_text(text)
    assert table() in text, "SPILLWAY_UPDATE_GOLDEN=1 pytest tests/gateway/test_metrics.py writes it anew"
