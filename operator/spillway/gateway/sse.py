"""Server-sent events as OpenAI's API streams them, read incrementally; bytes in, bytes and facts out.

What counts, from what vLLM 0.32 was measured to do:
- It sends 200 and headers before it schedules, and comments (`: keep-alive`) while a request queues: no answer yet.
- An error after the headers comes as `data: {"error": ...}`: the first `data:` line decides, whatever the status was.
- A request that never ran can still get a role-only chunk, usage of 0 tokens and `[DONE]`: a role is no content.
- An aborted answer ends with `finish_reason: "abort"` and a regular `[DONE]`: it is incomplete all the same.
Ollama ends a broken stream with a regular end of body: only `[DONE]` proves that a stream is whole.

Event streams: https://html.spec.whatwg.org/multipage/server-sent-events.html (lines end in LF or CRLF here, as every
engine sends them).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import orjson

from spillway.errors import StreamBroken
from spillway.routing.facts import Usage

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
"""An event longer than this is no chunk of an answer; it would only fill memory."""

MAX_TOKENS: Final = 10**9
"""More than this in one answer is no count of tokens, so what was used is not known."""

_ABORTED: Final = "abort"
# Inside a JSON string these words stand with their quotes escaped: the bytes below only match real keys and values.
_USAGE_KEY: Final = b'"usage"'
_NOTABLE: Final = (_USAGE_KEY, b'"error"', b'"abort"')


class Kind(Enum):
    """What an event means for the request that waits for it."""

    COMMENT = auto()
    """A comment or a field other than data: no answer yet."""
    PREAMBLE = auto()
    """A chunk without content, such as the role alone."""
    CONTENT = auto()
    """Content, a tool call, or the reason why the answer ended without any."""
    USAGE = auto()
    """The chunk that holds only usage, with no choices."""
    ERROR = auto()
    """The upstream says that it failed."""
    ABORTED = auto()
    """The upstream gave the answer up (`finish_reason` abort)."""
    DONE = auto()
    """`[DONE]`: the stream is whole."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its bytes as they came, blank line included, and what they mean."""

    raw: bytes
    kind: Kind
    usage: Usage | None = None
    status: int | None = None
    """The HTTP status inside an error, where it has one."""
    data: bytes = b""
    """The JSON of an error."""


class Parser:
    """Cuts a body into events. The bytes of all events and `rest`, joined, are the bytes that were fed."""

    def __init__(self, *, attentive: bool = True) -> None:
        """An attentive parser tells PREAMBLE from CONTENT; one that is not looks only into chunks that say more."""
        self.attentive = attentive
        self._buffer = bytearray()
        self._searched = 0

    @property
    def rest(self) -> bytes:
        """What came after the last whole event."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes.

        Raises:
            StreamBroken: an event grew past `MAX_EVENT_BYTES`.
        """
        self._buffer += data
        events = []
        while (end := self._next_end()) is not None:
            raw = bytes(self._buffer[:end])
            del self._buffer[:end]
            self._searched = 0
            events.append(self._understand(raw))
        if len(self._buffer) > MAX_EVENT_BYTES:
            raise StreamBroken(f"an event is longer than {MAX_EVENT_BYTES} bytes")
        return events

    def _next_end(self) -> int | None:
        """Where the first event ends: after an empty line."""
        start = max(self._searched - 3, 0)
        plain, carriage = self._buffer.find(b"\n\n", start), self._buffer.find(b"\n\r\n", start)
        ends = [position + length for position, length in ((plain, 2), (carriage, 3)) if position >= 0]
        self._searched = len(self._buffer)
        return min(ends, default=None)

    def _understand(self, raw: bytes) -> Event:
        if not self.attentive and raw.startswith(b"data: {") and not any(word in raw for word in _NOTABLE):
            return Event(raw, Kind.CONTENT)
        data = _data_of(raw)
        if data is None:
            return Event(raw, Kind.COMMENT)
        if data == b"[DONE]":
            return Event(raw, Kind.DONE)
        return _meaning(raw, data)


def unary_usage(body: bytes) -> Usage | None:
    """The usage that a whole (not streamed) answer reports, or None."""
    return _usage(_parse(body))


def unary_aborted(body: bytes) -> bool:
    """Whether a whole (not streamed) answer says that the engine gave it up."""
    return b'"abort"' in body and _aborted(_choices(_parse(body)))


def _data_of(raw: bytes) -> bytes | None:
    lines = [line.removeprefix(b"data:").removeprefix(b" ") for line in raw.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines).strip() if lines else None


def _parse(data: bytes) -> dict[str, object]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    if isinstance(value, list) and len(value) == 1:
        value = value[0]  # Gemini's errors come in a list of one
    return value if isinstance(value, dict) else {}


def _meaning(raw: bytes, data: bytes) -> Event:
    chunk = _parse(data)
    error = chunk.get("error")
    if error:
        code = error.get("code") if isinstance(error, dict) else None
        return Event(raw, Kind.ERROR, status=code if isinstance(code, int) else None, data=data)
    usage, choices = _usage(chunk), _choices(chunk)
    if not choices and usage is not None:
        return Event(raw, Kind.USAGE, usage)
    if _aborted(choices):
        return Event(raw, Kind.ABORTED, usage)
    return Event(raw, Kind.CONTENT if any(map(_has_content, choices)) else Kind.PREAMBLE, usage)


def _choices(chunk: dict[str, object]) -> list[dict[str, object]]:
    choices = chunk.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _aborted(choices: list[dict[str, object]]) -> bool:
    return any(choice.get("finish_reason") == _ABORTED for choice in choices)


def _has_content(choice: dict[str, object]) -> bool:
    if choice.get("finish_reason") or choice.get("text"):
        return True
    delta = choice.get("delta")
    return isinstance(delta, dict) and any(value for key, value in delta.items() if key != "role")


def _usage(chunk: dict[str, object]) -> Usage | None:
    usage = chunk.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    if not isinstance(prompt, int) or not isinstance(completion, int) or prompt < 0 or completion < 0:
        return None
    total = usage.get("total_tokens")
    if isinstance(total, int):
        # Gemini bills what a model thinks as output, and counts it in the total alone:
        # https://github.com/router-for-me/CLIProxyAPI/issues/5733, https://ai.google.dev/gemini-api/docs/thinking#pricing
        completion = max(completion, total - prompt)
    if prompt > MAX_TOKENS or completion > MAX_TOKENS:
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(prompt, completion, cached if isinstance(cached, int) and cached > 0 else 0)
