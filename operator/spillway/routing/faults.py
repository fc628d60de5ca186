"""Whose fault an upstream's refusal is."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Fault(Enum):
    """Whose fault an upstream's refusal is."""

    REQUEST = "request"
    """The request itself is wrong everywhere: its words are relayed to the caller, nothing is tried again."""
    UPSTREAM = "upstream"
    """This upstream cannot serve it (busy, broken, its key or its model name is wrong): the next one may."""


TIMED_OUT: Final = frozenset({408, 504, 524})
"""Whoever stands before a model gave up waiting for it (524 is Cloudflare's): it may have run, and be billed."""


def fault_of(status: int) -> Fault:
    """Whose fault a refusal with this HTTP status is.

    400, 409, 413, 415 and 422 are about the request. 401, 403 and 404 are about our key or our name for the model
    there, so another upstream may still serve it; 408, 429 and 5xx are about the upstream's state.
    """
    return Fault.REQUEST if status in {400, 409, 413, 415, 422} else Fault.UPSTREAM
