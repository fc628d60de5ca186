"""Telephone numbers: E.164, common national ways to write them, and what is named as one."""

from __future__ import annotations

import re
from typing import Final

from spillway.api.v1alpha1 import Detector as Family
from spillway.routing.detection.detector import Candidate, Detector, S

# https://www.itu.int/pub/T-SP-E.164D: every code begins so
_COUNTRY_CODES: Final = re.compile(
    r"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    r"|2[1234569]\d|3[578]\d|42[0-3]|50\d|59\d|67\d|68\d|69[0-2]|80[08]|85[02-9]|87\d|88\d|96\d|97\d|99\d"
)
_DATE: Final = re.compile(rb"(?:19|20)\d\d[-/. ]?[01]\d[-/. ]?[0-3]\d")
_E164_SOURCE: Final = "https://www.itu.int/rec/T-REC-E.164"
_LOOSE: Final = r"[\s().\-/\x1f]{0,3}"
# Between blanks alone, three numbers are more often three numbers (256 512 1024).
_NANP_GAP: Final = r"(?:\x1f?\s?[.\-/]\s?\x1f?|\x1f)"
_LEFT: Final = r"(?:^|[^0-9A-Za-z+.\-/])"
_RIGHT: Final = r"(?:[^0-9A-Za-z]|$)"


def _is_north_american(national: str) -> bool:
    """https://www.nationalnanpa.com/: NXX-NXX-XXXX, N from 2 to 9, no area of the kind N11."""
    return len(national) == 10 and national[0] in "23456789" and national[3] in "23456789" and national[1:3] != "11"


def _is_e164(candidate: Candidate) -> bool:
    digits = candidate.digits()
    if digits.startswith("1"):
        return _is_north_american(digits[1:])
    return 9 <= len(digits) <= 15 and _COUNTRY_CODES.match(digits) is not None


def _is_nanp(candidate: Candidate) -> bool:
    following = candidate.after(2)
    goes_on = following[:1] in {b"-", b"."} and following[1:].isdigit()
    return not goes_on and _is_north_american(candidate.digits()[-10:])


def _is_national(candidate: Candidate) -> bool:
    following = candidate.after(2)
    goes_on = following[:1] in {b"-", b".", b" ", b"/"} and following[1:].isdigit()
    return not goes_on and 9 <= len(candidate.digits()) <= 12


def _is_no_date(candidate: Candidate) -> bool:
    return _DATE.match(candidate.core) is None


def _national(pattern: str, source: str) -> Detector:
    return Detector("phone", Family.PII, rf"{_LEFT}({pattern}){_RIGHT}", source, _is_national)


DETECTORS: Final = (
    Detector(
        "phone",
        Family.PII,
        rf"(?:^|[^0-9+])\+{S}([1-9](?:{_LOOSE}\d){{6,14}}){_RIGHT}",
        _E164_SOURCE,
        _is_e164,
    ),
    Detector(
        "phone",
        Family.PII,
        rf"{_LEFT}((?:1[\s.\-]{S})?(?:\({S}\d{S}\d{S}\d{S}\)[\s.\-\x1f]{{0,3}}|\d{S}\d{S}\d{_NANP_GAP})"
        rf"\d{S}\d{S}\d[\s]?(?:\x1f?[.\-]|\x1f)\x1f?[\s]?\d{S}\d{S}\d{S}\d){_RIGHT}",
        "https://www.nationalnanpa.com/about_us/abt_nanp.html",
        _is_nanp,
    ),
    # Britain: 020 7946 0958, 0161 496 0000, 07700 900123; national numbers have ten or eleven digits
    _national(
        rf"0{S}[1-9](?:{S}\d){{1,3}}[ \-\x1f]\d(?:{S}\d){{2,3}}[ \-\x1f]?\d(?:{S}\d){{2,3}}",
        "https://www.ofcom.org.uk/phones-and-broadband/phone-numbers",
    ),
    # France and others: 06 12 34 56 78
    _national(
        rf"0{S}[1-9](?:[ .\-\x1f]\d{S}\d){{4}}",
        "https://www.arcep.fr/la-regulation/grands-dossiers-thematiques-transverses/la-numerotation.html",
    ),
    # Germany: 030/1234567, 0171 1234567
    _national(
        rf"0{S}[1-9](?:{S}\d){{1,3}}\s?[/\- \x1f]\s?\d(?:{S}\d){{5,7}}", "https://www.bundesnetzagentur.de/rufnummern"
    ),
    Detector(
        "phone",
        Family.PII,
        r"(?i)(?:phone|telephone|telefon|t[\xe9e]l[\xe9e]phone|\btel|mobile|mobil|\bfax|whatsapp)"
        rf"[^0-9\n]{{0,20}}(\d(?:{_LOOSE}\d){{6,14}}){_RIGHT}",
        _E164_SOURCE,
        _is_no_date,
    ),
)
