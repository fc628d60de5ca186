"""What Ollama does not do of OpenAI's API, done before it is asked: bytes in, values out; no I/O.

As measured with Ollama 0.17.4: on `/v1` it ignores `max_completion_tokens` and `n`, generates ten times its context
where no bound is named, and cuts a prompt that is longer than its context without a word.
"""

from __future__ import annotations

from typing import Final

from spillway.errors import BadRequest
from spillway.routing.facts import Intake, Route

READ_HERE: Final = frozenset({"max_tokens", "messages", "model", "prompt", "stream", "stream_options"})
"""Parameters on which the gateway and Ollama have to agree."""
BYTES_PER_TOKEN: Final = 4
"""Of English text, by the usual rule of thumb; of code and other scripts it is less."""


def check(intake: Intake, route: Route) -> None:
    """Let through what Ollama can answer as it was asked.

    Raises:
        BadRequest: several choices are asked for, the prompt is longer than the context, as far as its bytes tell, or a
            parameter is spelt so that Ollama reads another.
    """
    for key in intake.payload:
        # Go reads names without regard to case (https://pkg.go.dev/encoding/json#Unmarshal), and the last one counts:
        # "Model" would name a model that nobody looked at, one of Ollama's cloud among them
        if key not in READ_HERE and (meant := key.casefold()) in READ_HERE:
            raise BadRequest(f"{key!r} is no parameter; did you mean {meant!r}?", param=key)
    if intake.choices > 1:
        raise BadRequest("'n' must be 1: this model's engine gives one answer to a request.", param="n")
    # what an image takes of the context is not in its bytes
    tokens = intake.prompt_bytes // BYTES_PER_TOKEN if intake.inspectable else 0
    if tokens > route.context_length:
        raise BadRequest(
            f"This model's context is {route.context_length} tokens, and the prompt is about {tokens}; the engine "
            "would leave out its beginning without saying so. Send a shorter prompt.",
            param="messages" if "messages" in intake.payload else "prompt",
            code="context_length_exceeded",
        )


def changes(intake: Intake, route: Route) -> dict[str, object]:
    """What of the body has to read otherwise: a bound in the word that Ollama knows, within its context."""
    asked = route.context_length if intake.max_output_tokens is None else intake.max_output_tokens
    bound = min(asked, route.context_length)
    return {} if intake.payload.get("max_tokens") == bound else {"max_tokens": bound}
