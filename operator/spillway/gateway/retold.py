"""What libraries log, told in our own log: what happened and where, never in their words."""

from __future__ import annotations

import logging
import traceback
from typing import Final

import structlog

_log: Final = structlog.get_logger("spillway.gateway.libraries")


class Retold(logging.Handler):
    """Names the kind of a problem and the lines of code that it went through, and leaves its message out.

    aiohttp's messages quote what of a request they could not read: a header, or the text of a prompt where a length is
    wrong (https://docs.aiohttp.org/en/stable/logging.html#error-logs).
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of one record, without its arguments."""
        problem = record.exc_info[1] if record.exc_info else None
        told: dict[str, object] = {"logger": record.name}
        if problem is not None:
            told |= {"problem": type(problem).__name__, "at": traceback.format_tb(problem.__traceback__)}
        _log.log(record.levelno, str(record.msg).partition("\n")[0], **told)
