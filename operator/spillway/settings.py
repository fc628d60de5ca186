"""The operator's settings: read once at its start from options and environment, then frozen.

Each option of `spillway operator` has the environment variable named beside its field; an option wins over it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from spillway import __version__
from spillway.errors import InvalidSetting
from spillway.gateway_pod import DEFAULT_POD, GatewayPod, parse_gateway_pod

MayLeaveCeiling = Literal["None", "Public", "Internal"]
LogFormat = Literal["Auto", "JSON", "Text"]
LogLevel = Literal["Debug", "Info", "Warning"]

# Where models are published; the administrator may name a mirror, or a store of their own.
HUB_ENDPOINT = "https://huggingface.co"
S3_ENDPOINT = "https://s3.amazonaws.com"
# Where the providers' own APIs answer. Azure gives each customer a host of its own, which the administrator adds.
PROVIDER_HOSTS = ("api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """What the administrator decides about the operator and the gateways that it runs."""

    image: str = f"ghcr.io/spillway-dev/spillway:{__version__}"
    """SPILLWAY_IMAGE: the image of the gateways."""
    namespaces: tuple[str, ...] = ()
    """SPILLWAY_NAMESPACES: the namespaces to watch, separated by commas; none: all."""
    profiles_file: Path | None = None
    """SPILLWAY_PROFILES_FILE: the administrator's accelerator profiles; absent: those that come with Spillway."""
    allowed_hosts: tuple[str, ...] = PROVIDER_HOSTS
    """SPILLWAY_ALLOWED_HOSTS: the hosts, separated by commas, that requests may be sent to outside the cluster."""
    unlabelled_namespace_may_leave: MayLeaveCeiling = "Internal"
    """SPILLWAY_UNLABELLED_NAMESPACE_MAY_LEAVE: what may leave a namespace without the label spillway.dev/may-leave."""
    hub_endpoint: str = HUB_ENDPOINT
    """SPILLWAY_HUB_ENDPOINT: where models of hf:// are downloaded from: the Hugging Face Hub, or a mirror of it."""
    s3_endpoint: str = S3_ENDPOINT
    """SPILLWAY_S3_ENDPOINT: where buckets of s3:// are."""
    egress_cidrs: tuple[str, ...] = ()
    """SPILLWAY_EGRESS_CIDRS: where gateways may reach targets, separated by commas; none: at public addresses."""
    egress_proxy_url: str = ""
    """SPILLWAY_EGRESS_PROXY_URL: the HTTP proxy through which gateways reach targets, such as http://10.0.0.9:3128."""
    dns_namespaces: tuple[str, ...] = ()
    """SPILLWAY_DNS_NAMESPACES: where the cluster's DNS runs, separated by commas; none: anywhere in it."""
    monitoring_namespaces: tuple[str, ...] = ()
    """SPILLWAY_MONITORING_NAMESPACES: namespaces, separated by commas, whose pods may read engines' metrics."""
    gateway_replicas: int = 2
    """SPILLWAY_GATEWAY_REPLICAS: gateway pods in each namespace that has an LLMDeployment.

    Money holds over any number of them, and they tell each other what they dispatched."""
    gateway_pod: GatewayPod = DEFAULT_POD
    """SPILLWAY_GATEWAY_POD: JSON with nodeSelector, tolerations, affinity, priorityClassName, imagePullSecrets,
    podAnnotations or resources of gateways' pods."""
    resync_seconds: float = 300.0
    """SPILLWAY_RESYNC_SECONDS: how often every object is compared with the cluster even if no event came."""
    concurrency: int = 16
    """SPILLWAY_CONCURRENCY: objects that are reconciled at the same time."""
    health_port: int = 8081
    """SPILLWAY_HEALTH_PORT: where /healthz answers; 0: nowhere."""
    health_host: str = "0.0.0.0"
    """SPILLWAY_HEALTH_HOST: the address on which /healthz answers."""
    log_format: LogFormat = "Auto"
    """SPILLWAY_LOG_FORMAT: JSON, Text, or Auto: Text on a terminal, else JSON."""
    log_level: LogLevel = "Info"
    """SPILLWAY_LOG_LEVEL: Debug also says of every write which field made it necessary."""


def _one_of(kind: object) -> Callable[[str], str]:
    choices = get_args(kind)

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return parse


def _at_least(least: float, kind: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            raise ValueError("must be a number") from None
        if not number >= least:
            raise ValueError(f"must be at least {least:g}")
        return number

    return parse


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", text):
        raise ValueError("must be a URL such as https://hub.example.com")
    return text.rstrip("/")


def _proxy(text: str) -> str:
    if not re.fullmatch(r"http://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}/?", text):
        raise ValueError("must be http://, a host and a port, without a password, such as http://10.0.0.9:3128")
    return text.rstrip("/")


def _cidrs(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(item)) for item in _items(text))
    except ValueError as error:
        raise ValueError(f"must be networks such as 203.0.113.0/24: {error}") from None


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


_PARSERS: dict[str, Callable[[str], object]] = {
    "image": str,
    "namespaces": _items,
    "profiles_file": Path,
    "allowed_hosts": _items,
    "unlabelled_namespace_may_leave": _one_of(MayLeaveCeiling),
    "hub_endpoint": _url,
    "s3_endpoint": _url,
    "egress_cidrs": _cidrs,
    "egress_proxy_url": _proxy,
    "dns_namespaces": _items,
    "monitoring_namespaces": _items,
    "gateway_replicas": _at_least(1, int),
    "gateway_pod": parse_gateway_pod,
    "resync_seconds": _at_least(1, float),
    "concurrency": _at_least(1, int),
    "health_port": _at_least(0, int),
    "health_host": str,
    "log_format": _one_of(LogFormat),
    "log_level": _one_of(LogLevel),
}


def read_settings(environment: Mapping[str, str], options: Mapping[str, str] | None = None) -> OperatorSettings:
    """The settings that `environment` (SPILLWAY_*) and `options` (by field name; they win) come to; empty is absent.

    Raises:
        InvalidSetting: one cannot be used; the message names it, its value and what it must be.
    """
    values: dict[str, object] = {}
    for field, parse in _PARSERS.items():
        variable = f"SPILLWAY_{field.upper()}"
        option = (options or {}).get(field, "")
        text = option or environment.get(variable, "")
        if not text:
            continue
        try:
            values[field] = parse(text)
        except ValueError as error:
            name = f"--{field.replace('_', '-')}" if option else variable
            raise InvalidSetting(f"{name}: {text!r} {error}") from error
    # each value has just been made by the parser of its own field
    settings = OperatorSettings(**values)  # type: ignore[arg-type]
    if settings.egress_proxy_url and not settings.egress_cidrs and proxy_address(settings.egress_proxy_url) is None:
        raise InvalidSetting(
            f"SPILLWAY_EGRESS_PROXY_URL: {settings.egress_proxy_url!r} must have an address for its host, or "
            "SPILLWAY_EGRESS_CIDRS must say where the proxy is: a network policy cannot match names"
        )
    return settings


def proxy_address(proxy_url: str) -> IPv4Address | IPv6Address | None:
    """The address that a proxy's URL names, None when its host is a name."""
    try:
        return ip_address(urlsplit(proxy_url).hostname or "")
    except ValueError:
        return None
