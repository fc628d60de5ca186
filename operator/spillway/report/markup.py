"""Markup by functions: what is text is escaped, so that nothing of a file becomes markup. Well-formed XML too."""

from __future__ import annotations

from html import escape

_EMPTY = frozenset({"circle", "line", "meta", "path", "rect"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | float) -> Markup:
    """An element; an attribute's name may end with `_`, as `class_`, and `_` in it stands for `-`."""
    shown = "".join(f' {_name(key)}="{escape(_value(value))}"' for key, value in attributes.items())
    if name in _EMPTY:
        return Markup(f"<{name}{shown}/>")
    inside = "".join(child if isinstance(child, Markup) else escape(child, quote=False) for child in children)
    return Markup(f"<{name}{shown}>{inside}</{name}>")


def _name(key: str) -> str:
    return key.removesuffix("_").replace("_", "-")


def _value(value: str | float) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
