"""Credentials that no provider's prefix gives away: private keys, tokens that are signed, strings with a password."""

from __future__ import annotations

import binascii
import re
from typing import Final

import orjson

from spillway.api.v1alpha1 import Detector as Family
from spillway.routing.detection.detector import Candidate, Detector

# Names that stand for a password in documentation, and what templates put in place of one.
_PLACEHOLDER: Final = re.compile(
    rb"(?i)[$<{%\[(].*|[*x.#-]+|(?:your|my|the|db)?[_-]?(?:password|passwd|pass|pwd|secret|token)|changeme|example|null|none"
    rb"|.*(?:your[_-]|placeholder|redacted|getenv|environ).*"
)
_LONGEST_HEADER: Final = 4096


def _is_no_placeholder(candidate: Candidate) -> bool:
    return _PLACEHOLDER.fullmatch(candidate.core) is None


def _has_header(candidate: Candidate) -> bool:
    """RFC 7515 and 7516: the first part is a JSON object in base64url that names an algorithm."""
    part = candidate.core[:_LONGEST_HEADER].split(b".")[0]
    try:
        header = orjson.loads(binascii.a2b_base64(part.translate(_STANDARD) + b"=="))
    except (ValueError, binascii.Error):
        return False
    return isinstance(header, dict) and bool({"alg", "typ", "enc"} & header.keys())


_STANDARD: Final = bytes.maketrans(b"-_", b"+/")

DETECTORS: Final = (
    Detector(
        "private-key",
        Family.SECRETS,
        r"-----BEGIN[A-Z0-9 ]{0,40} PRIVATE KEY(?: BLOCK)?-----|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----",
        "https://www.rfc-editor.org/rfc/rfc7468; OpenSSH's and OpenPGP's armour say the same words",
    ),
    Detector(
        "private-key",
        Family.SECRETS,
        r"PuTTY-User-Key-File-[0-9]",
        "https://the.earth.li/~sgtatham/putty/0.81/htmldoc/AppendixC.html",
    ),
    Detector(
        "private-key",
        Family.SECRETS,
        r"b3BlbnNzaC1rZXktdjE[A-Za-z0-9+/]{20}",
        "https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL.key: openssh-key-v1 in base64",
    ),
    Detector(
        "jwt",
        Family.SECRETS,
        r"(ey[IJ][A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*)",
        "https://www.rfc-editor.org/rfc/rfc7515#section-3.1",
        _has_header,
    ),
    Detector(
        "connection-string",
        Family.SECRETS,
        r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#:@\"'`<>]*:([^\s/?#@\"'`]+)@[A-Za-z0-9\[_.$-]",
        "https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1: userinfo",
        _is_no_placeholder,
    ),
    Detector(
        "connection-string",
        Family.SECRETS,
        r"(?i)(?:server|data source|host|hostname|address|uid|user id|username|user|database|initial catalog|dsn)"
        r"\s*=[^;\n]+;(?:[^\n]*;)?\s*(?:password|pwd)\s*=\s*([^;\s\"'&]+)",
        "https://learn.microsoft.com/dotnet/framework/data/adonet/connection-strings",
        _is_no_placeholder,
    ),
    Detector(
        "connection-string",
        Family.SECRETS,
        r"(?i)(?:password|pwd)\s*=\s*([^;\s\"'&]+);[^\n]*(?:server|data source|host|address|uid|user id|database)\s*=",
        "https://learn.microsoft.com/dotnet/framework/data/adonet/connection-strings",
        _is_no_placeholder,
    ),
    Detector(
        "connection-string",
        Family.SECRETS,
        r"(?i)jdbc:[a-z0-9:]+[^\s\"']*[?;&](?:password|pwd)=([^&;\s\"']+)",
        "https://jdbc.postgresql.org/documentation/use/",
        _is_no_placeholder,
    ),
    Detector(
        "connection-string",
        Family.SECRETS,
        r"(?i)jdbc:oracle:[a-z]+:[^\s/\"']+/([^\s@\"']+)@",
        "https://docs.oracle.com/en/database/oracle/oracle-database/23/jjdbc/data-sources-and-URLs.html",
        _is_no_placeholder,
    ),
    Detector(
        "http-credential",
        Family.SECRETS,
        r"(?i)authorization[\"']?\s*[:=,]\s*[\"'`]?(?:basic|bearer|token)\s+([A-Za-z0-9._~+/-]{16,})",
        "https://www.rfc-editor.org/rfc/rfc9110#section-11.6.2",
        _is_no_placeholder,
    ),
)
