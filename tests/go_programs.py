"""Programs of others that tests need, each built once from the Go modules that its folder of tests/tools pins.

They are kept in ~/.cache/spillway. A variable names a folder that has them instead: SPILLWAY_HELM_BIN,
SPILLWAY_ARGOCD_BIN and so on.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from spillway.errors import SetupError
from spillway.simulator.controlplane import gobuild

TOOLS = Path(__file__).parent / "tools"
# The folder of each program: the module that holds it, its packages there (`.`: a source of our own beside go.mod), and
# the variable that says its version.
PACKAGES: Mapping[str, tuple[str, Mapping[str, str], str]] = {
    "actionlint": (
        "github.com/rhysd/actionlint",
        {"actionlint": "github.com/rhysd/actionlint/cmd/actionlint"},
        "github.com/rhysd/actionlint.version",
    ),
    "argocd": (
        "github.com/argoproj/argo-cd/v3",
        {"argocd": "github.com/argoproj/argo-cd/v3/cmd", "argocd-read": "."},
        "github.com/argoproj/argo-cd/v3/common.version",
    ),
    "helm-unittest": (
        "github.com/helm-unittest/helm-unittest",
        {"helm-unittest": "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"},
        "github.com/helm-unittest/helm-unittest/internal/build.version",
    ),
    "helm3": ("helm.sh/helm/v3", {"helm": "helm.sh/helm/v3/cmd/helm"}, "helm.sh/helm/v3/internal/version.version"),
    "kubeconform": (
        "github.com/yannh/kubeconform",
        {"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"},
        "main.version",
    ),
    "prometheus-operator": (
        "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring",
        {"prometheus-operator-read": "."},
        "",
    ),
    "promtool": (
        "github.com/prometheus/prometheus",
        {"promtool": "github.com/prometheus/prometheus/cmd/promtool"},
        "github.com/prometheus/common/version.Version",
    ),
    "helm": ("helm.sh/helm/v4", {"helm": "helm.sh/helm/v4/cmd/helm"}, "helm.sh/helm/v4/internal/version.version"),
}


@cache
def go_program(name: str, tool: str | None = None) -> Path:
    """A program, of the folder `tool` where that is named otherwise; blocks for the build.

    Raises:
        SetupError: it is not where a variable says, or cannot be built: with the cure.
    """
    tool = tool or name
    programs = _programs(tool)
    variable = f"SPILLWAY_{tool.upper().replace('-', '_')}_BIN"
    if named := os.environ.get(variable):
        if missing := programs.missing(Path(named)):
            raise SetupError(f"{variable}={named} lacks {', '.join(missing)}; put it there or unset it")
        return Path(named) / name
    folder = Path.home() / ".cache" / "spillway"
    directory = folder / gobuild.key(programs)
    if programs.missing(directory):
        # in a thread, for a test that runs in a loop of its own
        with ThreadPoolExecutor(max_workers=1) as beside:
            beside.submit(asyncio.run, gobuild.build(programs, folder, directory, _print)).result()
    return directory / name


def version(tool: str) -> str:
    """The version of a tool's module, as its go.mod pins it."""
    module = re.escape(PACKAGES[tool][0])
    found = re.search(rf"^\s*(?:require )?{module} (v\S+)", (TOOLS / tool / "go.mod").read_text(), re.MULTILINE)
    assert found, f"tests/tools/{tool}/go.mod does not pin {module}"
    return found[1]


def _programs(tool: str) -> gobuild.Programs:
    _, packages, variable = PACKAGES[tool]
    flags = f"-s -w -X {variable}={version(tool)}" if variable else "-s -w"
    return gobuild.Programs(
        version=f"{tool}-{version(tool)}",
        source=TOOLS / tool,
        packages=packages,
        ldflags=lambda _: flags,
        cure=(
            f"tests need, once, either {' and '.join(packages)} in a directory named by "
            f"SPILLWAY_{tool.upper().replace('-', '_')}_BIN, {gobuild.GO_CURE}"
        ),
    )


def _print(what: str, seconds: float) -> None:
    print(f"{what}, {seconds:.0f} s", flush=True)
