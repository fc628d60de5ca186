"""`spillway advise --from`: traffic that was, from a file, from standard input, and from Prometheus on loopback."""

from __future__ import annotations

import datetime as dt
import gzip
import http.server
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from typer.testing import CliRunner, Result

from spillway.advisor.needs import parse_needs
from spillway.advisor.traffic import Counts, Traffic, alerts, measured_needs
from spillway.cli import app
from spillway.gateway.audit import AuditLine
from spillway.report.audit_log import Line, read_audit
from spillway.report.metrics import Sample, of_prometheus
from spillway.routing.outcomes import Outcome, Place

START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["advise", *map(str, arguments)], input=stdin)


def told(*arguments: object, stdin: bytes | None = None) -> dict[str, Any]:
    done = run(*arguments, "--json", stdin=stdin)
    assert done.exception is None, done.exception
    return json.loads(done.output)


def line(at_seconds: float, place: Place = Place.LOCAL, **fields: Any) -> bytes:
    """An audit line as a gateway writes it."""
    known = {"prompt_tokens": 500, "completion_tokens": 1000, "cost_usd": "0.000000", "total_seconds": 0.0}
    written = AuditLine(
        event="request",
        time=START + dt.timedelta(seconds=at_seconds),
        request_id="r",
        namespace="team",
        place=place,
        outcome=Outcome.COMPLETED,
        status=200,
        **known | fields,
    )
    return written.model_dump_json().encode()


def day_of_lines(cloud_usd: str = "0.011250") -> list[bytes]:
    """A day: a request a minute here, each fifth at the cloud, and a busy minute of thirty."""
    lines = [
        line(minute * 60, Place.CLOUD, cost_usd=cloud_usd) if minute % 5 == 0 else line(minute * 60)
        for minute in range(1441)
    ]
    return [*lines, *(line(720 * 60 + second) for second in range(29))]


def test_what_is_read_of_a_line_is_what_a_gateway_writes():
    fields = AuditLine.model_fields
    assert set(Line.model_fields) <= set(fields)
    read = Line.model_validate_json(line(3, Place.CLOUD, cost_usd="0.011250", cached_prompt_tokens=7))
    assert (read.place, str(read.cost_usd), read.cached_prompt_tokens) == ("cloud", "0.011250", 7)
    assert {place.value for place in Place} == {"local", "cloud", "none"}


def test_an_audit_log_says_what_it_cost_and_what_it_would_have_cost():
    found = told("--from", "-", stdin=b"\n".join(day_of_lines()))["measured"]
    assert found["requests"] == 1470
    assert (found["localTokens"], found["cloudTokens"]) == (1181 * 1500, 289 * 1500)
    assert found["cloudUsd"] == "3.25"  # 289 x 0.01125
    assert found["localUsd"] == "133.33"  # a day of the 4,000 dollars that one unit is a month
    dollars = {each["price"]: each["usd"] for each in found["elsewhere"]}
    assert dollars["OpenAI/gpt-4o"] == "16.54"  # 1470 x 1500 tokens at 7.50 a million
    assert [float(each["usd"]) for each in found["elsewhere"]] == sorted(map(float, dollars.values()))


def test_capacity_is_for_the_busiest_minute_and_for_what_95_of_100_ask():
    rooms = {room["of"]: room for room in told("--from", "-", stdin=b"\n".join(day_of_lines()))["measured"]["capacity"]}
    assert rooms["peak"]["tokensPerSecond"] == 30 * 1500 / 60
    assert rooms["95 % of the time"]["tokensPerSecond"] == 1500 / 60
    assert rooms["mean"]["tokensPerSecond"] == pytest.approx(1470 * 1500 / 86_400, abs=0.01)
    # 2.5 billion a month are 964.5 tokens a second
    assert {name: room["units"] for name, room in rooms.items()} == {"mean": 1, "95 % of the time": 1, "peak": 1}
    busier = [text for text in day_of_lines() for _ in range(3)]
    peak = told("--from", "-", stdin=b"\n".join(busier))["measured"]["capacity"][-1]
    assert (peak["tokensPerSecond"], peak["units"]) == (2250, 3)


