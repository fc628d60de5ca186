"""Where a cloud call may go, and with which key."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from spillway.errors import AddressRefused, CredentialMissing
from spillway.gateway.addresses import GuardedResolver, is_public
from spillway.gateway.credentials import Credentials
from spillway.routing.facts import KeyRef, Price, Target


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("224.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("2002:0a00:0001::", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_a_host_that_is_in_here_is_refused_unless_it_is_named() -> None:
    with pytest.raises(AddressRefused, match="not a public address"):
        await GuardedResolver(frozenset({"api.openai.com"})).resolve("localhost", 443)

    found = await GuardedResolver(frozenset({"LocalHost"})).resolve("localhost", 443, socket.AF_INET)

    assert [(result["host"], result["port"]) for result in found] == [("127.0.0.1", 443)]


def target(**changes: KeyRef) -> Target:
    return Target("t", "https://cloud.example/v1", "m", Price(1, 1, 1), 10.0, **changes)


SECRET = KeyRef("openai", "api-key")


def test_a_key_is_read_again_when_its_file_changes(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path, tmp_path)
    path = tmp_path / "openai/api-key"
    path.parent.mkdir()
    path.write_text("first\n")
    assert credentials.bearer(target(credential=SECRET)) == "first"

    renewed = tmp_path / "renewed"  # as the kubelet does it: another file takes the name
    renewed.write_text("secon\n")
    renewed.rename(path)

    assert credentials.bearer(target(credential=SECRET)) == "secon"
    assert credentials.bearer(target()) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "SecretNotFound"), (b"", "SecretUnusable"), (b" \n", "SecretUnusable"), (b"a\nb", "SecretUnusable")],
)
def test_a_key_that_no_header_can_carry_is_not_used(content: bytes | None, reason: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "openai").mkdir()
        (tmp_path / "openai/api-key").write_bytes(content)

    with pytest.raises(CredentialMissing) as missing:
        Credentials(tmp_path, tmp_path).bearer(target(credential=SECRET))

    assert missing.value.reason == reason
    assert "'openai'" in missing.value.message


def test_a_reference_cannot_leave_its_folder(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    with pytest.raises(CredentialMissing):
        Credentials(tmp_path / "inside", tmp_path).bearer(target(credential=KeyRef("..", "outside")))


def test_a_bundle_without_a_certificate_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca/ca.crt").write_text("no certificate")

    with pytest.raises(CredentialMissing) as missing:
        Credentials(tmp_path, tmp_path).tls(target(ca_bundle=KeyRef("ca", "ca.crt")))

    assert missing.value.reason == "CABundleUnusable"
