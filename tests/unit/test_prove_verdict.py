"""The judge of `make prove`: evidence of each kind of failure is a number that is not zero."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bench.prove.asking import Asked, ask, mark, numbers
from bench.prove.caller import End, Told
from bench.prove.cluster import Rules, Version
from bench.prove.evidence import API_SERVER, Account, Evidence, Exchange, Received, Troubles, poor
from bench.prove.gateways import Life
from bench.prove.verdict import Verdict, judge

from spillway.api.v1alpha1 import DataClass
from spillway.simulator.cloud import BillLine

LIFE = Life("gateway-0", Path("none"), code=0)
ASKED = Asked(7, "chat", DataClass.INTERNAL, "/v1/chat/completions", b'{"max_tokens":5}', {}, None, expects=True)
TOLD = Told(ASKED, End.WHOLE, begun=True, sent=100.0, ended=101.0, status=200, request_id="r7")
BODY = b'{"messages":"' + mark(7).encode() + b'"}'
LINE = {"request_id": "r7", "cost_usd": "0.000100", "deployment": "chat"}
BILL = BillLine("a", "big-chat", 10, 5, 100, "r7")
RULES = Rules(frozenset({DataClass.INTERNAL}), frozenset({"first"}))


def evidence(**changes: Any) -> Evidence:
    """One request that was served by a cloud, and all books right."""
    values: dict[str, Any] = {
        "exchanges": [Exchange(TOLD, LIFE)],
        "received": [Received("first", 100.5, BODY)],
        "bill": [BILL],
        "lines": {0: [LINE]},
        "lives": [LIFE],
        "versions": {"chat": [Version(RULES, 0.0)]},
        "accounts": {"chat": Account(100, 0, 0)},
        "replicas": {"chat": ["chat-0"]},
        "secrets": [b"sk-of-the-cloud"],
    }
    return Evidence(**(values | changes))


def found(**changes: Any) -> dict[str, Any]:
    verdict = judge(evidence(**changes))
    return {name: getattr(verdict, name) for name in Verdict.__slots__ if getattr(verdict, name)}


def test_right_books_hold() -> None:
    assert found() == {}
    assert judge(evidence()).holds


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"versions": {"chat": [Version(replace(RULES, classes=frozenset()), 0.0)]}}, {"sensitive_sent": 1}),
        ({"versions": {"chat": [Version(RULES, 0.0, 100.4)]}}, {"sensitive_sent": 1}),
        ({"received": [Received("second", 100.5, BODY)]}, {"sensitive_sent": 1}),
        ({"received": [Received("first", 100.5, b"{}")]}, {"sensitive_sent": 1}),
        ({"sent_to_clouds": [b"mine is jane.doe@example.com"]}, {"sensitive_sent": 1}),
        ({"accounts": {"chat": Account(100, 0, 25)}}, {"overshoot_usd": Decimal("0.000025")}),
        ({"accounts": {"chat": Account(99, 0, 0)}}, {"unsettled": 1}),
        ({"accounts": {"chat": Account(100, 2, 0)}}, {"unsettled": 2}),
        ({"bill": [replace(BILL, micros=101)]}, {"unsettled": 1}),
        ({"bill": [BILL, replace(BILL, request_id="killed")]}, {"unsettled": 1}),
        ({"lines": {0: []}, "bill": []}, {"unaudited": 1}),
        ({"lines": {0: [LINE, LINE]}, "accounts": {"chat": Account(200, 0, 0)}}, {"unaudited": 1}),
        ({"lines": {0: [LINE, LINE | {"request_id": "r8", "cost_usd": "0"}]}}, {"unaudited": 1}),
        ({"exchanges": [Exchange(replace(TOLD, status=503), LIFE)]}, {"failed_that_could_be_saved": 1}),
        ({"sent_to_engines": [b"Bearer sk-of-the-caller-1"]}, {"credentials_crossed": 1}),
        ({"sent_to_engines": [b"Bearer sk-of-the-cloud"]}, {"credentials_crossed": 1}),
        ({"sent_to_clouds": [b"cookie: sk-of-the-caller-1"]}, {"credentials_crossed": 1}),
        ({"secrets_told": 1}, {"credentials_crossed": 1}),
        ({"bugs": ["a bug stopped this request"]}, {"bugs": 1}),
    ],
)
def test_each_failure_is_counted_as_what_it_is(changes: dict[str, Any], wrong: dict[str, Any]) -> None:
    assert found(**changes) == wrong


def test_a_caller_that_left_before_it_had_an_id_is_owed_a_line_too() -> None:
    left = Exchange(replace(TOLD, end=End.LEFT, request_id="", status=None), LIFE)
    assert found(exchanges=[left], bill=[]) == {}
    assert found(exchanges=[left], bill=[], lines={0: []}) == {"unaudited": 1}
    perhaps = Exchange(replace(left.told, begun=None, end=End.LEFT), LIFE)
    assert found(exchanges=[perhaps], bill=[], lines={0: []}) == {}


def test_a_process_that_was_killed_owes_lines_for_what_had_ended_before() -> None:
    killed = Life("gateway-0", Path("none"), killed=106.0, ending=106.0, code=-9)
    books: dict[str, Any] = {"lives": [killed], "lines": {0: []}, "bill": []}
    assert found(exchanges=[Exchange(TOLD, killed)], **books) == {"unaudited": 1}
    assert found(exchanges=[Exchange(replace(TOLD, ended=103.0), killed)], **books) == {}


def troubles(*names: str) -> Troubles:
    made = Troubles()
    for name in names:
        made.add(name, 99.0, 100.5)
    return made


@pytest.mark.parametrize(
    ("broken", "changes", "count"),
    [
        (("chat-0", "first"), {}, 0),
        (("first",), {}, 1),
        (("chat-0",), {}, 1),
        (("chat-0", API_SERVER), {}, 0),
        (("chat-0", poor("chat")), {}, 0),
        (("chat-0",), {"data_class": DataClass.SENSITIVE}, 0),
        (("chat-0",), {"body": b"{}"}, 0),
    ],
)
def test_a_failure_counts_when_somebody_free_of_trouble_could_have_served_it(
    broken: tuple[str, ...], changes: dict[str, Any], count: int
) -> None:
    told = replace(TOLD, asked=replace(ASKED, **changes), status=503)
    books: dict[str, Any] = {"received": [], "troubles": troubles(*broken)}
    assert judge(evidence(exchanges=[Exchange(told, LIFE)], **books)).failed_that_could_be_saved == count


def test_a_request_is_the_same_each_time_and_its_number_is_found_in_what_was_sent() -> None:
    assert [ask(1, number) for number in range(50)] == [ask(1, number) for number in range(50)]
    assert ask(1, 3) != ask(2, 3)
    assert numbers(b"x" + mark(1234567).encode() + b"," + mark(9).encode()) == {1234567, 9}
