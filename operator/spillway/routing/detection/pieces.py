"""The texts of a request: what is said in it, piece by piece in its order, and all other strings and numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import orjson

from spillway.routing.detection.detector import SEAM

# Values of these name a thing of the protocol. A word of theirs between two pieces must not keep them apart.
_STRUCTURAL: Final = frozenset({"id", "model", "name", "role", "tool_call_id", "type"})
_LONGEST_LABELLED: Final = 64
_BETWEEN: Final = "\n;\n"
"""Across which nothing goes on, no encoding either."""
_DEEPEST_JSON: Final = 3


@dataclass(slots=True)
class Pieces:
    """`said` are values in their order, which may continue one another; `rest` are keys, names and encoded JSON."""

    said: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)

    def text(self) -> str:
        """All of it, once: seams between what is said, lines between the rest."""
        return _BETWEEN.join([SEAM.join(piece.replace(SEAM, " ") for piece in self.said), *self.rest])


def collect(payload: dict[str, object]) -> Pieces:
    """Every string and number of a body, keys and values; JSON inside a string is walked too."""
    pieces = Pieces()
    # the last is taken first; `label` is the key that a value stands under
    stack: list[tuple[object, str, int]] = [(payload, "", 0)]
    while stack:
        value, label, depth = stack.pop()
        if isinstance(value, dict):
            for key, inner in reversed(value.items()):
                if value is payload and isinstance(inner, int | float):
                    # a parameter such as max_tokens: its digits are not to run into those of what was said before it
                    pieces.rest.append(f"{key}: {inner}")
                else:
                    stack.append((inner, key, depth))
            pieces.rest.extend(value)
        elif isinstance(value, list):
            stack.extend((inner, label, depth) for inner in reversed(value))
        elif isinstance(value, str):
            nested = _parse(value) if depth < _DEEPEST_JSON else None
            if nested is not None:
                pieces.rest.append(value)
                stack.append((nested, label, depth + 1))
            else:
                _add(pieces, value, label)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            _add(pieces, str(value), label)
    return pieces


def _add(pieces: Pieces, value: str, label: str) -> None:
    if label in _STRUCTURAL:
        pieces.rest.append(value)
    else:
        pieces.said.append(value)
    if len(value) <= _LONGEST_LABELLED and len(label) <= _LONGEST_LABELLED:
        # so that what only its name gives away is found: {"ssn": 123456789}
        pieces.rest.append(f"{label}: {value}")


def _parse(text: str) -> object | None:
    """The JSON object or array that `text` is, if it is one."""
    bare = text.strip()
    if (bare[:1], bare[-1:]) not in {("{", "}"), ("[", "]")}:
        return None
    try:
        parsed: object = orjson.loads(bare)
    except orjson.JSONDecodeError:
        return None
    return parsed
