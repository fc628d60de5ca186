"""Every version that a node without a registry is made of. Go modules are pinned by the go.mod files in programs/."""

from __future__ import annotations

KUBERNETES = "v1.36.3"
KIND = "v0.33.0"
STOCK_NODE = "kindest/node:v1.36.4@sha256:099e049362a1526b2db71494e1947aae99bd16290d7c895f2b7ea312e3cbfaed"
"""Of the images that were released with this kind, which supports no others, the one of our Kubernetes' minor version.
https://github.com/kubernetes-sigs/kind/releases/tag/v0.33.0"""
CONTAINERD = "v2.3.4"
COREDNS = "v1.14.2"
CRI_TOOLS = "v1.36.0"
CNI_PLUGINS = "v1.9.1"
LOCAL_PATH = "v0.0.30"

NODE_SUITE = "bookworm"
"""Its systemd (252) starts on cgroup v1 too, which that of the next release refuses."""
NODE_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "util-linux", "mount", "kmod", "procps", "hostname", "findutils", "bash"),
    *("conntrack", "iptables", "nftables", "iproute2", "ethtool", "socat", "libseccomp2", "runc"),
    *("ca-certificates", "curl", "jq", "rsync", "busybox"),
)
BASE_SUITE = "trixie"
"""What the images of Spillway and of the engines rest on, as in operator/Dockerfile."""
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv", "python3-pip", "libstdc++6")
DOCKER_SUITE = "trixie"
"""Docker 26: that of the release before (20.10) cannot start a privileged container where the machine lacks a
capability that the kernel has."""
