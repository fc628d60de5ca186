r"""Characters written as something else, put back in place: \u0034, \x34, %34, &#52;, &num;, \n, \"."""

from __future__ import annotations

import html
import re
from typing import Final

import re2

from spillway.routing.detection.detector import SEAM

_HEX: Final = r"\x1f?[0-9A-Fa-f]"
_PERCENT: Final = rf"%{_HEX}{_HEX}"
_BYTE: Final = rf"\\\x1f?x{_HEX}{_HEX}"
_UNIT: Final = rf"\\\x1f?u(?:{_HEX}){{4}}"
_TOKEN_TEXT: Final = (
    rf"{_PERCENT}(?:\x1f?{_PERCENT})*"
    rf"|{_BYTE}(?:\x1f?{_BYTE})*"
    rf"|{_UNIT}(?:\x1f?{_UNIT})*"
    rf"|\\\x1f?u\x1f?\{{(?:{_HEX}){{1,6}}\x1f?\}}|\\\x1f?U(?:{_HEX}){{8}}"
    r"|&\x1f?#(?:\x1f?[0-9]){1,7}(?:\x1f?;)?|&\x1f?#\x1f?[xX](?:\x1f?[0-9A-Fa-f]){1,6}(?:\x1f?;)?"
    r"|&\x1f?[A-Za-z](?:\x1f?[A-Za-z0-9]){1,24}\x1f?;"
    r"|\\\x1f?[nrt\"'/\\]"
)
_TOKEN: Final = re.compile(_TOKEN_TEXT)
_ANY_TOKEN: Final = re2.compile(_TOKEN_TEXT.encode())
_LETTERS: Final = {"n": "\n", "r": "\r", "t": "\t"}
_SLICE_CHARACTERS: Final = 16_384
"""What is resolved in one call at least, so that no other thread waits long for the interpreter."""
_OUTSIDE: Final = re.compile(r"[^0-9A-Za-z%\\&#;{}\x1f\"'/]")
"""What is part of no escape: there the text may be cut."""
_HIGHEST: Final = 0x10FFFF


def unescape(text: str) -> str:
    """`text` with one layer of every kind of escape resolved; the same object when there is none.

    A seam inside an escape does not hide it. What is no character is left out.
    """
    if _ANY_TOKEN.search(text.encode("utf-8", "replace")) is None:
        return text
    pieces = []
    start = 0
    while start < len(text):
        cut = _OUTSIDE.search(text, start + _SLICE_CHARACTERS)
        end = len(text) if cut is None else cut.end()
        pieces.append(_TOKEN.sub(_resolve, text[start:end]))
        start = end
    return "".join(pieces)


def _resolve(match: re.Match[str]) -> str:
    token = match[0].replace(SEAM, "")
    if token[0] == "%":
        return bytes.fromhex(token.replace("%", "")).decode("utf-8", "replace")
    if token[0] == "&":
        return html.unescape(token)
    kind = token[1]
    if kind == "x":
        return bytes.fromhex(token.replace("\\x", "")).decode("utf-8", "replace")
    if kind == "U" or token[2:3] == "{":
        code = int(token[2:].strip("{}"), 16)
        return chr(code) if code <= _HIGHEST else ""
    if kind == "u":
        return bytes.fromhex(token.replace("\\u", "")).decode("utf-16-be", "replace")
    return _LETTERS.get(kind, kind)
