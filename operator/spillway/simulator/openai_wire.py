"""What a client may send to `/v1/chat/completions` and `/v1/completions`, as the simulated engine and cloud read it.

Only the fields that change what they answer; all others are taken and ignored, as a server without a model may.
Stop sequences are among the ignored: no answer is cut short by one.
"""

from __future__ import annotations

from typing import Annotated

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class StreamOptions(_Wire):
    """What a stream tells about usage."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


class ContentPart(_Wire):
    """One part of a message: only text can be read by a simulator."""

    type: str = "text"
    text: str = ""


class Message(_Wire):
    """One chat message."""

    role: str
    content: str | tuple[ContentPart, ...] | None = None
    name: str | None = None
    tool_calls: JsonValue = None

    def text(self) -> str:
        """All text of the message that a model would read."""
        body = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content or ())
        calls = orjson.dumps(self.tool_calls).decode() if self.tool_calls else ""
        return f"{body}{self.name or ''}{calls}"

    def has_media(self) -> bool:
        """Whether a part of it is not text."""
        return not isinstance(self.content, str) and any(part.type != "text" for part in self.content or ())


class CompletionRequest(_Wire):
    """The body of `/v1/completions`."""

    model: str | None = None
    prompt: str = ""
    max_tokens: Annotated[int | None, Field(strict=True)] = None
    n: Annotated[int | None, Field(strict=True)] = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None

    def text(self) -> bytes:
        """Everything that counts as the prompt."""
        return self.prompt.encode()

    def message_count(self) -> int:
        """The chat messages in it: none."""
        return 0

    def has_media(self) -> bool:
        """A completion is text."""
        return False

    def output_limit(self) -> int | None:
        """The most tokens that the client wants, None when it does not say. As OpenAI's old endpoint: 16."""
        return 16 if self.max_tokens is None else self.max_tokens


class ChatRequest(_Wire):
    """The body of `/v1/chat/completions`."""

    model: str | None = None
    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    max_tokens: Annotated[int | None, Field(strict=True)] = None
    max_completion_tokens: Annotated[int | None, Field(strict=True)] = None
    n: Annotated[int | None, Field(strict=True)] = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    tools: JsonValue = None
    response_format: JsonValue = None

    def text(self) -> bytes:
        """Everything that counts as the prompt: the messages, and the tools and schemas that a model would be shown."""
        extras = (orjson.dumps(extra) for extra in (self.tools, self.response_format) if extra)
        return b"".join([*(message.text().encode() for message in self.messages), *extras])

    def message_count(self) -> int:
        """The chat messages in it."""
        return len(self.messages)

    def has_media(self) -> bool:
        """Whether any message holds something that is not text."""
        return any(message.has_media() for message in self.messages)

    def output_limit(self) -> int | None:
        """The most tokens that the client wants, None when it does not say."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


Request = ChatRequest | CompletionRequest
