"""Finds the control plane's programs, or has them built."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from spillway.errors import SetupError
from spillway.simulator.controlplane import gobuild


async def find(progress: gobuild.Progress, environ: Mapping[str, str] = os.environ) -> Path:
    """The directory that holds etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl.

    First hit wins: SPILLWAY_KUBE_BIN, KUBEBUILDER_ASSETS (only where it is complete: controller-runtime's own sets
    lack controller-manager and scheduler, and versions must not be mixed), ~/.cache/spillway, a build into that cache.

    Raises:
        SetupError: says what is missing and how to get it.
    """
    if named := environ.get("SPILLWAY_KUBE_BIN"):
        if missing := _missing(Path(named)):
            raise SetupError(f"SPILLWAY_KUBE_BIN={named} lacks {', '.join(missing)}; put them there or unset it")
        return Path(named)
    if (assets := environ.get("KUBEBUILDER_ASSETS")) and not _missing(Path(assets)):
        return Path(assets)
    cache = Path.home() / ".cache" / "spillway"
    directory = cache / gobuild.key()
    if _missing(directory):
        await gobuild.build(cache, directory, progress)
    return directory


def _missing(directory: Path) -> list[str]:
    return [program for program in gobuild.PACKAGES if not os.access(directory / program, os.X_OK)]
