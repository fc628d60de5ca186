"""The versions that the kind cluster is said to be made of are those that its go.mod files pin."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from e2e.images import ollama_program
from e2e.offline import versions

E2E = Path(__file__).parents[2] / "e2e"
PROGRAMS = E2E / "offline" / "programs"


@pytest.mark.parametrize(
    ("folder", "module", "version"),
    [
        (PROGRAMS / "kind", "sigs.k8s.io/kind", versions.KIND),
        (PROGRAMS / "kubernetes", "k8s.io/kubernetes", versions.KUBERNETES),
        (PROGRAMS / "containerd", "github.com/containerd/containerd/v2", versions.CONTAINERD),
        (PROGRAMS / "coredns", "github.com/coredns/coredns", versions.COREDNS),
        (PROGRAMS / "cri-tools", "sigs.k8s.io/cri-tools", versions.CRI_TOOLS),
        (PROGRAMS / "cni-plugins", "github.com/containernetworking/plugins", versions.CNI_PLUGINS),
        (PROGRAMS / "local-path-provisioner", "github.com/rancher/local-path-provisioner", versions.LOCAL_PATH),
        (PROGRAMS / "node", "k8s.io/client-go", versions.KUBERNETES.replace("v1.", "v0.")),
        (E2E / "images" / "ollama", "github.com/ollama/ollama", f"v{ollama_program.VERSION}"),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_a_version_is_the_one_that_go_mod_pins(folder: Path, module: str, version: str):
    required = [line.split() for line in (folder / "go.mod").read_text().splitlines()]
    assert version in [words[words.index(module) + 1] for words in required if module in words[:-1]]


def test_the_stock_node_is_of_our_kubernetes_and_pinned_by_digest():
    minor = versions.KUBERNETES.rpartition(".")[0]
    assert re.fullmatch(rf"kindest/node:{re.escape(minor)}\.\d+@sha256:[0-9a-f]{{64}}", versions.STOCK_NODE)
