"""Addresses of machines on the Internet, each of which may stand for a person (a subscriber's, a visitor's)."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from spillway.api.v1alpha1 import Detector as Family
from spillway.routing.detection.detector import Candidate, Detector, S

# Public resolvers, which everyone writes down and which are nobody's.
_NOBODY: Final = frozenset(
    ipaddress.ip_address(address)
    for address in (
        *("1.1.1.1", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9", "208.67.222.222", "208.67.220.220"),
        *("2001:4860:4860::8888", "2001:4860:4860::8844", "2606:4700:4700::1111", "2606:4700:4700::1001"),
    )
)
_VERSION_WORD: Final = re.compile(
    rb"(?i)(?:version|release|build|firmware|ver|rev|section|chapter|clause)[\s.:=\"'v]*$"
)
_OCTET: Final = rf"\d(?:{S}\d){{0,2}}"
_DOT: Final = rf"{S}\.{S}"


def _is_public_v4(candidate: Candidate) -> bool:
    """A global unicast address that is no version, section number or network."""
    before, after = candidate.before(24), candidate.after(2)
    left = before[-1:]
    if left in {b".", b"-", b"_"} or (left == b"/" and not before.endswith(b"//")) or _VERSION_WORD.search(before):
        return False
    if after[:1] == b"_" or (after[:1] in {b".", b"-"} and after[1:].isdigit()):
        return False
    octets = candidate.core.split(b".")
    if all(len(octet) == 1 for octet in octets) or octets[-1] == b"0":
        return False
    return _is_somebodys(candidate.core.decode("ascii"))


def _is_public_v6(candidate: Candidate) -> bool:
    return _is_somebodys(candidate.core.decode("ascii").rstrip(":"))


def _is_somebodys(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_global and not address.is_multicast and address not in _NOBODY


DETECTORS: Final = (
    Detector(
        "ip",
        Family.PII,
        rf"(?:^|[^0-9A-Za-z])({_OCTET}{_DOT}{_OCTET}{_DOT}{_OCTET}{_DOT}{_OCTET})(?:[^0-9A-Za-z]|$)",
        "https://www.iana.org/assignments/iana-ipv4-special-registry: those that are globally reachable",
        _is_public_v4,
    ),
    Detector(
        "ip",
        Family.PII,
        r"(?i)(?:^|[^0-9A-Za-z:])([23][\x1f]?[0-9a-f](?:[\x1f]?[0-9a-f]){2}[\x1f]?:(?:[\x1f]?[0-9a-f:]){3,34})(?:[^0-9A-Za-z:]|$)",
        "https://www.iana.org/assignments/ipv6-address-space: 2000::/3, global unicast",
        _is_public_v6,
    ),
)
