"""What is outside in a story: a cloud that records and bills, and a model hub; pods of a namespace of their own."""

from __future__ import annotations

import json
from functools import cache

from e2e import cluster, release
from e2e.cluster import Object
from e2e.stories.pods import RESTRICTED, pod

MODEL = "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"
CLOUD_KEY = "sk-recorded"
CLOUD_NAMESPACE = "recording"


def open_all(gpus: int = 8) -> None:
    """A node that says that it has GPUs, a cloud that records, and a model hub."""
    node = cluster.kubectl("get", "nodes", "-o", "name").strip()
    offered = f'{{"status":{{"capacity":{{"nvidia.com/gpu":"{gpus}"}}}}}}'  # as a device plugin would
    cluster.kubectl("patch", node, "--subresource=status", "--type=merge", "-p", offered)
    open_cloud()
    open_hub()


def open_hub() -> None:
    """Bring up a model hub beside the cloud, with the repository of the samples."""
    where = f"host='0.0.0.0', port={release.HUB_PORT}, files_host='files.{CLOUD_NAMESPACE}'"
    script = (
        "import asyncio; from spillway.simulator.hub import Hub; "
        "from spillway.simulator.demo.repository import repositories\n"
        "async def main():\n"
        f"  async with Hub(repositories('{MODEL}'), {where}):\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    hub = pod("hub", ["python", "-c", script])
    hub["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": release.HUB_PORT}, "periodSeconds": 1}
    cluster.apply(
        hub,
        _service("hub", "hub", release.HUB_PORT),
        _service("files", "hub", release.HUB_PORT),  # the host that large files come from
        namespace=CLOUD_NAMESPACE,
    )
    cluster.kubectl("wait", "-n", CLOUD_NAMESPACE, "--for=condition=Ready", "pod/hub", "--timeout=60s")


def open_cloud() -> None:
    """Bring up the recording cloud, in a namespace of its own."""
    labels = {"name": CLOUD_NAMESPACE, "labels": RESTRICTED}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": labels})
    command = ["python", "-m", "spillway.simulator.cloud", "--host", "0.0.0.0", "--port", str(release.CLOUD_PORT)]
    command += ["--name", release.CLOUD_HOST, "--directory", "/data", "--price", "gpt-4o=2.50,10.00"]
    cloud = pod("cloud", command, {"/data": {"emptyDir": {}}})
    container = cloud["spec"]["containers"][0]
    container["env"] = [{"name": "SPILLWAY_SIMULATED_API_KEY", "value": CLOUD_KEY}]
    container["readinessProbe"] = {"tcpSocket": {"port": release.CLOUD_PORT}, "periodSeconds": 1}
    cluster.apply(cloud, _service("cloud", "cloud", release.CLOUD_PORT), namespace=CLOUD_NAMESPACE)
    cluster.kubectl("wait", "-n", CLOUD_NAMESPACE, "--for=condition=Ready", "pod/cloud", "--timeout=60s")


def in_cloud(script: str) -> str:
    """What a script prints that is run beside the cloud's files, which are in /data."""
    return cluster.kubectl("exec", "-n", CLOUD_NAMESPACE, "cloud", "--", "python", "-c", script)


@cache
def cloud_ca() -> str:
    """The certificate that the recording cloud is trusted by."""
    return in_cloud("print(open('/data/ca.crt').read())")


def cloud_holds(marker: str) -> bool:
    """Whether these bytes were ever sent to the cloud."""
    script = "from pathlib import Path; from spillway.simulator.cloud.recorder import contains; "
    return in_cloud(script + f"print(contains(Path('/data'), {marker.encode()!r}))").strip() == "True"


def cloud_bill_micros() -> int:
    """What the cloud has billed so far, in micro-dollars."""
    return int(json.loads(in_cloud("print(open('/data/bill.json').read())"))["micros"])


def _service(name: str, app: str, port: int) -> Object:
    spec = {"selector": {"app": app}, "ports": [{"port": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
