"""The chart as it is installed on the cluster, and where the recording cloud is that stories spill to."""

from __future__ import annotations

import json

from e2e import cluster, docker
from e2e.images.build import SPILLWAY
from e2e.shell import say

NAMESPACE = "spillway-system"
CHART = "charts/spillway"
CLOUD_HOST = "cloud.recording.svc.cluster.local"
CLOUD_PORT = 8443
HUB_PORT = 8090
PODS = "10.244.0.0/16"
"""kind's range for pods: where the recording cloud is."""
SERVICES = "10.96.0.0/16"


def values(image: str) -> list[str]:
    """What the stories set in the chart."""
    repository, _, tag = image.rpartition(":")
    settings = {
        "image.repository": repository,
        "image.tag": tag,
        # The image may be another under the same name: then the operator has to start anew.
        "operator.podAnnotations": {"spillway.local/image": docker.image_id(image)},
        "image.pullPolicy": "Never",
        "egress.allowedHosts": [CLOUD_HOST],
        "egress.cidrs": [PODS, SERVICES],
        "models.hubEndpoint": f"http://hub.recording.svc.cluster.local:{HUB_PORT}",
        "operator.resyncSeconds": 30,
    }
    return [word for name, value in settings.items() for word in ("--set-json", f"{name}={json.dumps(value)}")]


def install(image: str = SPILLWAY, *, helm: int = 4) -> None:
    """Install or upgrade the chart by Helm 4 or 3, and wait until the operator has looked at every object.

    Raises:
        CommandFailed: with Helm's words.
    """
    say(f"helm upgrade --install, by Helm {helm}")
    cluster.kubectl("apply", "-f", "-", stdin=_NAMESPACE)
    where = ("--namespace", NAMESPACE, "--wait", "--timeout", "300s")
    cluster.helm("upgrade", "--install", "spillway", CHART, *where, *values(image), major=helm)
    cluster.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/spillway-operator", "--timeout=300s")
    say("Spillway is installed")


def uninstall(*, helm: int = 4) -> None:
    """Uninstall it, and wait until all but the kinds is gone.

    Raises:
        CommandFailed: with Helm's words.
    """
    cluster.helm("uninstall", "spillway", "--namespace", NAMESPACE, "--wait", major=helm)


_NAMESPACE = f"""
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels: {{pod-security.kubernetes.io/enforce: restricted}}
"""
