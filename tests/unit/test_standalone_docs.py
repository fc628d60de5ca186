"""docs/standalone.md: its object is one that is taken, and every option that it names is one that there is."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import typer.main

from spillway.api.documents import deployments_in
from spillway.cli import app
from spillway.routing.compile import compile_route
from spillway.routing.facts import CompileSettings

PAGE = (Path(__file__).parents[2] / "docs" / "standalone.md").read_text()


def test_the_object_of_the_walk_is_served_and_may_spill() -> None:
    (text,) = re.findall(r"^ *```yaml\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    (deployment,) = deployments_in(textwrap.dedent(text), "docs/standalone.md", "default")
    route = compile_route(deployment, None, CompileSettings(frozenset({"127.0.0.1"}), "Internal"))
    assert [target.name for target in route.targets] == ["cloud"]
    assert route.budget_limit_micros == 5_000_000


def test_every_option_that_the_page_names_is_there() -> None:
    gateway = typer.main.get_group(app).commands["gateway"]
    known = {option for parameter in gateway.params for option in parameter.opts}
    of_others = {"--served-model-name", "--directory", "--price"}  # of the engine and of the simulated cloud
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) - of_others <= known
    assert {"--file", "--endpoint", "--state-dir", "--may-leave", "--credential-env", "--audit-log"} <= known
