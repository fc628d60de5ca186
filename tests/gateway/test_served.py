"""What a gateway tells of the tokens that replicas served: by whole minutes, of the last hour."""

from __future__ import annotations

import datetime as dt

from routing_values import route
from spillway.gateway.observed import Observer
from spillway.gateway.served import ServedHour
from spillway.routing.facts import Usage
from spillway.routing.messages import Record
from spillway.routing.outcomes import Outcome, Place, Reason

START = dt.datetime(2026, 11, 21, 12, 0, 30, tzinfo=dt.UTC)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> dt.datetime:
        return START + dt.timedelta(seconds=self.seconds)


def record(place: Place = Place.LOCAL, usage: Usage | None = Usage(100, 200, 40)) -> Record:  # noqa: B008 - frozen
    return Record(
        outcome=Outcome.COMPLETED,
        reason=Reason.DEFAULT,
        place=place,
        backend="pod",
        status=200,
        dispatches=1,
        usage=usage,
        cost_micros=0,
        reserved_micros=0,
    )


def test_nothing_is_told_before_a_whole_minute_had_something():
    clock = Clock()
    served = ServedHour(clock.now)
    served.ended(record())
    clock.seconds = 29
    assert served.report() is None
    clock.seconds = 89  # 12:01:59: the minute that began with the gateway is over, but was none of sixty seconds
    assert served.report() is None
    clock.seconds = 90
    told = served.report()
    assert told is not None
    assert (told.requests, told.prompt_tokens, told.cached_prompt_tokens, told.completion_tokens) == (1, 100, 40, 200)
    assert (told.seconds, told.until) == (90, dt.datetime(2026, 11, 21, 12, 2, tzinfo=dt.UTC))


def test_what_is_told_changes_once_a_minute_however_many_requests_come():
    clock = Clock()
    served = ServedHour(clock.now)
    told = set()
    for second in range(600):
        clock.seconds = second
        served.ended(record())
        told.add(served.report())
    assert len(told) == 1 + 9  # nothing, and 12:02 to 12:10


def test_an_hour_is_the_most_and_what_is_older_is_forgotten():
    clock = Clock()
    served = ServedHour(clock.now)
    served.ended(record())
    clock.seconds = 1830  # 12:31
    served.ended(record())
    clock.seconds = 3600 + 29
    told = served.report()
    assert told is not None
    assert (told.requests, told.seconds) == (2, 3570)
    clock.seconds = 3600 + 90  # 13:02, of 12:02 to 13:02
    told = served.report()
    assert told is not None
    assert (told.requests, told.seconds) == (1, 3600)
    clock.seconds = 3 * 3600
    assert served.report() is None


def test_only_what_a_replica_served_and_reported_counts():
    clock = Clock()
    served = ServedHour(clock.now)
    served.ended(record(Place.CLOUD))
    served.ended(record(Place.NONE, None))
    served.ended(record(Place.LOCAL, None))
    clock.seconds = 120
    assert served.report() is None


def test_what_was_served_is_in_what_status_is_told():
    clock = Clock()
    observer = Observer("pod-a", lambda: clock.seconds, clock.now)
    observer.ended(record())
    assert observer.report(route()).served is None
    clock.seconds = 150
    told = observer.report(route()).served
    assert told is not None
    assert (told.requests, told.completion_tokens) == (1, 200)
    assert observer.report(route()) == observer.report(route())
