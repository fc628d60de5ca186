"""`spillway advise --html`: one page, by its structure and its numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from spillway.cli import app

FIRST_TOKEN = (
    "name: support\ntokensPerMonth: 1.2B\nfirstToken: {limitMilliseconds: 600}\nselfHost: {setup: owned-4x-a100}"
)
TOO_BIG = "tokensPerMonth: 50M\nmodel: {uri: 'hf://meta-llama/Llama-3.1-405B-Instruct', precision: SixteenBits}"
CASES = ["startup", "healthcare", "ecommerce", "trading", FIRST_TOKEN, TOO_BIG]
SVG = ".//svg"


def run(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["advise", *map(str, arguments)], input=stdin)


def written(case: str, folder: Path, *more: object) -> tuple[str, dict[str, Any]]:
    path = folder / "advice.html"
    asked = ("--needs", "-") if ":" in case else ("--scenario", case)
    done = run(*asked, *more, "--json", "--html", path, stdin=case)
    assert done.exception is None, done.output
    return path.read_text(), json.loads(done.output)


def parsed(text: str) -> ET.Element:
    doctype, _, document = text.partition("\n")
    assert doctype == "<!DOCTYPE html>"
    return ET.fromstring(document)


@pytest.fixture(params=CASES, ids=lambda case: case.split(":")[0])
def page(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    return written(request.param, tmp_path)


def text_of(element: ET.Element) -> str:
    return "".join(element.itertext())


def rows(root: ET.Element, caption: str) -> list[list[str]]:
    (table,) = (each for each in root.iter("table") if each.get("aria-label", "").startswith(caption))
    return [[text_of(cell) for cell in row.findall("td")] for row in table.findall("tbody/tr")]


def number(cell: str) -> float | None:
    return None if cell == "-" else float(cell.replace("$", "").replace(",", ""))


TABLES = [
    (
        "Dollars a month by tokens a month",
        "byVolume",
        ["tokensPerMonth", "apiUsd", "selfHostUnits", "selfHostUsd", "hybridUnits", "hybridUsd"],
        0,
    ),
    (
        "Dollars a month by setup",
        "bySetup",
        ["units", "rooflineUnits", "hardwareUsd", "powerUsd", "peopleUsd", "totalUsd", "usdPerMillionTokens"],
        1,
    ),
    (
        "Milliseconds by place",
        "byPlace",
        [
            "roundTripMilliseconds",
            "queueMilliseconds",
            "modelMilliseconds",
            "firstTokenMilliseconds",
            "lastTokenMilliseconds",
        ],
        1,
    ),
    (
        "GiB of memory by quantisation",
        "byFormat",
        ["weightGiB", "engineGiB", "cacheGiB", "totalGiB", "accelerators"],
        1,
    ),
]


@pytest.mark.parametrize(("caption", "key", "fields", "first"), TABLES, ids=[each[1] for each in TABLES])
def test_every_figure_beneath_a_plot_is_that_of_the_json(
    page: tuple[str, dict[str, Any]], caption: str, key: str, fields: list[str], first: int
):
    text, told = page
    shown = [[number(cell) for cell in row[first : first + len(fields)]] for row in rows(parsed(text), caption)]
    wanted = [[None if row[field] is None else float(row[field]) for field in fields] for row in told["plots"][key]]
    assert shown == wanted
    assert shown


def test_plots_say_what_the_advice_says(page: tuple[str, dict[str, Any]]):
    _, told = page
    costs, plots = told["costs"], told["plots"]
    (own,) = (row for row in plots["byVolume"] if row["tokensPerMonth"] == told["needs"]["tokensPerMonth"])
    assert (own["apiUsd"], own["selfHostUsd"]) == (costs["apiUsdPerMonth"], costs["selfHostUsdPerMonth"])
    assert (own["hybridUsd"], own["selfHostUnits"]) == (costs["hybridUsdPerMonth"], costs["units"])
    (chosen,) = (row for row in plots["bySetup"] if row["setup"] == costs["setup"])
    assert chosen["totalUsd"] in {costs["selfHostUsdPerMonth"], None}
    published = [(row["place"], row["firstTokenMilliseconds"]) for row in plots["byPlace"][:3]]
    assert published == [(row["place"], row["firstTokenMilliseconds"]) for row in told["latency"]["published"]]
    weights = [row["weightGiB"] for row in plots["byFormat"]]
    assert weights == sorted(weights, reverse=True)


def test_the_page_needs_nothing_else(page: tuple[str, dict[str, Any]]):
    text, _ = page
    root = parsed(text)
    assert {"script", "link", "img", "iframe", "object", "image", "use"}.isdisjoint(each.tag for each in root.iter())
    attributes = [value for each in root.iter() for value in each.attrib.values()]
    assert not [value for value in attributes if "//" in value and "hf://" not in value]
    assert not {"src", "href", "srcset", "style"} & {name for each in root.iter() for name in each.attrib}
    (style,) = (text_of(each) for each in root.findall("head/style"))
    assert "prefers-color-scheme: dark" in style
    assert not re.search(r"url\(|@import|@font-face", style)


def test_every_plot_says_what_it_shows_to_those_who_do_not_see_it(page: tuple[str, dict[str, Any]]):
    root = parsed(page[0])
    plots = root.findall(SVG)
    assert len(plots) == 10
    assert [plot.get("class") for plot in plots] == ["wide", "narrow"] * 5
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
    for plot in plots:
        title, description = plot[0], plot[1]
        assert (title.tag, description.tag, plot.get("role")) == ("title", "desc", "img")
        assert plot.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert text_of(title)
        assert text_of(description)
    assert [each.tag for each in root.iter() if each.tag == "table" and not each.get("aria-label")] == []


def test_nothing_is_drawn_outside_of_its_plot(page: tuple[str, dict[str, Any]]):
    for plot in parsed(page[0]).findall(SVG):
        _, _, width, height = map(float, plot.get("viewBox", "").split())
        for x, y in points(plot):
            assert -0.1 <= x <= width + 0.1
            assert -0.1 <= y <= height + 0.1


def points(plot: ET.Element) -> Iterator[tuple[float, float]]:
    for each in plot.iter():
        here = {name: float(value) for name, value in each.attrib.items() if re.fullmatch(r"-?[0-9.]+", value)}
        if each.tag == "rect":
            yield here["x"], here["y"]
            yield here["x"] + here["width"], here["y"] + here["height"]
        elif each.tag == "line":
            yield here["x1"], here["y1"]
            yield here["x2"], here["y2"]
        elif each.tag == "path":
            yield from path(each)
        elif each.tag == "circle":
            yield here["cx"], here["cy"]


def path(line: ET.Element) -> list[tuple[float, float]]:
    corners = line.get("d", "").removeprefix("M").split(" L")
    return [(float(x), float(y)) for x, y in (corner.split(",") for corner in corners)]


def height_at(line: list[tuple[float, float]], x: float) -> float:
    for (left, low), (right, high) in pairwise(line):
        if left <= x <= right and right > left:
            return low + (high - low) * (x - left) / (right - left)
    raise AssertionError(x)


@pytest.mark.parametrize("case", ["healthcare", "trading", FIRST_TOKEN])
def test_the_crossover_is_marked_where_the_lines_cross(case: str, tmp_path: Path):
    text, told = written(case, tmp_path)
    assert told["costs"]["breakEvenTokensPerMonth"] is not None
    for plot in parsed(text).findall(SVG)[:2]:
        (crossing,) = plot.findall("circle")
        lines = {each.get("class"): path(each) for each in plot.findall("path")}
        x, y = float(crossing.get("cx", "")), float(crossing.get("cy", ""))
        assert height_at(lines["line api"], x) == pytest.approx(y, abs=1)
        assert height_at(lines["line own"], x) == pytest.approx(y, abs=1)


def test_without_a_crossover_none_is_marked(tmp_path: Path):
    text, told = written("ecommerce", tmp_path)
    assert told["costs"]["breakEvenTokensPerMonth"] is None
    assert "No volume at which self-hosting costs less than the API" in text
    assert not parsed(text).findall(f"{SVG}/circle")


def test_bars_are_as_long_as_their_numbers(tmp_path: Path):
    text, told = written("trading", tmp_path)
    plot = parsed(text).findall(SVG)[2]
    drawn = sum(float(each.get("width", "")) for each in plot.findall("rect")[1:])
    api = float(plot.findall("rect")[0].get("width", ""))
    dollars = sum(float(row["totalUsd"]) for row in told["plots"]["bySetup"])
    assert drawn / api == pytest.approx(dollars / float(told["costs"]["apiUsdPerMonth"]), rel=0.01)


def test_what_a_file_says_is_text_and_never_markup(tmp_path: Path):
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        '- {provider: "<script>", model: "a&b", inputUsdPerMillion: "1", outputUsdPerMillion: "1",'
        ' source: "</style>", date: 2026-01-01}'
    )
    text, _ = written("tokensPerMonth: 1B\ncloud: a&b", tmp_path, "--prices", prices)
    assert "<script>" not in text
    assert "API: <script>/a&b" in text_of(parsed(text))


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_and_lines_can_be_told_from_their_ground_light_dark_and_on_paper(tmp_path: Path):
    text, _ = written("startup", tmp_path)
    palettes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{([^}]*)\}", text)]
    assert len(palettes) == 3
    for palette in palettes:
        for ground in ("ground", "raised"):
            assert contrast(palette["ink"], palette[ground]) >= 7
            assert contrast(palette["quiet"], palette[ground]) >= 4.5
        for colour in ("one", "two", "three", "four"):
            assert contrast(palette[colour], palette["ground"]) >= 4.5


def test_the_page_is_written_beside_what_is_printed(tmp_path: Path):
    path = tmp_path / "advice.html"
    assert "healthcare: SelfHost" in run("--scenario", "healthcare", "--html", path).output
    assert [each.name for each in tmp_path.iterdir()] == ["advice.html"]
    assert "healthcare: host it yourself" in path.read_text()


def test_a_page_that_cannot_be_written_is_told(tmp_path: Path):
    refused = run("--scenario", "startup", "--html", tmp_path / "nowhere" / "advice.html")
    assert "--html:" in str(refused.exception)
    assert "cannot be written" in str(refused.exception)