def test_what_was_measured_takes_the_place_of_what_needs_state(tmp_path: Path):
    needs, log = tmp_path / "needs.yaml", tmp_path / "audit.jsonl.gz"
    needs.write_text("name: shop\ntokensPerMonth: 1\ncloud: OpenAI/gpt-4o-mini\ntraffic: {alwaysOn: true}\n")
    log.write_bytes(gzip.compress(b"\n".join(day_of_lines())))
    found = told("--from", log, "--needs", needs)
    assert found["needs"]["tokensPerMonth"] == 1470 * 1500 * 30
    assert found["needs"]["request"] == {"promptTokens": 500, "cachedPromptTokens": 0, "answerTokens": 1000}
    assert float(found["needs"]["traffic"]["peakToAverage"]) == pytest.approx(750 / (1470 * 1500 / 86_400), abs=0.01)
    assert found["needs"]["traffic"]["alwaysOn"] is True
    assert (found["name"], found["costs"]["cloud"]) == ("shop", "OpenAI/gpt-4o-mini")


def test_bad_lines_are_counted_and_said_and_a_logs_own_lines_are_not():
    lines = [
        b"",
        b'{"event": "gateway started"}',
        line(0),
        b"panic: no JSON at all",
        b'{"event": "request", "time": "yesterday"}',
        b'[{"event": "request"}]',
        line(90_000, cost_usd="-1"),
        line(90_000),
    ]
    found = read_audit(lines, "log")
    assert (found.lines, found.bad, found.all.requests) == (7, 4, 2)
    assert found.first_bad == "line 4: no JSON"
    printed = " ".join(run("--from", "-", stdin=b"\n".join(lines)).output.split())
    assert "4 of 7 lines could not be read; the first is line 4: no JSON" in printed


def test_what_nobody_served_or_measured_is_told_apart():
    lines = [line(0), line(60, Place.NONE), line(120, prompt_tokens=None, completion_tokens=None, cost_usd="0.500000")]
    found = read_audit(lines, "log")
    assert (found.all.requests, found.unserved, found.unmeasured) == (1, 1, 1)
    assert str(found.spent_usd) == "0.500000"


def test_a_short_log_is_called_a_guess():
    assert "what a month of it would be is a guess" in run("--from", "-", stdin=line(0)).output


def test_logs_that_were_packed_and_joined_are_one(tmp_path: Path):
    path = tmp_path / "joined.gz"
    lines = day_of_lines()
    path.write_bytes(gzip.compress(b"\n".join(lines[:700]) + b"\n") + gzip.compress(b"\n".join(lines[700:])))
    assert told("--from", path)["measured"]["requests"] == 1470
    path.write_bytes(path.read_bytes()[:-20])
    assert "the packed file ends in its middle" in str(run("--from", path).exception)


@pytest.mark.parametrize(
    ("spent", "said"),
    [
        ("4999.99", None),
        ("5000", "past the mark of $5,000: begin to plan"),
        ("9999.99", "past the mark of $5,000: begin to plan"),
        ("10000", "past the mark of $10,000: be ready to switch"),
    ],
)
def test_the_marks_are_alerts_on_what_the_cloud_bills_a_month(spent: str, said: str | None):
    month = alerts(traffic(seconds=30 * 86_400, spent_usd=spent))
    days = alerts(traffic(seconds=15 * 86_400, spent_usd=str(Decimal(spent) / 2)))
    assert month == days
    assert len(month) == (said is not None)
    assert all(each.endswith(said or "") for each in month)


def traffic(**fields: Any) -> Traffic:
    known = {"source": "log", "seconds": 86_400.0, "local": Counts(10, 1000, 0, 2000), "cloud": Counts()}
    fields["spent_usd"] = Decimal(fields.get("spent_usd", 0))
    return Traffic(**known | fields)


def test_no_tokens_are_nothing_to_advise_on():
    refused = run("--from", "-", stdin=b'{"event": "gateway started"}')
    assert "--from: - tells of no tokens" in str(refused.exception)


def test_absurd_peaks_stay_within_what_needs_may_say():
    found = measured_needs({}, traffic(peak_tokens_per_second=1e9))
    assert parse_needs(found).traffic.peak_to_average == 1000


def exposition() -> bytes:
    registry = CollectorRegistry()
    tokens = Counter("spillway_tokens", "t", ("deployment", "place", "kind"), registry=registry)
    requests = Counter("spillway_requests", "r", ("deployment", "place"), registry=registry)
    spent = Counter("spillway_spent_usd", "s", ("deployment", "target"), registry=registry)
    for deployment in ("a", "b"):
        tokens.labels(deployment, "local", "prompt").inc(500_000)
        tokens.labels(deployment, "local", "completion").inc(1_000_000)
        tokens.labels(deployment, "cloud", "prompt").inc(50_000)
        tokens.labels(deployment, "cloud", "completion").inc(100_000)
        requests.labels(deployment, "local").inc(1000)
        requests.labels(deployment, "cloud").inc(100)
        requests.labels(deployment, "none").inc(7)
        spent.labels(deployment, "openai").inc(1.125)
    return generate_latest(registry)


