"""Needs by questions, for somebody who has not written them down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import yaml

from spillway.advisor.needs import DataResidency, Needs, parse_needs
from spillway.errors import InvalidObject

Read = Callable[[str], str]
"""Shows a prompt and returns the line that was typed."""
Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, of which field; an empty answer leaves the field as it is by default."""

    field: str
    text: str
    default: str = ""


QUESTIONS: Final = (
    Question("tokensPerMonth", "Tokens a month, prompts and answers together, such as 50M"),
    Question("request.promptTokens", "Tokens of a prompt", "500"),
    Question("request.answerTokens", "Tokens of an answer", "1000"),
    Question("data", f"May requests leave your infrastructure? {', '.join(DataResidency)}", "MayLeave"),
    Question("traffic.peakToAverage", "How many times the average is the busiest hour", "1"),
    Question("firstToken.limitMilliseconds", "First token within how many milliseconds; empty: no limit"),
    Question("frontierPercent", "Percent of requests that only a frontier model can answer", "0"),
    Question("customWeights", "Weights of your own, such as a fine-tuned model? true, false", "false"),
    Question("offline", "Without a connection to the internet? true, false", "false"),
    Question("team.mlEngineers", "ML engineers for it, in full-time equivalents", "0"),
    Question("team.devOps", "DevOps engineers for it", "0"),
    Question("cloud", "The API you would use", "OpenAI/gpt-4o"),
    Question("selfHost.setup", "How you would host", "rented-a100"),
)


def ask(read: Read, write: Write) -> Needs:
    """The needs that the answers state; a question is asked again until its answer can be used."""
    document: dict[str, object] = {}
    for question in QUESTIONS:
        default = f" [{question.default}]" if question.default else ""
        while True:
            answer = read(f"{question.text}{default}: ").strip()
            if not answer and question.field != "tokensPerMonth":
                break
            proposed = _with(document, question.field.split("."), _value(answer))
            try:
                parse_needs(proposed)
            except InvalidObject as problem:
                write(str(problem))
            else:
                document = proposed
                break
    return parse_needs(document)


def _value(answer: str) -> object:
    try:
        return yaml.safe_load(answer)
    except yaml.YAMLError:
        return answer


def _with(document: dict[str, object], path: list[str], value: object) -> dict[str, object]:
    """The document with one value more, at a path of fields."""
    name, *rest = path
    if not rest:
        return document | {name: value}
    inner = document.get(name)
    return document | {name: _with(inner if isinstance(inner, dict) else {}, rest, value)}
