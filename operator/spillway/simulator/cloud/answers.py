"""The bodies and server-sent events of an OpenAI-compatible API, as far as a client reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from spillway.simulator import words

FINGERPRINT: Final = "spillway-simulator"
DONE: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is settled about an answer before it is generated."""

    answer_id: str
    created: int
    model: str
    is_chat: bool
    prompt_tokens: int
    output_tokens: int
    """Of each choice."""
    choices: int
    finish_reason: str
    seed: int
    include_usage: bool
    thought_tokens: int = 0
    """Generated before the answer, and told in the total alone."""
    request_id: str = ""
    """The header x-request-id of the request."""
    tells_usage: bool = True

    def usage(self, completion_tokens: int) -> dict[str, int]:
        """The usage object after so many tokens over all choices."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + self.thought_tokens + completion_tokens,
        }

    def _head(self, suffix: str) -> dict[str, object]:
        return {
            "id": self.answer_id,
            "object": f"chat.completion{suffix}" if self.is_chat else "text_completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
        }

    def _event(self, choices: list[dict[str, object]], usage: dict[str, int] | None = None) -> bytes:
        body = self._head(".chunk") | {"choices": choices}
        if self.include_usage:
            body["usage"] = usage
        return b"data: %b\n\n" % orjson.dumps(body)

    def _choice(self, index: int, text: str | None, finish_reason: str | None, role: str | None = None) -> bytes:
        choice: dict[str, object] = {"index": index}
        if self.is_chat:
            delta = {} if text is None else {"content": text}
            choice["delta"] = delta | ({"role": role} if role else {})
        else:
            choice["text"] = text or ""
        return self._event([choice | {"logprobs": None, "finish_reason": finish_reason}])

    def opening(self) -> bytes:
        """What a chat sends before its first tokens: the role, for each choice."""
        if not self.is_chat:
            return b""
        return b"".join(self._choice(index, "", None, "assistant") for index in range(self.choices))

    def tokens(self, start: int, end: int) -> bytes:
        """The events of the tokens from `start` to before `end`, of each choice."""
        return b"".join(
            self._choice(choice, self._word(choice, index), None)
            for index in range(start, end)
            for choice in range(self.choices)
        )

    def closing(self) -> bytes:
        """The finish reasons, the usage if it was asked for, and the end mark."""
        ends = b"".join(self._choice(choice, None, self.finish_reason) for choice in range(self.choices))
        usage = self._event([], self.usage(self.choices * self.output_tokens)) if self.include_usage else b""
        return b"%b%b%b" % (ends, usage, DONE)

    def body(self) -> bytes:
        """The whole answer, for a request that does not stream."""
        choices: list[dict[str, object]] = []
        for index in range(self.choices):
            text = words.answer_words(self.seed + index, self.output_tokens)
            content = (
                {"message": {"role": "assistant", "content": text, "refusal": None}} if self.is_chat else {"text": text}
            )
            choices.append({"index": index} | content | {"logprobs": None, "finish_reason": self.finish_reason})
        usage = {"usage": self.usage(self.choices * self.output_tokens)} if self.tells_usage else {}
        return orjson.dumps(self._head("") | {"choices": choices} | usage)

    def _word(self, choice: int, index: int) -> str:
        word = words.VOCABULARY[words.word_at(self.seed + choice, index)]
        return f" {word}" if index else word


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> bytes:
    """An error in OpenAI's shape."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})
