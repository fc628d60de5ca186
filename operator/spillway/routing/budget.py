"""Money in integer micro-dollars: what a request may cost at most, and what it did cost.

A reservation is a true upper bound, so what is spent can never pass what was reserved:
- input: a token of a byte-level vocabulary is at least one byte of UTF-8, so a text has no more tokens than bytes
  (byte-pair encoding only ever merges bytes: https://github.com/openai/tiktoken). The body that is sent is counted
  whole, keys and punctuation included, and each message adds the few tokens with which a chat template frames it.
  Some tokenizers put a text into Unicode's form NFKC first, in which three bytes can become 33
  (https://github.com/google/sentencepiece/blob/master/doc/normalization.md): whichever form is longer counts.
  What a provider writes around tools is in its row of `providers.SURFACES`.
- output: `max_tokens` for each of the `n` choices.
Every amount is rounded up, as the sum of what was rounded up can only be higher than the bill.
"""

from __future__ import annotations

import unicodedata
from decimal import ROUND_CEILING, Decimal
from typing import Final

from spillway.routing.facts import Intake, Price, Route, Target, Usage
from spillway.routing.outgoing import cloud_body, cloud_output_tokens
from spillway.routing.providers import surface_of

MICROS_PER_USD: Final = 1_000_000
TOKENS_PER_MESSAGE: Final = 16
"""Tokens that frame one message, at most: OpenAI's formats take 3 or 4 and a name; four times that is spare
(https://github.com/openai/openai-cookbook/blob/main/examples/How_to_count_tokens_with_tiktoken.ipynb)."""
TOKENS_PER_REQUEST: Final = 64
"""Tokens that a template adds once: the primer of the answer, a default system line, a tool preamble."""


def micros(usd: Decimal) -> int:
    """Dollars as integer micro-dollars, rounded up. Raises ValueError for what is negative or not finite."""
    if not usd.is_finite() or usd < 0:
        raise ValueError(f"{usd} is not an amount of dollars")
    return int((usd * MICROS_PER_USD).to_integral_value(rounding=ROUND_CEILING))


def usd(amount_micros: int) -> Decimal:
    """Micro-dollars as dollars with six places: 1,234,567 are 1.234567."""
    return Decimal(amount_micros).scaleb(-6)


def cost_micros(price: Price, usage: Usage) -> int:
    """What `usage` costs at `price`, rounded up to a micro-dollar."""
    cached = min(usage.cached_prompt_tokens, usage.prompt_tokens)
    millionths = (
        (usage.prompt_tokens - cached) * price.input_micros_per_million
        + cached * price.cached_input_micros_per_million
        + usage.completion_tokens * price.output_micros_per_million
    )
    return -(-millionths // 1_000_000)


def reservation_micros(intake: Intake, target: Target, route: Route) -> int:
    """The most that this request can cost at `target`, whatever it answers (argued at the top of the module)."""
    input_tokens = (
        _most_tokens(cloud_body(intake, target, route))
        + intake.message_count * TOKENS_PER_MESSAGE
        + TOKENS_PER_REQUEST
        + (surface_of(target).tool_tokens if intake.payload.get("tools") else 0)
    )
    output_tokens = cloud_output_tokens(intake, route) * intake.choices
    if isinstance(prompts := intake.payload.get("prompt"), list):
        output_tokens *= len(prompts)  # each prompt of a batch has answers of its own
    price = target.price
    cached = input_tokens if price.cached_input_micros_per_million > price.input_micros_per_million else 0
    return cost_micros(price, Usage(input_tokens, output_tokens, cached))


def _most_tokens(body: bytes) -> int:
    """No tokenizer makes more tokens of a JSON body: its bytes, or those of its compatibility form."""
    if body.isascii():
        return len(body)
    return max(len(body), len(unicodedata.normalize("NFKC", body.decode()).encode()))
