"""One request, looked at as it is and as it reads once decoded, layer after layer, within bounds that fail closed."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Final

from spillway.routing.detection.detector import SEAM
from spillway.routing.detection.encoded import decode
from spillway.routing.detection.escapes import unescape
from spillway.routing.detection.fold import fold, tags
from spillway.routing.detection.pieces import collect
from spillway.routing.detection.scan import Scanner

UNINSPECTABLE: Final = "content:uninspectable"
DEEPEST_LAYER: Final = 6
"""Layers of encoding that are opened; text inside more is not inspected, so it counts as found."""
MOST_CHARACTERS: Final = 24 << 20
"""Of all layers together: a body of the largest size (10 MiB) with all of it encoded once."""


def inspect(payload: dict[str, object], families: Collection[str]) -> str | None:
    """The rule that makes a request Sensitive: detector:<name>, content:uninspectable, or None.

    Args:
        payload: a request's body, parsed.
        families: of detectors, PII and Secrets.
    """
    scanner = _scanner(frozenset(families))
    layer = collect(payload).text()
    inspected = 0
    for _ in range(DEEPEST_LAYER):
        inspected += len(layer)
        if inspected > MOST_CHARACTERS:
            return UNINSPECTABLE
        folded = fold(layer)
        found = _scan(scanner, layer, folded)
        if found is not None:
            return f"detector:{found}"
        decoded = decode(folded)
        if decoded.opaque:
            return UNINSPECTABLE
        plain = unescape(folded)
        inner = (plain if plain is not folded else "", decoded.text, tags(layer))
        layer = "\n".join(text for text in inner if text)
        if not layer:
            return None
    return UNINSPECTABLE


def _scan(scanner: Scanner, layer: str, folded: str) -> str | None:
    """As it is, folded, and without the seams, for what goes on across them."""
    views = [layer] if folded is layer else [layer, folded]
    if SEAM in folded:
        views.append(folded.replace(SEAM, ""))
    for view in views:
        found = scanner.scan(view.encode("utf-8", "replace"))
        if found is not None:
            return found
    return None


@lru_cache(maxsize=8)
def _scanner(families: frozenset[str]) -> Scanner:
    return Scanner(families)
