"""New objects go before the passes that only follow up, but not for ever."""

from __future__ import annotations

import pytest

from spillway.controller.births import BURST_GAP_SECONDS, BURST_SECONDS, LONGEST_WAIT_SECONDS, QUIET_SECONDS, Births
from spillway.controller.objects import Key

NEW, OLD = Key("team", "new"), Key("team", "old")


@pytest.fixture
def now():
    return [100.0]


@pytest.fixture
def births(now):
    return Births(lambda: now[0])


def test_nobody_waits_while_nothing_is_new(births):
    assert births.wait_seconds(OLD) == births.wait_seconds() == 0


def test_others_wait_until_a_new_object_is_started_and_for_a_moment_more(births, now):
    births.came(NEW)
    assert births.wait_seconds(NEW) == 0
    assert births.wait_seconds(OLD) > 0
    assert births.wait_seconds() > 0, "a namespace's pass is never one of a new object"
    births.over(NEW)
    assert births.wait_seconds(OLD) == pytest.approx(QUIET_SECONDS)
    now[0] += QUIET_SECONDS
    assert births.wait_seconds(OLD) == 0


def test_others_wait_longer_in_a_burst_than_after_one_that_came_alone(births, now):
    births.came(NEW)
    now[0] += BURST_GAP_SECONDS / 2
    births.came(OLD)
    births.over(NEW)
    births.over(OLD)
    assert births.wait_seconds() == pytest.approx(BURST_SECONDS)
    now[0] += 60
    births.came(NEW)
    births.over(NEW)
    assert births.wait_seconds() == pytest.approx(QUIET_SECONDS)


def test_a_stream_of_new_objects_holds_the_others_up_for_a_limited_time(births, now):
    begun = now[0]
    while births.wait_seconds(OLD) > 0 or now[0] == begun:
        births.came(NEW)
        births.over(NEW)
        now[0] += QUIET_SECONDS / 2
        assert now[0] - begun <= LONGEST_WAIT_SECONDS + QUIET_SECONDS
    assert now[0] - begun >= LONGEST_WAIT_SECONDS


def test_one_that_cannot_be_started_does_not_hold_the_others_for_ever(births, now):
    births.came(NEW)
    now[0] += LONGEST_WAIT_SECONDS
    assert births.wait_seconds(OLD) == 0


def test_a_new_stream_after_a_pause_goes_first_again(births, now):
    births.came(NEW)
    births.over(NEW)
    now[0] += 60
    births.came(NEW)
    assert births.wait_seconds(OLD) > 0
