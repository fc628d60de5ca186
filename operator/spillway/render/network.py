"""Who may talk to whom in a namespace: engines to nobody, the gateway to engines, the API server and its targets.

- Engines take requests from the namespace's gateway, and from the namespaces that monitor; they call nobody, not even
  for names. Engines that fetch their model themselves may look up names and reach public addresses on TCP 443; a policy
  knows pods, not containers, so they keep that while they serve. A model on a claim needs none of it.
- The pods that download a model onto a claim take nothing from anyone; they look up names and reach public addresses on
  TCP 443 (behind a proxy, the proxy), and the port of the administrator's own hub or store.
- The gateway looks up names and reaches engines, the namespace's other gateways and the API server; with a fallback
  that is enabled, its targets' ports at public addresses, or at those that the administrator lists instead; behind a
  proxy, the proxy alone. Who may call it is not decided here, but that its peers' port is for its peers.

A policy cannot name hosts: which of them are called is the gateway's own check, and the weaker wall of the two.
Policies hold only where the cluster's network plugin enforces them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from spillway.api.v1alpha1 import EngineType, FallbackMode, LLMDeployment, Target
from spillway.render.files import model_files
from spillway.render.model import model_cache
from spillway.render.ollama import OLLAMA_PORT, ollama_model_source
from spillway.render.settings import RenderSettings
from spillway.render.template import Manifest, render
from spillway.render.vllm import VLLM_PORT
from spillway.settings import HUB_ENDPOINT, S3_ENDPOINT, proxy_address

GATEWAY_PORT = 8080
PEERS_PORT = 8082
HTTPS_PORT = 443
# Where API servers listen, while their addresses are not known: as a Service does, and as kubeadm sets them up.
API_SERVER_PORTS = (443, 6443)
# What is no public address: https://www.iana.org/assignments/iana-ipv4-special-registry, and the same for IPv6.
PRIVATE = {
    "0.0.0.0/0": (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
    ),
    "::/0": ("::/128", "::1/128", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8"),
}


@dataclass(frozen=True, slots=True, order=True)
class ApiServer:
    """Where an API server of the cluster listens, behind its Service."""

    address: str
    port: int


def render_policies(
    values: Mapping[str, object],
    deployments: Sequence[LLMDeployment],
    settings: RenderSettings,
    api_servers: Sequence[ApiServer],
) -> tuple[Manifest, ...]:
    """The policies of one namespace; without `api_servers` the gateway may reach any address on their usual ports."""
    common: dict[str, object] = {
        **values,
        "engine_ports": ports((VLLM_PORT, OLLAMA_PORT)),
        "dns_namespaces": sorted(set(settings.dns_namespaces)),
    }
    engines = [render("network/engine.yaml.j2", **common, monitoring=sorted(set(settings.monitoring_namespaces)))]
    if any(fetches_model(deployment) for deployment in deployments):
        engines.append(render("network/engine-egress.yaml.j2", **common, **hub_rule(settings)))
    if any(model_cache(deployment) for deployment in deployments):
        own = ports(endpoint_ports(settings))
        engines.append(render("network/model.yaml.j2", **common, **hub_rule(settings), endpoint_ports=own))
    gateway = render(
        "network/gateway.yaml.j2",
        **common,
        client_ports=ports((GATEWAY_PORT,)),
        peers_ports=ports((PEERS_PORT,)),
        api_servers=api_server_rules(api_servers),
        target_ports=ports(target_ports(deployments, settings.egress_proxy_url)),
        targets=target_addresses(settings),
    )
    return (*engines, gateway)


def fetches_model(deployment: LLMDeployment) -> bool:
    """Whether the engine's own pods fetch the model."""
    if deployment.spec.engine.type is EngineType.OLLAMA:
        return ollama_model_source(deployment).is_pulled
    return not model_files(deployment).is_cached


def endpoint_ports(settings: RenderSettings) -> set[int]:
    """The ports of the hub and store, where they are not the public ones."""
    own = {settings.hub_endpoint, settings.s3_endpoint} - {HUB_ENDPOINT, S3_ENDPOINT}
    urls = [urlsplit(endpoint) for endpoint in own]
    return {url.port or (HTTPS_PORT if url.scheme == "https" else 80) for url in urls}


def hub_rule(settings: RenderSettings) -> dict[str, list[dict[str, object]]]:
    """Where public hubs and stores are, or the proxy that they are behind."""
    if not settings.egress_proxy_url:
        return {"hubs": public_addresses(), "hub_ports": ports((HTTPS_PORT,))}
    return {
        "hubs": target_addresses(settings),
        "hub_ports": ports((urlsplit(settings.egress_proxy_url).port or HTTPS_PORT,)),
    }


def target_addresses(settings: RenderSettings) -> list[dict[str, object]]:
    """Where targets are, or the proxy that they are behind."""
    proxy = proxy_address(settings.egress_proxy_url)
    cidrs = [str(ip_network(proxy))] if proxy is not None else sorted(set(settings.egress_cidrs))
    return [{"ipBlock": {"cidr": cidr}} for cidr in cidrs] or public_addresses()


def target_ports(deployments: Iterable[LLMDeployment], proxy_url: str = "") -> set[int]:
    """The ports of all targets that are called; of the proxy, where they are behind one."""
    return {urlsplit(proxy_url or target.base_url or "").port or HTTPS_PORT for target in enabled_targets(deployments)}


def enabled_targets(deployments: Iterable[LLMDeployment]) -> list[Target]:
    """The targets that are called: those of the fallbacks that are enabled."""
    return [
        target
        for deployment in deployments
        if deployment.spec.fallback.mode is FallbackMode.ENABLED
        for target in deployment.spec.fallback.targets
    ]


def api_server_rules(api_servers: Sequence[ApiServer]) -> list[dict[str, object]]:
    """One rule for each port on which API servers listen."""
    if not api_servers:
        return [{"ports": ports(API_SERVER_PORTS)}]
    by_port: dict[int, set[str]] = {}
    for server in api_servers:
        by_port.setdefault(server.port, set()).add(str(ip_network(ip_address(server.address))))
    return [
        {"to": [{"ipBlock": {"cidr": cidr}} for cidr in sorted(by_port[port])], "ports": ports((port,))}
        for port in sorted(by_port)
    ]


def public_addresses() -> list[dict[str, object]]:
    """Every address but those that no public host has."""
    return [{"ipBlock": {"cidr": cidr, "except": list(private)}} for cidr, private in PRIVATE.items()]


def ports(numbers: Iterable[int]) -> list[dict[str, object]]:
    """TCP ports as a policy lists them."""
    return [{"protocol": "TCP", "port": number} for number in sorted(numbers)]
