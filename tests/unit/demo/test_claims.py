"""The demo judges itself: a claim fails when its figure does, and is not shown when nothing could show it."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from spillway.routing.detection.inspect import inspect
from spillway.routing.facts import Endpoint
from spillway.routing.intake import parse
from spillway.simulator import trace
from spillway.simulator.demo.claims import Evidence, judge
from spillway.simulator.demo.plan import Kind, Planned, plan_burst
from spillway.simulator.demo.tally import End, Seen, quantile, tally


def seen(
    place: str, reason: str = "Default", *, kind: Kind = Kind.PLAIN, end: End = End.ANSWERED, at: float = 1.0
) -> Seen:
    planned = Planned(at, kind, f"{kind.name}{place}".lower(), 10, "prompt")
    return Seen(planned, at, at + 1, end, place, reason, 0.5 if end is End.ANSWERED else None)


GOOD = Evidence(
    seen=(
        seen("local"),
        seen("cloud", "Saturated"),
        seen("local", "Sensitive", kind=Kind.SSN),
        seen("local", "BudgetExhausted", at=5.0),
        seen("none", "BudgetExhausted", end=End.REFUSED, at=6.0),
    ),
    markers_in_cloud=frozenset({"plaincloud"}),
    cloud_requests=1,
    cloud_bill_usd=Decimal("0.49"),
    ledger_spent_usd=Decimal("0.50"),
    limit_usd=Decimal("0.50"),
    last_spill_seconds=1.0,
    killed_pod="chat-1",
    killed_in_flight=3,
    markers_in_logs=0,
    log_bytes=1000,
    audit_lines=5,
)


def test_a_good_run_holds_every_claim() -> None:
    assert [claim.held for claim in judge(GOOD)] == [True] * 7


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"seen": (*GOOD.seen, seen("none", "", end=End.FAILED))}, "Every request is answered"),
        ({"markers_in_cloud": frozenset({"ssnlocal"})}, "What is sensitive never leaves"),
        ({"seen": (*GOOD.seen, seen("cloud", "Saturated", kind=Kind.EMAIL))}, "What is sensitive never leaves"),
        ({"cloud_bill_usd": Decimal("0.500001")}, "The cloud's bill"),
        ({"ledger_spent_usd": Decimal("0.500001")}, "The cloud's bill"),
        ({"last_spill_seconds": 9.0}, "When the budget runs out"),
        ({"markers_in_logs": 1}, "One audit line"),
        ({"audit_lines": 4}, "One audit line"),
    ],
)
def test_a_figure_that_breaks_a_claim_is_told(change: dict[str, object], broken: str) -> None:
    failed = [claim.sentence for claim in judge(replace(GOOD, **change)) if claim.held is False]  # type: ignore[arg-type]
    assert any(sentence.startswith(broken) for sentence in failed)


@pytest.mark.parametrize(
    ("change", "unshown"),
    [
        (
            {"seen": GOOD.seen[:1], "cloud_requests": 0},
            {"When the GPUs", "What is sensitive", "The cloud's bill", "When the budget"},
        ),
        ({"killed_pod": None}, {"An engine pod"}),
        ({"killed_in_flight": 0}, {"An engine pod"}),
        ({"seen": (), "cloud_requests": 0}, {"Every request", "One audit line"}),
    ],
)
def test_what_the_run_could_not_show_is_not_claimed(change: dict[str, object], unshown: set[str]) -> None:
    not_shown = [claim.sentence for claim in judge(replace(GOOD, **change)) if claim.held is None]  # type: ignore[arg-type]
    assert all(any(sentence.startswith(start) for sentence in not_shown) for start in unshown)


def test_the_burst_is_the_trace_with_an_eighth_made_sensitive() -> None:
    arrivals = trace.read()
    planned = plan_burst(arrivals, 60.0, random.Random(1))
    assert len(planned) == sum(1 for arrival in arrivals if arrival.offset_seconds <= 60.0)
    share = sum(1 for one in planned if one.sensitive) / len(planned)
    assert 0.06 < share < 0.2
    assert {one.kind for one in planned} == set(Kind)


def test_what_the_burst_hides_is_found_and_nothing_else_is() -> None:
    for planned in plan_burst(trace.read(), 10.0, random.Random(2)):
        found = inspect({"prompt": planned.prompt}, {"PII", "Secrets"})
        assert found == {Kind.SSN: "detector:ssn", Kind.EMAIL: "detector:email"}.get(planned.kind)
        assert planned.marker in planned.prompt


def test_a_burst_longer_than_the_trace_goes_round() -> None:
    span = trace.read()[-1].offset_seconds
    planned = plan_burst(trace.read(), span * 1.5, random.Random(1))
    assert planned[-1].offset_seconds > span
    assert [one.offset_seconds for one in planned] == sorted(one.offset_seconds for one in planned)


def test_the_tally_counts_places_and_reasons() -> None:
    counted = tally(GOOD.seen, sent=6, now_seconds=7.0)
    assert {place.place: place.requests for place in counted.places} == {"local": 3, "cloud": 1, "none": 1}
    assert counted.requests_per_second == pytest.approx(2 / 5)
    assert ("none", "BudgetExhausted", 1) in counted.reasons


@pytest.mark.parametrize(("values", "expected"), [([], None), ([1.0], 1.0), ([1.0, 2.0, 3.0], 2.0)])
def test_a_percentile_of_nothing_is_nothing(values: list[float], expected: float | None) -> None:
    assert quantile(values, 50) == expected


def test_every_planned_prompt_is_a_valid_request() -> None:
    for planned in plan_burst(trace.read(), 2.0, random.Random(3)):
        body = b'{"model":"chat","messages":[{"role":"user","content":"' + planned.prompt.encode() + b'"}]}'
        assert parse(Endpoint.CHAT, body).inspectable
