"""Which Events a change of status is worth."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from spillway.api.v1alpha1 import BudgetStatus, LLMDeploymentStatus
from spillway.controller.events import budget_event

NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
NOVEMBER, DECEMBER = dt.datetime(2026, 11, 1, tzinfo=dt.UTC), dt.datetime(2026, 12, 1, tzinfo=dt.UTC)


def body(**budget: Any) -> dict[str, Any]:
    return {
        "apiVersion": "spillway.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": "chat", "namespace": "team", "uid": "1", "resourceVersion": "7"},
        "spec": {"budget": {"limit": "10.00"} | budget},
    }


def status(spent: str | None, limit: str = "10.00", start: dt.datetime = NOVEMBER) -> LLMDeploymentStatus:
    if spent is None:
        return LLMDeploymentStatus()
    budget = BudgetStatus(
        spent=Decimal(spent), reserved=Decimal(0), limit=Decimal(limit), window_start=start, window_end=DECEMBER
    )
    return LLMDeploymentStatus(budget=budget)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param(status("4.999999"), status("5"), "50 %", id="half"),
        pytest.param(status("5"), status("7.99"), None, id="told before"),
        pytest.param(status("1"), status("8.5"), "80 %", id="two at once: the higher"),
        pytest.param(status("8"), status("10"), "100 %", id="all"),
        pytest.param(status("10"), status("10"), None, id="all, and told"),
        pytest.param(status(None), status("6"), "50 %", id="the first that is seen"),
        pytest.param(status("9", start=NOVEMBER), status("5", start=DECEMBER), "50 %", id="a new window"),
        pytest.param(status("9"), status("9", limit="9"), "100 %", id="a limit that was lowered"),
        pytest.param(status("0"), status("0", limit="0"), None, id="no limit"),
        pytest.param(status("9"), status(None), None, id="no budget any more"),
    ],
)
def test_a_part_of_the_budget_is_told_once_a_window(
    before: LLMDeploymentStatus, after: LLMDeploymentStatus, told: str | None
) -> None:
    event = budget_event(body(), before, after, NOW)
    assert (event and str(event["message"]).split(" of ")[0]) == told


def test_an_alert_says_how_much_of_what_and_until_when() -> None:
    event = budget_event(body(), status("4"), status("8.25"), NOW)
    assert event is not None
    assert event["message"] == "80 % of budget.limit are spent: 8.250000 of 10.00 dollars until 2026-12-01T00:00:00Z"
    assert (event["reason"], event["type"]) == ("BudgetAlert", "Normal")
    used_up = budget_event(body(), status("4"), status("10"), NOW)
    assert used_up is not None
    assert used_up["type"] == "Warning"


def test_alerts_are_at_the_percents_of_the_object() -> None:
    assert budget_event(body(alertPercents=[]), status("0"), status("10"), NOW) is None
    assert budget_event(body(alertPercents=[90]), status("0"), status("8"), NOW) is None
    assert budget_event(body(alertPercents=[90]), status("0"), status("9"), NOW) is not None
