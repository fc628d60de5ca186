"""Values of the chart, each other than its default: what is tested with them is tested for every value."""

from __future__ import annotations

from typing import Any

_TERM = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
NEAR = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": _TERM}]}
EVERY_VALUE: dict[str, Any] = {
    "image": {"repository": "registry.example/spillway", "tag": "1.2.3", "digest": "", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "crds": {"enabled": True, "keep": False},
    "watchNamespaces": ["team-a", "team-b"],
    "models": {"hubEndpoint": "https://hub.example.org", "s3Endpoint": "http://minio.storage:9000"},
    "egress": {
        "allowedHosts": ["llm.example.org"],
        "unlabelledNamespaceMayLeave": "None",
        "cidrs": ["203.0.113.0/24"],
        "proxyURL": "http://proxy.corp.example:3128",
        "dnsNamespaces": ["kube-system"],
    },
    "monitoring": {
        "namespaces": ["prometheus"],
        "prometheusOperator": "Always",
        "labels": {"release": "prometheus"},
        "dashboard": {"create": True, "labels": {"grafana_dashboard": "yes"}},
    },
    "gateway": {
        "replicas": 3,
        "resources": {"requests": {"cpu": 0.5}, "limits": {"memory": "1Gi"}},
        "nodeSelector": {"pool": "gateways"},
        "tolerations": [{"key": "gateways", "operator": "Exists", "tolerationSeconds": 300}],
        "affinity": {"podAntiAffinity": {}, "nodeAffinity": NEAR},
        "priorityClassName": "higher",
        "podAnnotations": {"example.org/team": 'it\'s "ours"'},
        "imagePullSecrets": [{"name": "mirror"}],
    },
    "profiles": {"l4-24gb": {"maxCount": 2}, "a100-80gb": None, "tiny": {"memoryGiB": 4.5}},
    "operator": {
        "resyncSeconds": 86400,
        "concurrency": 3,
        "log": {"format": "JSON", "level": "Debug"},
        "resources": {"limits": {"memory": "1Gi"}},
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "podLabels": {"example.org/team": "platform"},
        "podAnnotations": {"example.org/note": "yes"},
        "extraEnv": [{"name": "TZ", "value": "Europe/Berlin"}],
        "serviceAccount": {"annotations": {"example.org/role": "spillway"}},
        "podSecurityContext": {"runAsUser": None, "runAsGroup": None},
        "containerSecurityContext": {"privileged": False},
    },
}
