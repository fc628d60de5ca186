"""All detectors over one text: one pass of an RE2 set says which may match, and only those are looked at closely."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import re2

from spillway.routing.detection import addresses, cards, credentials, iban, keys, personal, phone
from spillway.routing.detection.detector import Candidate, Detector

ALL: Final[tuple[Detector, ...]] = (
    *personal.DETECTORS,
    *cards.DETECTORS,
    *iban.DETECTORS,
    *phone.DETECTORS,
    *addresses.DETECTORS,
    *credentials.DETECTORS,
    *keys.DETECTORS,
)
NAMES: Final = frozenset(detector.name for detector in ALL)
_SET_MEMORY_BYTES: Final = 32 << 20
"""Of the automata that RE2 builds as it goes: enough that a set never gives up, which it would do without a word."""
_PATTERN_MEMORY_BYTES: Final = 2 << 20
"""The same of each pattern, which out of memory goes on more slowly."""


class Scanner:
    """The detectors of some families, compiled. Safe to share among threads."""

    def __init__(self, families: Collection[str]) -> None:
        self._detectors = tuple(detector for detector in ALL if detector.family.value in families)
        patterns = [detector.pattern.encode("latin-1") for detector in self._detectors]
        self._compiled = tuple(re2.compile(pattern, _options(_PATTERN_MEMORY_BYTES)) for pattern in patterns)
        self._set = re2.Set.SearchSet(_options(_SET_MEMORY_BYTES))
        for pattern in patterns:
            self._set.Add(pattern)
        self._set.Compile()

    def scan(self, text: bytes) -> str | None:
        """The name of the first detector, in the order of `ALL`, that finds something in `text`."""
        hits: list[int] = sorted(self._set.Match(text) or ())
        for index in hits:
            if self._finds(index, text):
                return self._detectors[index].name
        return None

    def _finds(self, index: int, text: bytes) -> bool:
        detector, pattern = self._detectors[index], self._compiled[index]
        group = min(pattern.groups, 1)
        at = 0
        while True:
            match = pattern.search(text, at)
            if match is None:
                return False
            start, end = match.span(group)
            if start < 0:  # the match is of an alternative that has no group
                start, end = match.span()
            if detector.accepts(Candidate(text, start, end, text[start:end].replace(b"\x1f", b""))):
                return True
            at = max(end, at + 1)


def _options(memory_bytes: int) -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = memory_bytes
    return options
