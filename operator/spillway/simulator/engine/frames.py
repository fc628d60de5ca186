"""The bytes of an answer as vLLM 0.32.0 writes them: server-sent events, and whole bodies.

All parts of an event that do not change within one answer are built once, so that a token costs a join and a write.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from spillway.simulator import words

FINGERPRINT: Final = "spillway-simulator"
DONE: Final = b"data: [DONE]\n\n"

_FIRST_WORDS: Final = tuple(word.encode() for word in words.VOCABULARY)
_NEXT_WORDS: Final = tuple(b" " + word.encode() for word in words.VOCABULARY)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is settled about an answer before its first token exists."""

    answer_id: str
    created: int
    model: str
    is_chat: bool
    prompt_tokens: int
    output_tokens: int
    finish_reason: str
    seed: int
    include_usage: bool = False
    usage_on_every_chunk: bool = False

    def usage(self, completion_tokens: int) -> dict[str, int]:
        """The usage object after so many tokens."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
            "completion_tokens": completion_tokens,
        }

    def word(self, index: int) -> bytes:
        """The token at this place, as text."""
        place = words.word_at(self.seed, index)
        return _NEXT_WORDS[place] if index else _FIRST_WORDS[place]


class Frames:
    """The events of one streamed answer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._head = orjson.dumps(
            {
                "id": answer.answer_id,
                "object": "chat.completion.chunk" if answer.is_chat else "text_completion",
                "created": answer.created,
                "model": answer.model,
            }
        )[:-1]
        if answer.is_chat:
            self._before = b'data: %b,"choices":[{"index":0,"delta":{"content":"' % self._head
            self._after = b'"},"logprobs":null,"finish_reason":%b,"token_ids":null}]'
        else:
            self._before = b'data: %b,"choices":[{"index":0,"text":"' % self._head
            self._after = b'","logprobs":null,"finish_reason":%b,"stop_reason":null,"token_ids":null}]'
        self._plain_after = self._after % b"null"

    def role(self) -> bytes:
        """What comes before the first token: the role, for a chat; nothing for a completion."""
        if not self._answer.is_chat:
            return b""
        return (
            b'data: %b,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,'
            b'"finish_reason":null}],"prompt_token_ids":null,"prompt_text":null%b}\n\n' % (self._head, self._usage(0))
        )

    def token(self, index: int) -> bytes:
        """The event of one token that is not the last."""
        return b"%b%b%b%b}\n\n" % (self._before, self._answer.word(index), self._plain_after, self._usage(index + 1))

    def last(self, index: int) -> bytes:
        """The event of the last token, with what ends the stream."""
        return self._end(self._answer.word(index), self._answer.finish_reason, index + 1)

    def aborted(self, tokens: int) -> bytes:
        """How a stream ends when the engine goes down: one that never ran gets no finish_reason."""
        if not tokens:
            return b"%b%b%b" % (self.role(), self._usage_event(0), DONE)
        return self._end(b"", "abort", tokens)

    def _end(self, word: bytes, finish_reason: str, tokens: int) -> bytes:
        fingerprint = b"" if self._answer.include_usage else b',"system_fingerprint":"%b"' % FINGERPRINT.encode()
        after = self._after % orjson.dumps(finish_reason)
        usage = self._usage(tokens)
        return b"%b%b%b%b%b}\n\n%b%b" % (
            self._before, word, after, usage, fingerprint, self._usage_event(tokens), DONE,
        )  # fmt: skip

    def _usage(self, tokens: int) -> bytes:
        if not self._answer.usage_on_every_chunk:
            return b""
        return b',"usage":%b' % orjson.dumps(self._answer.usage(tokens))

    def _usage_event(self, tokens: int) -> bytes:
        if not self._answer.include_usage:
            return b""
        usage = orjson.dumps(self._answer.usage(tokens))
        return b'data: %b,"choices":[],"usage":%b,"system_fingerprint":"%b"}\n\n' % (
            self._head, usage, FINGERPRINT.encode(),
        )  # fmt: skip


def whole_body(answer: Answer, tokens: int, finish_reason: str) -> bytes:
    """The body of an answer that is not streamed."""
    text = words.answer_words(answer.seed, tokens)
    choice: dict[str, object] = {"index": 0}
    if answer.is_chat:
        choice["message"] = {
            "role": "assistant", "content": text, "refusal": None, "annotations": None, "audio": None,
            "function_call": None, "tool_calls": [], "reasoning": None,
        }  # fmt: skip
    else:
        choice["text"] = text
    choice |= {"logprobs": None, "finish_reason": finish_reason, "stop_reason": None, "token_ids": None}
    return orjson.dumps(
        {
            "id": answer.answer_id,
            "object": "chat.completion" if answer.is_chat else "text_completion",
            "created": answer.created,
            "model": answer.model,
            "choices": [choice],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": answer.usage(tokens) | {"prompt_tokens_details": None},
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "kv_transfer_params": None,
        }
    )


def error_event(status: int, message: str, kind: str) -> bytes:
    """An error after the headers of a stream were sent, and the stream's end."""
    body = orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": status}})
    return b"data: %b\n\n%b" % (body, DONE)
