"""Helm as a program, built once from the module that tests/tools/helm pins and cached in ~/.cache/spillway."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from spillway.errors import SetupError
from spillway.simulator.controlplane import gobuild

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts" / "spillway"
VERSION = "v4.3.1"  # as in tests/tools/helm/go.mod
PROGRAM = gobuild.Programs(
    version=f"helm-{VERSION}",
    source=Path(__file__).parent / "tools" / "helm",
    packages={"helm": "helm.sh/helm/v4/cmd/helm"},
    ldflags=lambda _: f"-s -w -X helm.sh/helm/v4/internal/version.version={VERSION}",
    cure=f"the chart's tests need, once, either Helm in a directory named by SPILLWAY_HELM_BIN, {gobuild.GO_CURE}",
)


@cache
def helm_program() -> Path:
    """Helm from SPILLWAY_HELM_BIN, from the cache, or built into it; blocks for the build."""
    if named := os.environ.get("SPILLWAY_HELM_BIN"):
        if PROGRAM.missing(Path(named)):
            raise SetupError(f"SPILLWAY_HELM_BIN={named} holds no helm; put it there or unset it")
        return Path(named) / "helm"
    folder = Path.home() / ".cache" / "spillway"
    directory = folder / gobuild.key(PROGRAM)
    if PROGRAM.missing(directory):
        asyncio.run(gobuild.build(PROGRAM, folder, directory, _print))
    return directory / "helm"


def helm(*args: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run Helm with everything that it keeps below `home`; it blocks, and the caller looks at the exit code."""
    own = {"HELM_CACHE_HOME": "cache", "HELM_CONFIG_HOME": "config", "HELM_DATA_HOME": "data", "HOME": ""}
    environment = {name: str(home / folder) for name, folder in own.items()}
    return subprocess.run(
        [helm_program(), *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": os.environ["PATH"], **environment},
    )


def rendered(home: Path, *options: str, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The objects of the chart with these values; fails with Helm's words where it refuses them."""
    done = template(home, *options, values=values)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def template(home: Path, *options: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """`helm template` of the chart, as release `spillway` in namespace `spillway-system`."""
    where: Sequence[str] = ["template", "spillway", str(CHART), "--namespace=spillway-system", *options]
    if values is not None:
        file = home / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        where = [*where, f"--values={file}"]
    return helm(*where, home=home)


def _print(what: str, seconds: float) -> None:
    print(f"helm: {what}, {seconds:.0f} s", flush=True)
