"""Words and their count in tokens, for everything in the simulator that has no tokenizer and no model.

A token is taken to be about four bytes of UTF-8, the usual rule of thumb for English text, and each chat message
costs four more for its role and delimiters. The answers are words of one fixed vocabulary: plain English without
digits, `@` or anything else that a detector of personal data could take for some.
"""

from __future__ import annotations

import hashlib
from typing import Final

BYTES_PER_TOKEN: Final = 4
TOKENS_PER_MESSAGE: Final = 4

_VOCABULARY: Final = """
a about after all also and are as at back be because but by can come could day do even find first for from get
give go good have here how if in into is it just know like little look make many may more most much must near new
no not now of off on one only open or other our out over part people place point quite river same see some stone
such take than that the then there they thing this time to turn under up use very water way well what when where
which while who will with wood word work world year you
"""
VOCABULARY: Final = tuple(_VOCABULARY.split())


def count_tokens(utf8_bytes: int, messages: int = 0, *, bytes_per_token: int = BYTES_PER_TOKEN) -> int:
    """Tokens of a prompt with so many bytes of text in so many chat messages.

    Never more than one token a byte plus `TOKENS_PER_MESSAGE` a message.
    """
    return -(-utf8_bytes // bytes_per_token) + TOKENS_PER_MESSAGE * messages


def seed_of(text: bytes) -> int:
    """A number that depends on the text alone: the same prompt always gets the same answer."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "big")


def word_at(seed: int, index: int) -> int:
    """The place in `VOCABULARY` of the `index`-th word of the answer with this seed."""
    return (seed + index * (index + 17) * (1 + seed % 29)) % len(VOCABULARY)


def answer_words(seed: int, count: int) -> str:
    """The first `count` words of the answer with this seed, one token each, joined by blanks."""
    return " ".join(VOCABULARY[word_at(seed, index)] for index in range(count))


def natural_length(seed: int) -> int:
    """The words that the answer with this seed has when nothing cuts it short: 16 to 271."""
    return 16 + (seed >> 8) % 256
