"""The manifests of the gateway that a namespace's LLMDeployments share: nobody owns them, the operator prunes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spillway.api.v1alpha1 import ConfigMapKeyRef, LLMDeployment, SecretKeyRef
from spillway.render.network import GATEWAY_PORT, PEERS_PORT, ApiServer, enabled_targets, render_policies
from spillway.render.settings import RenderSettings
from spillway.render.template import Manifest, render

GATEWAY_NAME = "spillway-gateway"
CREDENTIALS_DIRECTORY = "/var/run/spillway/credentials"
CA_DIRECTORY = "/var/run/spillway/ca"
JOURNAL_DIRECTORY = "/var/lib/spillway/journal"
SERVICE_ACCOUNT_DIRECTORY = "/var/run/spillway/serviceaccount"


def render_namespace(
    namespace: str,
    deployments: Sequence[LLMDeployment],
    settings: RenderSettings,
    api_servers: Sequence[ApiServer] = (),
) -> tuple[Manifest, ...]:
    """The manifests of the gateway in `namespace`, in the order in which they are applied; none without `deployments`.

    The order of `deployments` does not matter, nor anything of them but which credentials and CA bundles they name, and
    who has to go out for what: a gateway reads the rest itself, so its pods are replaced only for a new file.
    `api_servers` are the cluster's, as far as they are known.
    """
    if not deployments:
        return ()
    targets = enabled_targets(deployments)
    values: dict[str, object] = {
        "name": GATEWAY_NAME,
        "namespace": namespace,
        "settings": settings,
        "port": GATEWAY_PORT,
        "peers_port": PEERS_PORT,
    }
    return (
        *render_policies(values, deployments, settings, api_servers),
        render("gateway/serviceaccount.yaml.j2", **values),
        render("gateway/rolebinding.yaml.j2", **values),
        render(
            "gateway/deployment.yaml.j2",
            **values,
            pod=settings.gateway_pod,
            pull_secrets=[{"name": name} for name in settings.gateway_pod.image_pull_secrets],
            arguments=gateway_arguments(settings),
            credentials=projected_keys("secret", (target.secret_ref for target in targets)),
            credentials_directory=CREDENTIALS_DIRECTORY,
            ca_bundles=projected_keys("configMap", (target.ca_bundle_ref for target in targets)),
            ca_directory=CA_DIRECTORY,
            journal_directory=JOURNAL_DIRECTORY,
            service_account_directory=SERVICE_ACCOUNT_DIRECTORY,
        ),
        render("gateway/service.yaml.j2", **values),
        # with one gateway it would say nothing that a drain does not do anyway
        *((render("gateway/disruption.yaml.j2", **values),) if settings.gateway_replicas > 1 else ()),
    )


def gateway_arguments(settings: RenderSettings) -> list[str]:
    """The gateway's arguments."""
    return [
        "gateway",
        "--namespace=$(POD_NAMESPACE)",
        f"--service-account-dir={SERVICE_ACCOUNT_DIRECTORY}",
        f"--credentials-dir={CREDENTIALS_DIRECTORY}",
        f"--ca-dir={CA_DIRECTORY}",
        f"--journal-dir={JOURNAL_DIRECTORY}",
        f"--allowed-hosts={','.join(sorted(set(settings.allowed_hosts)))}",
        f"--unlabelled-namespace-may-leave={settings.unlabelled_namespace_may_leave}",
        *([f"--egress-cidrs={','.join(sorted(set(settings.egress_cidrs)))}"] if settings.egress_cidrs else []),
        *([f"--egress-proxy-url={settings.egress_proxy_url}"] if settings.egress_proxy_url else []),
    ]


def projected_keys(kind: str, references: Iterable[SecretKeyRef | ConfigMapKeyRef | None]) -> list[dict[str, object]]:
    """Sources of a projected volume with just the keys referred to, each at `<object>/<key>`.

    All are optional: one missing Secret must not keep the namespace's gateway from starting.
    """
    keys: dict[str, set[str]] = {}
    for reference in references:
        if reference is not None:
            keys.setdefault(reference.name, set()).add(reference.key)
    return [
        {
            kind: {
                "name": name,
                "optional": True,
                "items": [{"key": key, "path": f"{name}/{key}"} for key in sorted(keys[name])],
            }
        }
        for name in sorted(keys)
    ]
