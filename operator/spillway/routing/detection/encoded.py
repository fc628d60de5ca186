"""Text inside base64 and hexadecimal digits, wherever it begins and however its lines are wrapped.

A base64 text can begin at any of four places of a group. So every long run of its letters is decoded four times, each
time one letter later; what was encoded is readable in one of the four, and all else is noise, of which the stretches
that are no text are dropped. All runs are decoded in one call: their number does not matter.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import re2

_STANDARD_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_TO_STANDARD: Final = {ord("-"): ord("+"), ord("_"): ord("/")}
_LETTERS: Final = bytes(byte if byte in _STANDARD_LETTERS else _TO_STANDARD.get(byte, ord(" ")) for byte in range(256))
"""Both alphabets as the standard one (https://www.rfc-editor.org/rfc/rfc4648#section-4), all else as blanks."""
_BETWEEN: Final = b"AAAA"
"""Zeros, so that no byte of one run gets into the text of the next."""
_SHORTEST_RUN: Final = 11
_SLICE_BYTES: Final = 65_536
_OVERLAP_BYTES: Final = 256
_MOST_LINES: Final = 64
"""Of a run of lines that are joined anew for each word that may not belong to it; a longer one keeps its middle."""
_WORDS_BEFORE: Final = 2
_WORDS_BEHIND: Final = 4
_APART: Final = b"\n;\n"
"""Between stretches, of which one may be part of another: across it nothing goes on, no number either."""
_WHITE: Final = b"= \t\r\n\x1f"
_LETTER: Final = "[A-Za-z0-9+/_-]"


def _latin(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 64 << 20
    return re2.compile(pattern.encode("latin-1"), options)


_SHORTEST_STRETCH: Final = 8
# Printable ASCII and whole sequences of UTF-8 (https://www.rfc-editor.org/rfc/rfc3629#section-4).
_STRETCH: Final = _latin(
    rf"(?:[\x20-\x7e\t\r\n]|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{{2}}|[\xf0-\xf4][\x80-\xbf]{{3}}){{{_SHORTEST_STRETCH},}}"
)
_ANY_RUN: Final = _latin(rf"{_LETTER}{{{_SHORTEST_RUN}}}")
_WRAPPED: Final = _latin(rf"{_LETTER}+(?:=*[ \t]*[\r\n\x1f]+[ \t]*{_LETTER}+)+")
_LINE_END: Final = re.compile(rb" +")
_HEX_RUN: Final = _latin(r"[0-9A-Fa-f]{2}(?:[ :,]?[0-9A-Fa-f]{2}){8,}[0-9A-Fa-f]?")
_NO_HEX: Final = b" :,"

# A payload of this many characters is more than a digest (SHA-512: 88) or a signature in a token (RS512: 683 bits more
# than none are flagged as tokens anyhow); shorter ones say too little to hide a picture.
LONGEST_OPAQUE: Final = 200
_LONG_RUN: Final = _latin(rf"{_LETTER}{{40,}}(?:[ \t]*[\r\n\x1f]+[ \t]*{_LETTER}{{40,}})*{_LETTER}*")
_DATA_URL: Final = _latin(r"(?i)data:([a-z0-9.+-]+/[a-z0-9.+-]+)(?:;[a-z0-9.=\"+-]+)*;base64,")
_TEXT_TYPE: Final = re.compile(rb"(?i)text/|application/(?:json|xml|javascript|x-yaml|yaml)")
_READABLE_SHARE: Final = 0.75


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text that was found, in stretches; `opaque` when there is a payload that is no text."""

    text: str
    opaque: bool


def decode(text: str) -> Decoded:
    """What base64 and hexadecimal digits in `text` say: one layer of them."""
    data = text.encode("utf-8", "replace")
    if all(pattern.search(data) is None for pattern in (_ANY_RUN, _WRAPPED, _HEX_RUN)):
        return Decoded("", opaque=False)
    stretches = _base64([*_runs(data), *_wrapped_runs(data)])
    stretches += _hexadecimal(data.replace(b"\x1f", b""))
    found = _APART.join(dict.fromkeys(stretches)).decode("utf-8", "replace")
    return Decoded(found, opaque=_has_opaque_payload(data))


def _runs(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _SLICE_BYTES):
        words = data[start : start + _SLICE_BYTES + _OVERLAP_BYTES].translate(_LETTERS).split()
        yield from (word for word in words if len(word) >= _SHORTEST_RUN)


def _wrapped_runs(data: bytes) -> Iterator[bytes]:
    for run in _WRAPPED.findall(data):
        lines = _LINE_END.split(run.translate(_LETTERS, b"= \t"))
        if len(lines) <= _MOST_LINES:
            yield from _without_its_ends(lines)
        else:
            yield b"".join(lines)
            yield from _without_its_ends(lines[:_MOST_LINES])
            yield from _without_its_ends(lines[-_MOST_LINES:])


def _without_its_ends(lines: list[bytes]) -> Iterator[bytes]:
    """The first lines can be words of the sentence before, the last ones of that behind, and of pieces of them."""
    for start in range(_WORDS_BEFORE + 1):
        for words_behind in range(_WORDS_BEHIND + 1):
            run = b"".join(lines[start : len(lines) - words_behind])
            if len(run) >= _SHORTEST_RUN:
                yield run


def _base64(runs: list[bytes]) -> list[bytes]:
    letters = _BETWEEN.join(runs)
    return [stretch for offset in range(4) for stretch in _STRETCH.findall(_groups(letters, offset))]


def _groups(letters: bytes, offset: int) -> bytes:
    # zeros behind the end, so that a last group that is not full is decoded too
    view = letters[offset:]
    return binascii.a2b_base64(view + b"A" * (-len(view) % 4))


def _hexadecimal(data: bytes) -> list[bytes]:
    texts = []
    for run in _HEX_RUN.findall(data):
        digits = run.translate(None, _NO_HEX).decode("ascii")
        texts += [bytes.fromhex(digits[start : len(digits) - (len(digits) - start) % 2]) for start in (0, 1)]
    found: list[bytes] = _STRETCH.findall(b"\0".join(texts))
    return found


def _has_opaque_payload(data: bytes) -> bool:
    """Whether base64 here holds what is no text: a picture, an archive, something encrypted."""
    if any(_TEXT_TYPE.match(kind) is None for kind in _DATA_URL.findall(data)):
        return True
    return any(_is_opaque(run.translate(None, _WHITE)) for run in _LONG_RUN.findall(data))


def _is_opaque(run: bytes) -> bool:
    if len(run) < LONGEST_OPAQUE or run.isdigit() or run.upper() == run or run.lower() == run:
        return False
    if not any(48 <= byte <= 57 for byte in run):
        return False
    letters = run.translate(_LETTERS)
    readable = max(sum(map(len, _STRETCH.findall(_groups(letters, offset)))) for offset in range(4))
    return readable < _READABLE_SHARE * len(run) * 3 / 4
