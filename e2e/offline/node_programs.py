"""The programs of a node: Kubernetes, containerd, etcd and what they need, built from Go modules."""

from __future__ import annotations

import asyncio
from pathlib import Path

from e2e import programs
from e2e.offline.versions import CNI_PLUGINS, CONTAINERD, COREDNS, CRI_TOOLS, KUBERNETES, LOCAL_PATH
from spillway.simulator.controlplane import binaries

_CONTAINERD = "github.com/containerd/containerd/v2"
_PLUGINS = "github.com/containernetworking/plugins/plugins"
_OWN_VERSION = "1"


def build() -> dict[str, Path]:
    """Every program by its name, built where it is not there yet: about ten minutes on two cores for all.

    Raises:
        SetupError: one cannot be built.
    """
    directories = [
        # etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl: the embedded control plane's own
        asyncio.run(binaries.find(lambda _what, _seconds: None)),
        programs.go_programs(
            "kubernetes",
            KUBERNETES,
            {name: f"k8s.io/kubernetes/cmd/{name}" for name in ("kubelet", "kubeadm", "kube-proxy")},
            binaries.ldflags("kubelet").removeprefix("-s -w "),
        ),
        programs.go_programs(
            "containerd",
            CONTAINERD,
            {name: f"{_CONTAINERD}/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
            f"-X {_CONTAINERD}/version.Version={CONTAINERD}",
        ),
        programs.go_programs("coredns", COREDNS, {"coredns": "."}),
        programs.go_programs("cri-tools", CRI_TOOLS, {"crictl": "sigs.k8s.io/cri-tools/cmd/crictl"}),
        programs.go_programs(
            "cni-plugins",
            CNI_PLUGINS,
            {
                "ptp": f"{_PLUGINS}/main/ptp",
                "loopback": f"{_PLUGINS}/main/loopback",
                "host-local": f"{_PLUGINS}/ipam/host-local",
                "portmap": f"{_PLUGINS}/meta/portmap",
            },
        ),
        programs.go_programs(
            "local-path-provisioner",
            LOCAL_PATH,
            {"local-path-provisioner": "github.com/rancher/local-path-provisioner"},
        ),
        programs.go_programs("node", _OWN_VERSION, {"netpol": "./netpol", "pause": "./pause"}),
    ]
    return {path.name: path for directory in directories for path in directory.iterdir()}
