"""What is told before a removal: the same on every page, and of all kinds that the operator takes down itself."""

from __future__ import annotations

import re
from pathlib import Path

from helm_program import CHART, ROOT, helm
from spillway.controller.cluster import path_of
from spillway.controller.observe import GATEWAY_KINDS


def commands(text: str) -> list[str]:
    """The commands of a text that delete and wait, each on one line."""
    lines = re.sub(r" *\\\n *", " ", text).splitlines()
    told = (line.strip().removeprefix("$ ") for line in lines)
    return [line for line in told if re.match(r"kubectl (delete llmdep|wait)", line)]


def words(command: str) -> list[str]:
    return sorted(command.split())


def notes(home: Path, *options: str) -> str:
    done = helm("install", "spillway", str(CHART), "--dry-run=client", *options, home=home)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:")[2]


def test_every_page_tells_to_delete_and_to_wait(tmp_path: Path):
    pages = [(ROOT / "manifests/README.md").read_text(), (CHART / "README.md").read_text(), notes(tmp_path)]
    told = [[words(command) for command in commands(page)] for page in pages]
    assert told[0] == told[1] == told[2]
    assert len(told[0]) == 2


def test_in_each_listed_namespace_what_was_made_there_is_waited_for(tmp_path: Path):
    told = commands(notes(tmp_path, "--set=watchNamespaces={team-a,team-b}"))
    assert [(line.split()[1], re.findall(r"-n (\S+)", line)) for line in told] == [
        ("delete", ["team-a"]),
        ("wait", ["team-a"]),
        ("delete", ["team-b"]),
        ("wait", ["team-b"]),
    ]


def test_all_that_the_operator_takes_down_itself_is_waited_for():
    (wait,) = [line for line in commands((CHART / "README.md").read_text()) if line.startswith("kubectl wait")]
    (kinds,) = [word for word in wait.split() if "," in word]
    plurals = {path_of(kind, "").rpartition("/")[2] for kind in GATEWAY_KINDS}
    assert plurals <= set(kinds.split(","))
