"""Where traffic was measured: an audit log, an exposition of metrics, or Prometheus; told apart by what it is."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

from spillway.advisor.traffic import Traffic
from spillway.errors import InvalidSetting
from spillway.report.audit_log import read_audit
from spillway.report.metrics import fetch, of_exposition, of_prometheus, prometheus

_GZIP: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_PART_BYTES: Final = 64 * 1024
_PROMETHEUS_DAYS: Final = 30.0
_LONGEST_LINE: Final = 1024 * 1024
_METRIC: Final = (b"# HELP ", b"# TYPE ", b"spillway_")


def read_source(source: str, days: float | None) -> Traffic:
    """The traffic that `source` tells of.

    Raises:
        InvalidSetting: it cannot be read, or `days` is missing or told twice; names the option.
    """
    if source.startswith(("http://", "https://")):
        if source.partition("?")[0].rstrip("/").endswith("/metrics"):
            return of_exposition(fetch(source).decode(errors="replace"), source, _stated(days))
        return of_prometheus(prometheus(source), source, _PROMETHEUS_DAYS if days is None else days)
    try:
        with _opened(source) as stream:
            lines = _lines(stream)
            first = next(lines, b"")
            if first.startswith(_METRIC):
                text = b"\n".join(chain((first,), lines)).decode(errors="replace")
                return of_exposition(text, source, _stated(days))
            if days is not None:
                raise InvalidSetting("--days: audit lines tell their own time; leave it out")
            return read_audit(chain((first,), lines), source)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidSetting(f"--from: {source} cannot be read ({error}); name a file, an address, or -") from error


def _stated(days: float | None) -> float:
    if days is None:
        raise InvalidSetting("--days: metrics tell no time; state how many days the gateways have been counting")
    return days


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    with Path(source).open("rb") as stream:
        yield stream


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a stream, unpacked if it is packed; one that does not end is cut, for it is none of a log's."""
    rest = b""
    for part in _parts(stream):
        *lines, rest = (rest + part).split(b"\n")
        yield from lines
        if len(rest) > _LONGEST_LINE:
            yield rest
            rest = b""
    if rest:
        yield rest


def _parts(stream: BinaryIO) -> Iterator[bytes]:
    part = stream.read(_PART_BYTES)
    if not part.startswith(_GZIP):
        while part:
            yield part
            part = stream.read(_PART_BYTES)
        return
    packed = zlib.decompressobj(_GZIP_WINDOW)
    while part:
        yield packed.decompress(part)
        part = packed.unused_data or stream.read(_PART_BYTES)
        if packed.eof and part:
            packed = zlib.decompressobj(_GZIP_WINDOW)  # several in a row, as rotated logs are joined
    if not packed.eof:
        raise EOFError("the packed file ends in its middle")
