"""The flags that vLLM has, and what of `engine.args` is none of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from importlib import resources

from spillway.errors import InvalidObject

FLAGS_FILE = "vllm-0.32.0-flags.txt"


@cache
def known_flags() -> frozenset[str]:
    """Every long flag of `vllm serve` 0.32.0, with the dashes."""
    text = resources.files(__package__).joinpath(FLAGS_FILE).read_text(encoding="utf-8")
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return frozenset(word for line in lines for word in line[1:] if word.startswith("--"))


def check_flags(arguments: Iterable[str]) -> None:
    """Let only flags of vLLM through; `--config.key=1` is a key of the flag `--config`, which takes JSON.

    Raises:
        InvalidObject: one is no flag of vLLM, with the one that is most like it.
    """
    for index, argument in enumerate(arguments):
        flag = argument.partition("=")[0].partition(".")[0]
        if flag in known_flags():
            continue
        near = difflib.get_close_matches(flag, sorted(known_flags()), n=1)
        raise InvalidObject(
            f"spec.engine.args[{index}]",
            f"vLLM 0.32.0 has no flag {flag}",
            f"did you mean {near[0]}?" if near else "take it away, or state the engine.image that has it",
            reason="UnknownFlag",
        )
