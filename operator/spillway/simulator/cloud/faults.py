"""What may be made to go wrong with the cloud."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    """Applies to every request for a completion from when it is set; what is billed is told at each."""

    status: int | None = None
    """Answer with this status and an error in OpenAI's shape. Not billed."""
    retry_after_seconds: int | None = None
    """The Retry-After header of that answer."""
    retry_after: str | None = None
    """That header in other words, such as a date."""
    redirect_to: str | None = None
    """Answer with 307 and this Location. Not billed."""
    drop_before_headers: bool = False
    """Take the request, then close the connection. The prompt is billed."""
    drop_after_tokens: int | None = None
    """Close the connection of an answer after this many tokens. The prompt and those tokens are billed."""
    without_usage: bool = False
    """Say nothing of the tokens that are billed."""
    silent: bool = False
    """Take the request and never answer. The prompt is billed."""
    slowness: float = 1.0
    """The time to the first token and between tokens, in multiples of the usual."""
