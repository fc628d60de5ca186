"""Social security numbers and e-mail addresses."""

from __future__ import annotations

import re
from typing import Final

from spillway.api.v1alpha1 import Detector as Family
from spillway.routing.detection.detector import Candidate, Detector, S

_SSN_SOURCE: Final = "https://www.ssa.gov/employer/randomization.html"
_GAP: Final = r"[\s._/+~*\x1f-]{1,4}"
_LABEL: Final = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_VERSION: Final = re.compile(rb"v?\d+(?:\.\d+)+")
# What ends in these after an @ is a file's name (icon@2x.png) or a pre-release (left-pad@1.0.0-next.rc), not a mailbox.
_NOT_TOP_LEVEL: Final = frozenset(
    b"png jpg jpeg gif webp svg css scss js mjs ts tsx jsx json map html xml yaml yml toml lock rc".split()
)


def _is_ssn(candidate: Candidate) -> bool:
    """Area 001-899 without 666, group 01-99, serial 0001-9999."""
    number = candidate.digits()
    area, group, serial = number[:3], number[3:5], number[5:]
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def _is_mailbox(candidate: Candidate) -> bool:
    local, _, domain = candidate.core.rpartition(b"@")
    if domain.rpartition(b".")[2].lower() in _NOT_TOP_LEVEL or _VERSION.match(domain):
        return False
    # git@github.com:team/repository names a repository and nobody
    return not (local.endswith(b"git") and candidate.after(1) in {b":", b"/"})


SSN: Final = Detector(
    "ssn",
    Family.PII,
    rf"(?:^|[^0-9])(\d{S}\d{S}\d{_GAP}\d{S}\d{_GAP}\d{S}\d{S}\d{S}\d)(?:[^0-9]|$)",
    _SSN_SOURCE,
    _is_ssn,
)
NAMED_SSN: Final = Detector(
    "ssn",
    Family.PII,
    rf"(?i)(?:ssn|social[\s_-]*security)[^0-9]{{0,24}}(\d(?:{S}\d){{8}})(?:[^0-9]|$)",
    _SSN_SOURCE,
    _is_ssn,
)
EMAIL: Final = Detector(
    "email",
    Family.PII,
    rf"([A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{0,2}}[A-Za-z0-9_+-]@(?:{_LABEL}\.)+[A-Za-z]{{2,63}})",
    "https://www.rfc-editor.org/rfc/rfc5322#section-3.4.1 as people write it: a last label of letters",
    _is_mailbox,
)
DETECTORS: Final = (SSN, NAMED_SSN, EMAIL)
