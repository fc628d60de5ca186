"""Payment cards: issuer, length, Luhn, and the ways in which people group the digits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from spillway.api.v1alpha1 import Detector as Family
from spillway.routing.detection.detector import Candidate, Detector

# First digits and lengths: https://en.wikipedia.org/wiki/Payment_card_number (Visa's 13 digits are no longer issued).
_ISSUERS: Final = re.compile(
    r"(?:4\d{15}(?:\d{3})?"  # Visa
    r"|5[1-5]\d{14}|(?:222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[689]\d)\d{11}(?:\d{2})?"  # Diners Club
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12,15}"  # Discover
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|62\d{14,17}"  # UnionPay
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{12,15}"  # Maestro
    r"|220[0-4]\d{12,15}"  # Mir
    r")"
)
_GROUPS: Final = re.compile(r"\d+")
_SINGLES: Final = re.compile("1+")
# Lengths of groups as they stand on the cards.
_SHAPES: Final = ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (8, 8), (6, 13))
_SHAPES_BY_FIRST: Final = {first: [shape for shape in _SHAPES if shape[0] == first] for first in (4, 6, 8)}
_LEAST, _MOST = 14, 19


def luhn(number: str) -> bool:
    """Whether the last digit is the check digit (ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _is_number(number: str) -> bool:
    return _ISSUERS.fullmatch(number) is not None and len(set(number)) > 1 and luhn(number)


def _numbers(groups: list[str]) -> Iterator[str]:
    """What of a run of digit groups could be one number: all of it, one group, groups as on a card, single digits."""
    if sum(map(len, groups)) <= _MOST:
        yield "".join(groups)
    lengths = [len(group) for group in groups]
    for first, length in enumerate(lengths):
        if _LEAST <= length <= _MOST:
            yield groups[first]
        for shape in _SHAPES_BY_FIRST.get(length, ()):
            if tuple(lengths[first : first + len(shape)]) == shape:
                yield "".join(groups[first : first + len(shape)])
    for singles in _SINGLES.finditer("".join("1" if length == 1 else "0" for length in lengths)):
        if _LEAST <= singles.end() - singles.start() <= _MOST:
            yield "".join(groups[singles.start() : singles.end()])


def _groups(text: str) -> Iterator[str]:
    # one by one: a run of digits can be as long as the text, and other threads wait for a call of C to end
    for group in _GROUPS.finditer(text):
        start, end = group.span()
        # the places behind a decimal point are the number of no card
        is_fraction = end - start >= _LEAST and start >= 2 and text[start - 1] == "." and text[start - 2].isdigit()
        yield "" if is_fraction else group[0]


def _holds_card(candidate: Candidate) -> bool:
    return any(_is_number(number) for number in _numbers(list(_groups(candidate.core.decode("latin-1")))))


DETECTORS: Final = (
    Detector(
        "card",
        Family.PII,
        r"(\d(?:[^0-9A-Za-z]{0,4}\d){13,})",
        "https://www.iso.org/standard/70484.html (ISO/IEC 7812-1) and the issuers' ranges in cards.py",
        _holds_card,
    ),
)
