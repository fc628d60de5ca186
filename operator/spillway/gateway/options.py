"""The options of `spillway gateway`, and what they come to: a gateway in a cluster, or one on its own (`--file`)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final

import typer

from spillway.errors import InvalidSetting
from spillway.settings import PROVIDER_HOSTS

DEFAULTS: Final = {
    "credentials_dir": ("/var/run/spillway/credentials", "credentials"),
    "ca_dir": ("/var/run/spillway/ca", "ca"),
    "host": ("0.0.0.0", "127.0.0.1"),
}
"""What is taken where an option is not given: in a cluster, and on its own."""

Namespace = Annotated[
    str, typer.Option(envvar="POD_NAMESPACE", help="The namespace whose models are served; with --file, of objects.")
]
Name = Annotated[str, typer.Option(envvar="POD_NAME", help="This gateway's name, of its own in the namespace.")]
ServiceAccountDir = Annotated[Path, typer.Option(help="Folder with token and ca.crt for the API server.")]
CredentialsDir = Annotated[
    str,
    typer.Option(
        help="Folder with <secret>/<key>, the targets' API keys. "
        "Default: /var/run/spillway/credentials; with --file ./credentials."
    ),
]
CaDir = Annotated[
    str,
    typer.Option(
        help="Folder with <configmap>/<key>, private CAs of targets. Default: /var/run/spillway/ca; with --file ./ca."
    ),
]
JournalDir = Annotated[
    Path | None, typer.Option(help="Folder that outlives this process, for what it owes. Absent: memory.")
]
AllowedHosts = Annotated[
    str,
    typer.Option(help=f"Cloud hosts that targets may name, by commas. With --file: {', '.join(PROVIDER_HOSTS)}."),
]
EgressCidrs = Annotated[
    str, typer.Option(help="Networks that targets, or the proxy, are in, by commas; none: public addresses.")
]
EgressProxyUrl = Annotated[str, typer.Option(help="HTTP proxy to reach targets through, such as http://10.0.0.9:3128.")]
MayLeave = Annotated[
    str,
    typer.Option(
        "--unlabelled-namespace-may-leave",
        "--may-leave",
        help="What may leave at most: None, Public, Internal. "
        "In a cluster the namespace's label spillway.dev/may-leave stands before it.",
    ),
]
Host = Annotated[
    str,
    typer.Option(envvar="SPILLWAY_HOST", help="Address to listen on. Default: 0.0.0.0; with --file 127.0.0.1."),
]
Port = Annotated[int, typer.Option(envvar="SPILLWAY_PORT", help="Port to listen on; 0: any that is free.")]
PeersPort = Annotated[
    int, typer.Option(envvar="SPILLWAY_PEERS_PORT", help="Port on which the namespace's other gateways ask.")
]
Files = Annotated[
    list[Path] | None,
    typer.Option(help="YAML of LLMDeployments to serve without Kubernetes; watched for changes. May be repeated."),
]
Endpoints = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]URL",
        help="With --file: an engine, http://HOST:PORT, of the LLMDeployment NAME or of the only one. May be repeated.",
    ),
]
CredentialVariables = Annotated[
    list[str] | None,
    typer.Option(
        "--credential-env",
        metavar="SECRET/KEY=VARIABLE",
        help="With --file: the environment variable that holds the API key of a target's secretRef. May be repeated.",
    ),
]
OllamaSlots = Annotated[
    int,
    typer.Option(
        min=1, help="With --file: requests that an Ollama takes at once, its OLLAMA_NUM_PARALLEL; the rest waits here."
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        help="With --file: folder for what was spent. Default: $XDG_STATE_HOME/spillway, else ~/.local/state/spillway."
    ),
]
AuditLog = Annotated[
    Path | None, typer.Option(help="With --file: file that audit lines are added to. Absent: standard output.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The options as they were given; empty where they were not."""

    namespace: str
    name: str
    service_account_dir: Path
    credentials_dir: str
    ca_dir: str
    journal_dir: Path | None
    allowed_hosts: str
    egress_cidrs: str
    egress_proxy_url: str
    may_leave: str
    host: str
    port: int
    peers_port: int
    files: list[Path] | None
    endpoints: list[str] | None
    credential_variables: list[str] | None
    ollama_slots: int
    state_dir: Path | None
    audit_log: Path | None


def run(given: Given, environment: Mapping[str, str] = os.environ) -> None:
    """Serve as the options say, until SIGTERM.

    Raises:
        InvalidSetting: an option cannot be used, or not beside another.
        SpillwayError: as the gateway raises it.
    """
    from spillway.gateway import standalone, start  # here: `--help` of any command is not to wait for them
    from spillway.gateway.settings import GatewaySettings

    on_its_own = bool(given.files)
    _check(given)
    hosts = frozenset(_parts(given.allowed_hosts)) or (frozenset(PROVIDER_HOSTS) if on_its_own else frozenset())
    settings = GatewaySettings(
        namespace=given.namespace or "default",
        name=given.name or "standalone",
        service_account_dir=given.service_account_dir,
        credentials_dir=Path(given.credentials_dir or DEFAULTS["credentials_dir"][on_its_own]),
        ca_dir=Path(given.ca_dir or DEFAULTS["ca_dir"][on_its_own]),
        journal_dir=given.journal_dir,
        allowed_hosts=hosts,
        unlabelled_namespace_may_leave=given.may_leave,
        egress_networks=tuple(ip_network(cidr) for cidr in _parts(given.egress_cidrs)),
        egress_proxy_url=given.egress_proxy_url or None,
        host=given.host or DEFAULTS["host"][on_its_own],
        port=given.port,
        peers_port=None if on_its_own else given.peers_port,
    )
    if not on_its_own:
        start.run(settings)
        return
    state = given.state_dir or Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "spillway"
    standalone.run(
        standalone.StandaloneSettings(
            files=tuple(given.files or ()),
            endpoints=tuple(given.endpoints or ()),
            ollama_slots=given.ollama_slots,
            state_dir=state,
            credential_variables=tuple(given.credential_variables or ()),
            audit_log=given.audit_log,
            gateway=settings,
        ),
        environment,
    )


def _check(given: Given) -> None:
    if given.may_leave not in {"None", "Public", "Internal"}:
        raise InvalidSetting(f"--may-leave {given.may_leave!r} is no ceiling; write None, Public or Internal")
    if given.files:
        if given.journal_dir is not None:
            raise InvalidSetting("--journal-dir is for a gateway in a cluster; with --file write --state-dir")
        return
    if not given.namespace or not given.name:
        raise InvalidSetting(
            "--namespace and --name must be given in a cluster (POD_NAMESPACE, POD_NAME); "
            "to serve without Kubernetes, give --file deployment.yaml"
        )
    alone = {
        "--endpoint": given.endpoints,
        "--credential-env": given.credential_variables,
        "--state-dir": given.state_dir,
        "--audit-log": given.audit_log,
    }
    for option, value in alone.items():
        if value:
            raise InvalidSetting(f"{option} is for a gateway without Kubernetes; give it with --file deployment.yaml")


def _parts(text: str) -> Iterable[str]:
    return (part.strip() for part in text.split(",") if part.strip())
