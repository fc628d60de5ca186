"""The class of a request: the object's default, raised by the caller's label, raised by what it holds; never lowered.

What it holds is looked at only where that can matter. Where nothing of its class may leave anyhow, the class is what
default and label say, and the rule says that nobody looked: unread:default, unread:label.
"""

from __future__ import annotations

from typing import Final

from spillway.api.v1alpha1 import DataClass
from spillway.errors import BadRequest
from spillway.routing.detection.inspect import UNINSPECTABLE, inspect
from spillway.routing.facts import Classified, Intake, Route

RANK: Final = {DataClass.PUBLIC: 0, DataClass.INTERNAL: 1, DataClass.SENSITIVE: 2}


def classify(intake: Intake, label: str | None, route: Route) -> Classified:
    """Class `intake`, of which the caller says `label` (the x-spillway-data-class header, or None).

    Of several classes in it, with commas between them, the strictest counts.

    Takes time in proportion to the body where it may leave: `bench/detection.py` says how much. Pure and safe in a
    thread.

    Raises:
        BadRequest: the label is none of the classes.
    """
    stated = _stated(label, route)
    if not intake.inspectable:
        return Classified(DataClass.SENSITIVE, UNINSPECTABLE)
    if stated.data_class is DataClass.SENSITIVE or not route.detectors:
        return stated
    if not is_read(intake, label, route):
        return Classified(stated.data_class, f"unread:{stated.rule}")
    found = inspect(intake.payload, route.detectors)
    return stated if found is None else Classified(DataClass.SENSITIVE, found)


def is_read(intake: Intake, label: str | None, route: Route) -> bool:
    """Whether the text decides anything: it could leave if nothing is found in it.

    Raises:
        BadRequest: the label is none of the classes.
    """
    may_leave = _stated(label, route).data_class in route.may_leave
    return bool(may_leave and route.targets and route.detectors and intake.inspectable and not intake.stays_for)


def _stated(label: str | None, route: Route) -> Classified:
    """By default and label alone."""
    if label is not None:
        stated = max(map(_parse_label, label.split(",")), key=RANK.__getitem__)
        if RANK[stated] > RANK[route.default_class]:
            return Classified(stated, "label")
    return Classified(route.default_class, "default")


def _parse_label(label: str) -> DataClass:
    for data_class in DataClass:
        if label.strip().lower() == data_class.value.lower():
            return data_class
    choices = ", ".join(data_class.value for data_class in DataClass)
    raise BadRequest(
        f"The header x-spillway-data-class is {label[:40]!r}; it must be one of {choices}.",
        param="x-spillway-data-class",
    )
