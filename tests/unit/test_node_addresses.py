from __future__ import annotations

import dataclasses
import random
import socket

import pytest

from spillway.errors import SetupError
from spillway.simulator.controlplane import binaries, gobuild
from spillway.simulator.controlplane.ports import HeldPort
from spillway.simulator.node import addresses
from spillway.simulator.node.addresses import HeldAddress


def test_the_same_draw_twice_gives_two_addresses() -> None:
    first, second = HeldAddress(random.Random(1)), HeldAddress(random.Random(1))
    third = None
    try:
        assert first.ip != second.ip
        assert {first.ip.split(".")[0], second.ip.split(".")[0]} == {"127"}
        first.close()
        third = HeldAddress(random.Random(1))
        assert third.ip == first.ip  # given back, it can be had again
    finally:
        for address in filter(None, (first, second, third)):
            address.close()


def test_a_claim_that_nobody_can_make_is_an_error_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as everywhere:
        everywhere.bind(("0.0.0.0", 0))
        monkeypatch.setattr(addresses, "_CLAIM_PORT", everywhere.getsockname()[1])
        with pytest.raises(SetupError, match="already in use"):
            HeldAddress(random.Random(1))


def test_a_held_port_can_be_shared_by_its_server_and_taken_by_nobody_else() -> None:
    port = HeldPort()
    with socket.socket() as server, socket.socket() as stranger:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", port.number))
        server.listen()
        with pytest.raises(OSError, match="already in use"):
            stranger.bind(("127.0.0.1", port.number))
        with socket.create_connection(("127.0.0.1", port.number), timeout=5):
            pass
    port.close()


def test_the_build_writes_the_version_of_its_module_in() -> None:
    assert f"k8s.io/kubernetes {binaries.KUBERNETES} " in (binaries.PROGRAMS.source / "go.mod").read_text()
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in binaries.ldflags("kube-apiserver")
    assert "-X k8s.io/component-base/version.gitMinor=36" in binaries.ldflags("kubectl")


def test_another_dependency_means_another_cache(tmp_path) -> None:
    for name in ("go.mod", "go.sum"):
        (tmp_path / name).write_bytes((binaries.PROGRAMS.source / name).read_bytes() + b"\n")
    other = dataclasses.replace(binaries.PROGRAMS, source=tmp_path)
    assert gobuild.key(other) != gobuild.key(binaries.PROGRAMS)
