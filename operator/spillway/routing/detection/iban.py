"""International bank account numbers: country, length, mod 97."""

from __future__ import annotations

import re
from typing import Final

from spillway.api.v1alpha1 import Detector as Family
from spillway.routing.detection.detector import Candidate, Detector, S

# https://www.swift.com/swift-resource/9606/download (SWIFT IBAN registry), lengths with country and check digits
_LENGTHS_BY_COUNTRY: Final = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL SD FK",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK MN",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
_COUNTRIES: Final = "|".join(f"{country[0]}{S}{country[1]}" for country in sorted(_LENGTHS_BY_COUNTRY))
_LONGEST_TEXT: Final = 33 * 4
_PIECES: Final = re.compile(r"[A-Z0-9]+|[^A-Z0-9]+")
_LONGEST_GAP: Final = 3


def mod_97(number: str) -> int:
    """The remainder of ISO 13616: 1 for a right number."""
    return int("".join(str(int(letter, 36)) for letter in number[4:] + number[:4])) % 97


def _is_iban(candidate: Candidate) -> bool:
    text = candidate.text[candidate.start : candidate.start + _LONGEST_TEXT].decode("latin-1").upper()
    collected = ""
    length = 0
    for piece in _PIECES.findall(text):
        if not piece[0].isascii() or not piece[0].isalnum():
            if len(piece) > _LONGEST_GAP:
                return False
            continue
        collected += piece
        if not length and len(collected) >= 2:
            length = _LENGTHS_BY_COUNTRY.get(collected[:2], 0)
        if len(collected) >= length > 0:
            return len(collected) == length and collected[2:4].isdigit() and mod_97(collected) == 1
    return False


DETECTORS: Final = (
    Detector(
        "iban",
        Family.PII,
        rf"(?i)((?:{_COUNTRIES}){S}\d{S}\d)[^A-Za-z0-9]{{0,3}}[A-Za-z0-9]",
        "https://www.swift.com/standards/data-standards/iban-international-bank-account-number",
        _is_iban,
    ),
)