def test_a_text_of_metrics_needs_the_days_that_it_is_of(tmp_path: Path):
    path = tmp_path / "metrics.txt"
    path.write_bytes(exposition())
    found = told("--from", path, "--days", 2)["measured"]
    assert (found["requests"], found["localTokens"], found["cloudTokens"]) == (2200, 3_000_000, 300_000)
    assert (found["cloudUsd"], found["cloudUsdPerMonth"], found["unservedRequests"]) == ("2.25", "33.75", 14)
    assert [room["of"] for room in found["capacity"]] == ["mean"]
    assert "state how many days" in str(run("--from", path).exception)


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Prometheus' query API and a gateway's metrics, on loopback; the expressions that were asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/metrics":
                return self.say(200, exposition())
            if url.path != "/api/v1/query":
                return self.say(404, b"nothing here")
            (expression,) = parse_qs(url.query)["query"]
            asked.append(expression)
            result = [{"metric": sample.labels, "value": [1.0, str(sample.value)]} for sample in answers(expression)]
            body = {"status": "success", "data": {"resultType": "vector", "result": result}}
            return self.say(200, json.dumps(body).encode())

        def say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", asked
        listening.shutdown()
        thread.join()


def answers(expression: str) -> list[Sample]:
    if expression.startswith("count_over_time"):
        return [Sample({}, 288 * 10)]  # ten days of five minutes
    if expression.startswith("max_over_time"):
        return [Sample({}, 5000.0)]
    if expression.startswith("quantile_over_time"):
        return [Sample({}, 2000.0)]
    if "spillway_tokens_total" in expression:
        kinds = {("local", "prompt"): 4e8, ("local", "completion"): 6e8, ("cloud", "prompt"): 1e8}
        return [Sample({"place": place, "kind": kind}, value) for (place, kind), value in kinds.items()]
    if "spillway_requests_total" in expression:
        return [Sample({"place": "local"}, 1e6), Sample({"place": "cloud"}, 1e5)]
    if "spillway_spent" in expression:
        return [Sample({}, 2000.0)]
    return [Sample({}, float("nan"))]


def test_prometheus_tells_what_it_has_seen_of_the_last_days(server: tuple[str, list[str]]):
    base, asked = server
    found = told("--from", base, "--days", 30)["measured"]
    assert found["seconds"] == 10 * 86_400
    assert (found["localTokens"], found["cloudTokens"], found["requests"]) == (10**9, 10**8, 1_100_000)
    assert (found["cloudUsd"], found["cloudUsdPerMonth"]) == ("2000.00", "6000.00")
    assert found["alerts"] == ["the cloud's bill runs at $6,000.00 a month, past the mark of $5,000: begin to plan"]
    assert [(room["of"], room["units"]) for room in found["capacity"]] == [
        ("mean", 2),
        ("95 % of the time", 3),
        ("peak", 6),
    ]
    assert "sum by (place, kind) (increase(spillway_tokens_total[2592000s]))" in asked


def test_a_gateways_own_metrics_can_be_read_too(server: tuple[str, list[str]]):
    base, _ = server
    assert told("--from", f"{base}/metrics", "--days", 1)["measured"]["localTokens"] == 3_000_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "nowhere.jsonl"], "--from: nowhere.jsonl cannot be read"),
        (["--from", "http://127.0.0.1:9"], "--from: http://127.0.0.1:9"),
        (["--from", "http://[:"], "--from: http://[:"),
        (["--from", "-", "--days", "3"], "--days: audit lines tell their own time"),
        (["--from", "-", "--scenario", "startup"], "--scenario: there is --from as well"),
        (["--scenario", "startup", "--days", "3"], "--days: it goes with --from"),
    ],
)
def test_a_source_that_cannot_be_used_is_named(arguments: list[str], said: str):
    assert said in str(run(*arguments, stdin=line(0)).exception)


def test_what_is_no_prometheus_is_told(server: tuple[str, list[str]]):
    base, _ = server
    assert "answers 404" in str(run("--from", f"{base}/grafana").exception)


def test_prometheus_without_any_metrics_of_ours_is_told():
    found = of_prometheus(lambda _: [], "http://prometheus", 30)
    assert (found.all, found.seconds, found.peak_tokens_per_second) == (Counts(), 1.0, None)


def test_the_page_shows_what_was_measured(tmp_path: Path):
    path = tmp_path / "advice.html"
    run("--from", "-", "--html", path, stdin=b"\n".join([*day_of_lines("2.000000"), b"garbage"]))
    text = path.read_text()
    assert "be ready to switch" in text
    assert "1 of 1,471 lines could not be read" in text
