"""What the administrator decides about the objects that are rendered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from spillway.gateway_pod import DEFAULT_POD, GatewayPod
from spillway.settings import HUB_ENDPOINT, S3_ENDPOINT, OperatorSettings

# The engines that this release was tested with; spec.engine.image replaces one for one object.
VLLM_IMAGE = "vllm/vllm-openai:v0.32.0"
OLLAMA_IMAGE = "ollama/ollama:0.17.4"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderSettings:
    """What the administrator decides about the objects that are rendered."""

    image: str
    """Spillway's own image, which the gateways run."""
    vllm_image: str = VLLM_IMAGE
    ollama_image: str = OLLAMA_IMAGE
    allowed_hosts: tuple[str, ...] = ()
    """Hosts outside the cluster that gateways may send requests to."""
    unlabelled_namespace_may_leave: str = "Internal"
    """What may leave a namespace without the label spillway.dev/may-leave: None, Public or Internal."""
    hub_endpoint: str = HUB_ENDPOINT
    """Where models of hf:// are downloaded from: the Hugging Face Hub, or a mirror of it."""
    s3_endpoint: str = S3_ENDPOINT
    """Where buckets of s3:// are."""
    egress_cidrs: tuple[str, ...] = ()
    """Where gateways may reach targets; none: public addresses."""
    egress_proxy_url: str = ""
    """The proxy through which gateways reach targets; empty: none. Its host is an address, or in `egress_cidrs`."""
    dns_namespaces: tuple[str, ...] = ()
    """Namespaces in which names are looked up; none: in any, for clusters keep their DNS in different ones."""
    monitoring_namespaces: tuple[str, ...] = ()
    """Namespaces whose pods may read engines' metrics."""
    namespaced: bool = False
    """Whether listed namespaces are served: then the role of a gateway is a Role in its namespace, no ClusterRole."""
    gateway_replicas: int = 2
    gateway_pod: GatewayPod = DEFAULT_POD

    @classmethod
    def of(cls, settings: OperatorSettings) -> Self:
        """What the settings of an operator come to for what is rendered, by it or by `spillway plan`."""
        return cls(
            image=settings.image,
            namespaced=bool(settings.namespaces),
            gateway_replicas=settings.gateway_replicas,
            gateway_pod=settings.gateway_pod,
            hub_endpoint=settings.hub_endpoint,
            s3_endpoint=settings.s3_endpoint,
            allowed_hosts=settings.allowed_hosts,
            unlabelled_namespace_may_leave=settings.unlabelled_namespace_may_leave,
            egress_cidrs=settings.egress_cidrs,
            egress_proxy_url=settings.egress_proxy_url,
            dns_namespaces=settings.dns_namespaces,
            monitoring_namespaces=settings.monitoring_namespaces,
        )
