"""What a query asks for: its metrics, the labels that it matches and groups by. Enough of PromQL for queries of ours.

https://prometheus.io/docs/prometheus/latest/querying/basics/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(
    r"([A-Za-z_:][\w:]*)(?![\w:])\s*(?:\{([^}]*)\})?(?=\s*(?:\[[^\]]*\]|[-+*/><=)]|$|and\b|or\b|unless\b))"
)
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset"}


@dataclass(frozen=True, slots=True)
class Selector:
    """One metric, with its matchers: label, operator, value."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Query:
    """The selectors of a query, and the labels that it groups by."""

    selectors: tuple[Selector, ...]
    grouped_by: frozenset[str]


def read(text: str) -> Query:
    """What a query asks for."""
    grouped = {label.strip() for labels in _GROUPING.findall(text) for label in labels.split(",") if label.strip()}
    return Query(tuple(_selectors(_GROUPING.sub(" ", text))), frozenset(grouped))


def _selectors(text: str) -> Iterator[Selector]:
    # a brace within a string would end a selector; ours have none
    for metric, braces in _SELECTOR.findall(text):
        if metric not in _WORDS:
            yield Selector(metric, tuple(_MATCHER.findall(braces)))
