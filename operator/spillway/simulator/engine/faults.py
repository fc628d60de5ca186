"""What may be made to go wrong with an engine, by one environment variable: for tests, never by a request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    """`SPILLWAY_SIMULATED_FAULT`: one of the names below, empty for none."""

    crash_at_start: bool = False
    """Exit with code 1 and vLLM's message that the KV cache is too small."""
    never_ready: bool = False
    """Load for ever: the port never opens."""
    errors: bool = False
    """Answer every generation with 500."""
    silent: bool = False
    """Send the headers of a stream, then nothing; never answer what is not streamed."""
    break_after_tokens: int | None = None
    """Reset the connection of a stream after this many tokens."""


def parse(text: str) -> Faults:
    """Read `crash-at-start`, `never-ready`, `errors`, `silent` or `break-after-tokens=N`.

    Raises ValueError for any other text.
    """
    name, _, value = text.partition("=")
    match name:
        case "":
            return Faults()
        case "crash-at-start":
            return Faults(crash_at_start=True)
        case "never-ready":
            return Faults(never_ready=True)
        case "errors":
            return Faults(errors=True)
        case "silent":
            return Faults(silent=True)
        case "break-after-tokens":
            return Faults(break_after_tokens=int(value))
        case _:
            raise ValueError(f"SPILLWAY_SIMULATED_FAULT={text!r} is no fault that the engine simulator has")
