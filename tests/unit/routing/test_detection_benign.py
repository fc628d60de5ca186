"""How often the detectors are wrong about what is neither personal nor secret."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from spillway.routing.detection.inspect import inspect

BOTH: Final = frozenset({"PII", "Secrets"})
PROMPTS: Final[list[str]] = yaml.safe_load(
    (Path(__file__).parents[2] / "data" / "benign_prompts.yaml").read_text(encoding="utf-8")
)
WORDS: Final = sorted({word for prompt in PROMPTS for word in prompt.split()})


def test_the_corpus_is_large_enough_to_say_something() -> None:
    assert len(PROMPTS) >= 60


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt[:40])
def test_a_benign_prompt_is_not_flagged(prompt: str) -> None:
    assert inspect({"messages": [{"role": "user", "content": prompt}]}, BOTH) is None


def test_the_whole_corpus_as_one_conversation_is_not_flagged() -> None:
    assert inspect({"messages": [{"role": "user", "content": prompt} for prompt in PROMPTS]}, BOTH) is None


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=60))
@settings(max_examples=200, derandomize=True)
def test_words_of_the_corpus_in_any_order_are_not_flagged(words: list[str]) -> None:
    # side by side, three numbers can become one of another kind; a sentence of letters cannot
    calm = [word for word in words if not any(letter.isdigit() for letter in word)]
    assert inspect({"prompt": " ".join(calm)}, BOTH) is None
