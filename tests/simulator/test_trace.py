from __future__ import annotations

import random
import re

import pytest

from spillway.simulator import trace, words


def test_the_excerpt_is_the_busiest_two_minutes() -> None:
    arrivals = trace.read()

    assert len(arrivals) == 960
    assert arrivals[0].offset_seconds == 0.0
    assert 118 < arrivals[-1].offset_seconds < 120
    assert [arrival.offset_seconds for arrival in arrivals] == sorted(arrival.offset_seconds for arrival in arrivals)
    assert sum(arrival.prompt_tokens for arrival in arrivals) / 120 == pytest.approx(14_600, abs=10)
    assert sum(arrival.output_tokens for arrival in arrivals) / 120 == pytest.approx(257, abs=1)
    assert arrivals[0] == trace.Arrival(0.0, 920, 82)


@pytest.mark.parametrize("tokens", [0, 1, 2, 7, 920, 7_433])
def test_a_prompt_has_just_as_many_tokens_as_asked(tokens: int) -> None:
    text = trace.prompt_text(tokens, random.Random(tokens))

    assert words.count_tokens(len(text.encode())) == tokens


def test_a_prompt_holds_nothing_that_looks_personal() -> None:
    text = trace.prompt_text(20_000, random.Random(3))

    assert re.fullmatch(r"[a-z ]+", text)
    assert len(set(text.split())) > 100


def test_the_same_seed_makes_the_same_prompt() -> None:
    assert trace.prompt_text(50, random.Random(5)) == trace.prompt_text(50, random.Random(5))
    assert trace.prompt_text(50, random.Random(5)) != trace.prompt_text(50, random.Random(6))


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 1_000])
@pytest.mark.parametrize("bytes_per_token", [1, 4])
def test_no_count_passes_a_token_a_byte_and_a_constant_a_message(size: int, bytes_per_token: int) -> None:
    for messages in (0, 1, 7):
        counted = words.count_tokens(size, messages, bytes_per_token=bytes_per_token)
        assert counted <= size + messages * words.TOKENS_PER_MESSAGE
