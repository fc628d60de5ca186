"""The class of a request: the object's default, raised by the caller's label, raised by detectors; never lowered.

Detectors run on RE2 (linear time, whatever the input: https://github.com/google/re2/wiki/WhyRE2) over every string of
the body, so neither the place of a match nor JSON's escapes hide it.
"""

from __future__ import annotations

from typing import Final

import re2

from spillway.api.v1alpha1 import DataClass
from spillway.errors import BadRequest
from spillway.routing.facts import Classified, Intake, Route

RANK: Final = {DataClass.PUBLIC: 0, DataClass.INTERNAL: 1, DataClass.SENSITIVE: 2}

# United States social security number: area 001-899 without 666, group 01-99, serial 0001-9999
# (https://www.ssa.gov/employer/randomization.html), in three parts, or in one after its name.
_SSN: Final = re2.compile(r"\b(\d{3})[\s\pZ\p{Pd}._/]{1,3}(\d{2})[\s\pZ\p{Pd}._/]{1,3}(\d{4})\b")
_NAMED_SSN: Final = re2.compile(r"(?i)\b(?:ssn|social\s+security)\D{0,24}(\d{3})(\d{2})(\d{4})\b")
# The address of RFC 5322 as people write it: a local part, an @, labels, and a last label of letters.
_EMAIL: Final = re2.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)


def classify(intake: Intake, label: str | None, route: Route) -> Classified:
    """Class `intake`, of which the caller says `label` (the x-spillway-data-class header, or None).

    Raises:
        BadRequest: the label is none of the classes.
    """
    if not intake.inspectable:
        return Classified(DataClass.SENSITIVE, "content:uninspectable")
    classified = Classified(route.default_class, "default")
    if label is not None:
        stated = _parse_label(label)
        if RANK[stated] > RANK[classified.data_class]:
            classified = Classified(stated, "label")
    if classified.data_class is not DataClass.SENSITIVE and "PII" in route.detectors:
        found = detect_pii(intake.text)
        if found is not None:
            return Classified(DataClass.SENSITIVE, f"detector:{found}")
    return classified


def detect_pii(text: str) -> str | None:
    """The name of the first detector that matches `text`: "ssn", "email", or None."""
    if "@" in text and _EMAIL.search(text):
        return "email"
    if any(_is_ssn(*match) for pattern in (_SSN, _NAMED_SSN) for match in pattern.findall(text)):
        return "ssn"
    return None


def _parse_label(label: str) -> DataClass:
    for data_class in DataClass:
        if label.strip().lower() == data_class.value.lower():
            return data_class
    choices = ", ".join(data_class.value for data_class in DataClass)
    raise BadRequest(
        f"The header x-spillway-data-class is {label[:40]!r}; it must be one of {choices}.",
        param="x-spillway-data-class",
    )


def _is_ssn(area: str, group: str, serial: str) -> bool:
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"
