"""What `helm test` runs: finds an LLMDeployment that is Ready and chats with it, through its gateway.

python chat.py SERVICE_ACCOUNT_DIRECTORY [NAMESPACE ...]; without a namespace it looks in all of them.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import urllib.request
from pathlib import Path
from typing import Any

PROMPT = {"role": "user", "content": "Say hello."}


def main(directory: Path, namespaces: list[str]) -> None:
    """Chat with the first that is Ready, as what must stay here; what went wrong is the exit message."""
    found = [one for path in paths(namespaces) for one in ask_cluster(directory, path)["items"]]
    ready = [one["status"] for one in found if is_ready(one)]
    if not ready:
        names = ", ".join(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in found)
        sys.exit(f"no LLMDeployment is Ready ({names or 'there is none'}); kubectl get llmdep -A says why")
    url, model = ready[0]["url"], ready[0]["modelName"]
    body = json.dumps({"model": model, "messages": [PROMPT], "max_tokens": 16}).encode()
    headers = {"content-type": "application/json", "x-spillway-data-class": "Sensitive"}
    request = urllib.request.Request(f"{url}/chat/completions", body, headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        said = json.load(answer)["choices"][0]["message"]["content"]
        print(f"{model}, by {answer.headers['x-spillway-backend']}: {said}")


def paths(namespaces: list[str]) -> list[str]:
    """Where the LLMDeployments are."""
    group = "/apis/spillway.dev/v1alpha1"
    return [f"{group}/namespaces/{name}/llmdeployments" for name in namespaces] or [f"{group}/llmdeployments"]


def ask_cluster(directory: Path, path: str) -> dict[str, Any]:
    """What the API server answers."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    server = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    headers = {"authorization": f"Bearer {(directory / 'token').read_text().strip()}"}
    trust = ssl.create_default_context(cafile=directory / "ca.crt")
    request = urllib.request.Request(f"https://{server}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=30, context=trust) as answer:
        return json.load(answer)


def is_ready(deployment: dict[str, Any]) -> bool:
    """Whether its condition Ready is True."""
    conditions = deployment.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


main(Path(sys.argv[1]), sys.argv[2:])
