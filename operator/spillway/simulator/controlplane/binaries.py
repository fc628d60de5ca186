"""Finds the control plane's programs, or has them built."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from spillway.errors import SetupError
from spillway.simulator.controlplane import gobuild

KUBERNETES = "v1.36.3"  # as in build/go.mod


def ldflags(program: str) -> str:
    """Strip symbols, and write the version in: Kubernetes' own build does that with -X, else /version says v0.0.0."""
    if program == "etcd":
        return "-s -w"
    _, minor, _ = KUBERNETES.split(".")
    strings = {
        "k8s.io/component-base/version.gitVersion": KUBERNETES,
        "k8s.io/component-base/version.gitMajor": KUBERNETES[1 : KUBERNETES.index(".")],
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": KUBERNETES,
    }
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in strings.items())])


PROGRAMS = gobuild.Programs(
    version=KUBERNETES,
    source=Path(__file__).parent / "build",
    packages={
        "etcd": "go.etcd.io/etcd/server/v3",
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    },
    ldflags=ldflags,
    cure=(
        "the embedded control plane needs, once, either ready programs "
        "(etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl in a directory named by "
        f"SPILLWAY_KUBE_BIN or KUBEBUILDER_ASSETS), {gobuild.GO_CURE}"
    ),
)


async def find(progress: gobuild.Progress, environ: Mapping[str, str] = os.environ) -> Path:
    """The directory that holds etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl.

    First hit wins: SPILLWAY_KUBE_BIN, KUBEBUILDER_ASSETS (only where it is complete: controller-runtime's own sets
    lack controller-manager and scheduler, and versions must not be mixed), ~/.cache/spillway, a build into that cache.

    Raises:
        SetupError: says what is missing and how to get it.
    """
    if named := environ.get("SPILLWAY_KUBE_BIN"):
        if missing := PROGRAMS.missing(Path(named)):
            raise SetupError(f"SPILLWAY_KUBE_BIN={named} lacks {', '.join(missing)}; put them there or unset it")
        return Path(named)
    if (assets := environ.get("KUBEBUILDER_ASSETS")) and not PROGRAMS.missing(Path(assets)):
        return Path(assets)
    cache = Path.home() / ".cache" / "spillway"
    directory = cache / gobuild.key(PROGRAMS)
    if PROGRAMS.missing(directory):
        await gobuild.build(PROGRAMS, cache, directory, progress)
    return directory
