"""The files that advice is asked with, and those that it is written to."""

from __future__ import annotations

import sys
from pathlib import Path

from spillway.advisor.prices import ListPrice, load_prices
from spillway.advisor.setups import Setup, load_setups
from spillway.errors import InvalidSetting


def read_text(path: Path, option: str) -> str:
    """The text of the file at `path` (`-`: standard input); raises InvalidSetting that names the `option`."""
    try:
        return sys.stdin.read() if path == Path("-") else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{option}: {path} cannot be read ({error}); name a YAML file, or -") from error


def read_setups(path: Path | None) -> tuple[Setup, ...] | None:
    """The setups of the file; None without one.

    Raises:
        InvalidSetting: the file cannot be read.
        InvalidObject: a setup in it cannot be used.
    """
    return None if path is None else load_setups(read_text(path, "--setups"))


def write_text(path: Path, text: str, option: str) -> None:
    """Write the file at `path`, as a whole or not at all; raises InvalidSetting that names the `option`."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise InvalidSetting(f"{option}: {path} cannot be written ({error}); name another file") from error


def read_prices(path: Path | None) -> tuple[ListPrice, ...] | None:
    """The prices of the file; None without one.

    Raises:
        InvalidSetting: the file cannot be read.
        InvalidObject: a price in it cannot be used.
    """
    return None if path is None else load_prices(read_text(path, "--prices"))
