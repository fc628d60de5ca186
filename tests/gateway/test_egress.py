"""Where a cloud call may go, and with which key."""

from __future__ import annotations

import socket
from ipaddress import ip_network
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
        ("64:ff9b::8.8.8.8", True),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b::169.254.169.254", False),
        ("64:ff9b:1::8.8.8.8", False),
        ("::10.0.0.1", False),
        ("::ffff:0:169.254.169.254", False),
        ("::8.8.8.8", False),
        ("2001:0:0808:0808::1", False),
        ("fec0::1", False),
        ("fd00:ec2::254", False),
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("100.100.100.200", False),
        ("198.18.0.1", False),
        ("255.255.255.255", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_a_name_that_is_in_here_is_refused_though_it_is_on_the_list() -> None:
    with pytest.raises(AddressRefused, match=r"not a public address; egress\.cidrs says"):
        await GuardedResolver({"localhost"}).resolve("localhost", 443)


async def test_with_networks_of_the_administrators_targets_are_in_them_and_nowhere_else() -> None:
    inside = GuardedResolver({"localhost"}, [ip_network("127.0.0.0/8")])

    found = await inside.resolve("localhost", 443, socket.AF_INET)

    assert [(result["host"], result["port"]) for result in found] == [("127.0.0.1", 443)]
    with pytest.raises(AddressRefused, match=r"8\.8\.8\.8, which is in none of egress\.cidrs"):
        await inside.resolve("8.8.8.8", 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "::1", "::ffff:10.0.0.1"])
def test_an_address_is_called_only_when_the_list_names_it_or_it_is_public(host: str) -> None:
    with pytest.raises(AddressRefused):
        GuardedResolver({"api.openai.com"}).check_literal(host)
    GuardedResolver({host}).check_literal(host)
    GuardedResolver({}).check_literal("8.8.8.8")
    GuardedResolver({}).check_literal("api.openai.com")


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
