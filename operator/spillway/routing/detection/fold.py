"""Text as a reader takes it: invisible characters gone, and one character for all that look or mean the same.

Compatibility forms are those of Unicode's NFKD (https://www.unicode.org/reports/tr15/), without combining marks;
look-alikes are from https://www.unicode.org/Public/security/latest/confusables.txt, those of ASCII only.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from spillway.routing.detection.detector import SEAM

# ruff: noqa: RUF001
_LOOKALIKES: Final = {
    "A": "АΑ",
    "B": "ВΒꓐ",
    "C": "СϹꓚ",
    "D": "ꓓ",
    "E": "ЕΕꓰ",
    "F": "Ϝꓝ",
    "G": "Ԍꓖ",
    "H": "НΗꓧ",
    "I": "ІΙӀꓲ",
    "J": "Јꓙ",
    "K": "КΚꓗ",
    "L": "ꓡ",
    "M": "МΜꓟ",
    "N": "Νꓠ",
    "O": "ОΟꓳ",
    "P": "РΡꓑ",
    "S": "Ѕꓢ",
    "T": "ТΤꓔ",
    "U": "ꓴ",
    "V": "Ѵꓦ",
    "W": "Ԝꓪ",
    "X": "ХΧꓫ",
    "Y": "ҮΥꓬ",
    "Z": "Ζꓜ",
    "a": "аɑα",
    "c": "сϲ",
    "d": "ԁ",
    "e": "е",
    "g": "ɡ",
    "h": "һ",
    "i": "іıɩι",
    "j": "јϳ",
    "l": "ǀ",
    "n": "ո",
    "o": "оοօ",
    "p": "рρ",
    "q": "ԛ",
    "s": "ѕ",
    "u": "ս",
    "v": "ѵν",
    "w": "ԝ",
    "x": "х",
    "y": "уүγʏ",
    ".": "。·•‧∙⋅・ꓸ",
    "/": "⁄∕⧸",
    ":": "ː∶꞉ꓽ",
    "_": "＿",
    "-": "−",
    "@": "＠﹫",
}
_CONFUSABLES: Final = str.maketrans({other: letter for letter, others in _LOOKALIKES.items() for other in others})
# Seen as nothing, though no category says so: fillers of Hangul, the blank of Braille, the joiner of graphemes.
_INVISIBLE: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
_MOST_REMEMBERED: Final = 65_536
_SLICE_CHARACTERS: Final = 16_384
"""What is folded in one call, so that no other thread waits long for the interpreter."""
_KEPT_CONTROLS: Final = frozenset("\t\n\r" + SEAM)


class _Folding(dict[int, str]):
    """What each code point becomes, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        folded = _fold_character(chr(code))
        if len(self) < _MOST_REMEMBERED:
            self[code] = folded
        return folded


def fold(text: str) -> str:
    """`text` in ASCII as far as it goes."""
    if text.isascii() and not _has_controls(text):
        return text
    slices = range(0, len(text), _SLICE_CHARACTERS)
    return "".join(text[start : start + _SLICE_CHARACTERS].translate(_FOLDING) for start in slices)


def tags(text: str) -> str:
    """ASCII that is spelt in Unicode's invisible tag characters (U+E0020 to U+E007E)."""
    if text.isascii():
        return ""
    return "\n".join(run.translate(_TAG_LETTERS) for run in _TAGS.findall(text))


def _has_controls(text: str) -> bool:
    return text.translate(_NO_CONTROLS) != text


def _fold_character(letter: str) -> str:
    category = unicodedata.category(letter)
    if letter.isascii():
        return "" if category == "Cc" and letter not in _KEPT_CONTROLS else letter
    if category in {"Cf", "Mn", "Me", "Cc", "Cs"} or letter in _INVISIBLE:
        return ""
    known = letter.translate(_CONFUSABLES)
    if known.isascii():
        return known
    digit = unicodedata.digit(letter, None)
    if digit is not None:
        return str(digit)
    parts = unicodedata.normalize("NFKD", letter)
    plain = "".join(part for part in parts if unicodedata.category(part)[0] != "M").translate(_CONFUSABLES)
    if plain and plain.isascii():
        return plain
    return {"P": "-" if category == "Pd" else " ", "S": " ", "Z": " "}.get(category[0], letter)


_FOLDING: Final = _Folding()
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]+")
_TAG_LETTERS: Final = {0xE0000 + code: chr(code) for code in range(0x20, 0x7F)}
_NO_CONTROLS: Final = {code: None for code in (*range(32), 127) if chr(code) not in _KEPT_CONTROLS}
