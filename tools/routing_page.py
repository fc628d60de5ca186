"""The parts of docs/routing.md that are made from the code: the machine's states, and the words for what was decided.

Where a state leads is not written down anywhere: it is what the machine does, so it is asked, with every event in every
state that can be reached.
"""

from __future__ import annotations

import ast
import inspect
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from enum import Enum
from types import ModuleType

from spillway.errors import ImpossibleEvent
from spillway.routing import messages as m
from spillway.routing import outcomes
from spillway.routing import state as states_module
from spillway.routing.facts import Price, Usage
from spillway.routing.outcomes import Outcome, Reason
from spillway.routing.request import TRANSITIONS, start, step
from spillway.routing.state import Phase, State
from spillway.routing.terms import Offer, Request
from spillway.routing.verdicts import Cloud, Local, Refusal

REQUEST = Request("r", (Offer("target", Price(1, 1, 1), lambda: 1, 60.0),), Reason.SENSITIVE, 60.0)


def states() -> str:
    """The diagram of the machine: each way from one state to another, with the events that lead there."""
    edges: defaultdict[tuple[Phase, Phase], dict[str, None]] = defaultdict(dict)
    for before, label, after in sorted(_ways(), key=lambda way: (_place(way[0]), _place(way[2]), way[1])):
        edges[before, after][label] = None
    lines = [f"    {a.value} --> {b.value}: {'<br/>'.join(labels)}" for (a, b), labels in edges.items()]
    return "\n".join(
        ["```mermaid", "stateDiagram-v2", "    [*] --> Holding", *lines, "    Finished --> [*]", "```", ""]
    )


def waits() -> str:
    """What each state waits for."""
    return _table(("state", "waits for"), _described(states_module, Phase))


def reasons() -> str:
    """The words for why."""
    return _table(("reason", "when"), _described(outcomes, Reason))


def ends() -> str:
    """The words for how a request ended."""
    return _table(("outcome", "how it ended"), _described(outcomes, Outcome))


BLOCKS: Mapping[str, Callable[[], str]] = {"states": states, "waits": waits, "reasons": reasons, "outcomes": ends}


def _ways() -> set[tuple[Phase, str, Phase]]:
    first, _ = start(REQUEST)
    reached, due, ways = {_likeness(first)}, [first], set()
    while due:
        state = due.pop()
        for label, event in _events(state):
            try:
                after, commands = step(state, event, 0.0)
            except ImpossibleEvent:
                continue  # a verdict that the pool cannot give here
            if after == state and not commands:
                continue
            if after.phase is not state.phase or commands:
                ways.add((state.phase, label, after.phase))
            if _likeness(after) not in reached:
                reached.add(_likeness(after))
                due.append(after)
    return ways


def _likeness(state: State) -> State:
    """The same for all states that go on alike: counts and sums have no end."""
    return replace(state, attempt=0, reserved_micros=0, charged_micros=0, request=REQUEST)


def _events(state: State) -> Iterator[tuple[str, m.Event]]:
    n = state.attempt
    made: tuple[tuple[str, m.Event], ...] = (
        ("a replica", m.Decided(n, Local("replica", Reason.DEFAULT, 0.1))),
        ("a target", m.Decided(n, Cloud("target", Reason.SATURATED))),
        ("refused", m.Decided(n, Refusal(Reason.SATURATED, 1))),
        ("UpstreamRefused (400, 413, 422)", m.UpstreamRefused(n, 400)),
        ("UpstreamRefused (any other)", m.UpstreamRefused(n, 500)),
        ("", m.Reserved(n)),
        ("", m.ReserveRefused(n, Reason.BUDGET_EXHAUSTED)),
        ("", m.Accepted(n)),
        ("", m.ConnectFailed(n)),
        ("", m.UpstreamLost(n)),
        ("", m.FirstToken(n)),
        ("", m.BodyComplete(n, None)),
        ("", m.UsageReported(n, Usage(1, 1))),
        ("", m.StreamEnded(n, complete=True)),
        ("", m.Settled(n)),
        ("", m.LedgerLost(n)),
        ("", m.TimerFired(n)),
        ("", m.ClientGone()),
        ("", m.TermsChanged(REQUEST)),
    )
    for label, event in made:
        if type(event) in TRANSITIONS[state.phase]:
            yield label or type(event).__name__, event


def _place(phase: Phase) -> int:
    return list(Phase).index(phase)


def _described(module: ModuleType, words: type[Enum]) -> Iterator[tuple[str, str]]:
    """Each word of an enumeration and the docstring under it."""
    (body,) = (
        node.body
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef) and node.name == words.__name__
    )
    for named, said in itertools.pairwise(body):
        match named, said:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                yield f"`{words[name].value}`", " ".join(text.split())
            case _:
                pass


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"
