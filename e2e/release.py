"""The chart as it is installed on the cluster, and where the recording cloud is that stories spill to."""

from __future__ import annotations

import json

from e2e import cluster
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


def values() -> list[str]:
    """What the stories set in the chart."""
    repository, _, tag = SPILLWAY.rpartition(":")
    settings = {
        "image.repository": repository,
        "image.tag": tag,
        "image.pullPolicy": "Never",
        "egress.allowedHosts": [CLOUD_HOST],
        "egress.cidrs": [PODS, SERVICES],
        "models.hubEndpoint": f"http://hub.recording.svc.cluster.local:{HUB_PORT}",
        "operator.resyncSeconds": 30,
    }
    return [word for name, value in settings.items() for word in ("--set-json", f"{name}={json.dumps(value)}")]


def install(*more: str) -> None:
    """Install or upgrade the chart, and wait until the operator answers.

    Raises:
        CommandFailed: with Helm's words.
    """
    say("helm upgrade --install")
    cluster.kubectl("apply", "-f", "-", stdin=_NAMESPACE)
    where = ("--namespace", NAMESPACE, "--wait", "--timeout", "180s")
    cluster.helm("upgrade", "--install", "spillway", CHART, *where, *values(), *more)
    # The image may be another under the same name.
    cluster.kubectl("rollout", "restart", "-n", NAMESPACE, "deployment/spillway-operator")
    cluster.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/spillway-operator", "--timeout=180s")
    say("Spillway is installed")


_NAMESPACE = f"""
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels: {{pod-security.kubernetes.io/enforce: restricted}}
"""
