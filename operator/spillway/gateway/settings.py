"""What one gateway process is told at its start, read once."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from spillway.routing.facts import CompileSettings


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What each gateway is told, in a cluster or on its own.

    `credentials_dir` holds `<secret>/<key>`, `ca_dir` `<configmap>/<key>`.
    `journal_dir` outlives a container but not its pod; None keeps what is owed in memory, and a crash costs the lease.
    `allowed_hosts` are the cloud hosts that the administrator lets targets name;
    `unlabelled_namespace_may_leave` is the ceiling (None, Public, Internal) of a namespace without the label.
    """

    namespace: str
    name: str
    credentials_dir: Path
    ca_dir: Path
    allowed_hosts: frozenset[str]
    service_account_dir: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    """Holds `token` and `ca.crt` for the API server, in a cluster."""
    journal_dir: Path | None = None
    unlabelled_namespace_may_leave: str = "Internal"
    egress_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Where targets, or the proxy to them, may be; none: at public addresses."""
    egress_proxy_url: str | None = None
    host: str = "0.0.0.0"
    port: int = 8080
    peers_port: int | None = 8082
    """Where other gateways of the namespace ask what this one dispatched; None: there are no others."""
    drain_seconds: float = 60.0
    """How long what is in flight may take to end after SIGTERM; a pod's grace period has to be longer."""

    @property
    def compile_settings(self) -> CompileSettings:
        """The part that compiling routes needs."""
        return CompileSettings(
            allowed_hosts=self.allowed_hosts, unlabelled_may_leave=self.unlabelled_namespace_may_leave
        )
