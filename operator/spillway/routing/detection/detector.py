"""What a detector is: a name, a pattern whose format has a source, and a check of what the pattern cannot say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from spillway.api.v1alpha1 import Detector as Family

SEAM: Final = "\x1f"
"""Stands where one piece of a request ends and the next begins (ASCII's unit separator; pieces are cleared of it)."""
S: Final = r"\x1f?"
"""A seam may stand here; for patterns of digits, which a seam may cut anywhere."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Where a pattern matched: `core` is its first group, or all of it, without seams."""

    text: bytes
    start: int
    end: int
    core: bytes

    def before(self, count: int) -> bytes:
        """At most `count` bytes in front."""
        return self.text[max(0, self.start - count) : self.start]

    def after(self, count: int) -> bytes:
        """At most `count` bytes behind."""
        return self.text[self.end : self.end + count]

    def digits(self) -> str:
        """The digits of the core."""
        return "".join(chr(byte) for byte in self.core if 48 <= byte <= 57)


def _always(_: Candidate) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind of match.

    `name` goes to the audit line. `pattern` is RE2 over Latin-1 bytes of folded text; a first group is what the check
    looks at, and where the search goes on after a refusal. `source` says where the format is from. `accepts` must be
    linear in its candidate.
    """

    name: str
    family: Family
    pattern: str
    source: str
    accepts: Callable[[Candidate], bool] = _always
