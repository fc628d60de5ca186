"""Helm as a program, and the chart as it renders it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from go_programs import go_program

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts" / "spillway"


def helm(*args: str, home: Path, tool: str = "helm") -> subprocess.CompletedProcess[str]:
    """Run Helm 4 (`helm3`: 3), all that it keeps below `home`; it blocks, and the caller looks at the exit code."""
    own = {"HELM_CACHE_HOME": "cache", "HELM_CONFIG_HOME": "config", "HELM_DATA_HOME": "data", "HOME": ""}
    environment = {name: str(home / folder) for name, folder in own.items()}
    return subprocess.run(
        [go_program("helm", tool), *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": os.environ["PATH"], **environment},
    )


def rendered(
    home: Path, *options: str, values: dict[str, Any] | None = None, tool: str = "helm"
) -> list[dict[str, Any]]:
    """The objects of the chart with these values; fails with Helm's words where it refuses them."""
    done = template(home, *options, values=values, tool=tool)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def hooks_of_test(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the chart's objects that are there for `helm test` alone."""
    return [one for one in made if one["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"]


def template(
    home: Path, *options: str, values: dict[str, Any] | None = None, tool: str = "helm"
) -> subprocess.CompletedProcess[str]:
    """`helm template` of the chart, as release `spillway` in namespace `spillway-system`."""
    where: Sequence[str] = ["template", "spillway", str(CHART), "--namespace=spillway-system", *options]
    if values is not None:
        file = home / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        where = [*where, f"--values={file}"]
    return helm(*where, home=home, tool=tool)
