"""A pod's object -> what to run, in which order and how to look after it; pure.

Field names and defaults are those of the Pod API, v1
(https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from spillway.simulator.kubeapi import Object

_DEFAULT_GRACE_SECONDS = 30.0


class UnsupportedError(ValueError):
    """The pod asks for something that the simulated node does not do; the message names it."""


@dataclass(frozen=True, slots=True)
class HttpGet:
    """Success is a status from 200 to 399."""

    port: int
    path: str = "/"
    scheme: str = "HTTP"
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """Success is a connection."""

    port: int
    host: str = ""


@dataclass(frozen=True, slots=True)
class Exec:
    """Success is exit code 0."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sleep:
    """Only as a hook: wait."""

    seconds: float


Action = HttpGet | TcpSocket | Exec | Sleep


@dataclass(frozen=True, slots=True)
class Probe:
    """What to try, how often, and how many results in a row change the verdict."""

    action: Action
    initial_delay_seconds: float = 0
    period_seconds: float = 10
    timeout_seconds: float = 1
    success_threshold: int = 1
    failure_threshold: int = 3


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume, or a path in it, at a path of the container."""

    volume: str
    path: str
    sub_path: str = ""


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """One container; `env` and `env_from` are kept as objects, since they are resolved at each start."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[Object, ...] = ()
    env_from: tuple[Object, ...] = ()
    mounts: tuple[Mount, ...] = ()
    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    pre_stop: Action | None = None
    message_path: str = "/dev/termination-log"
    message_from_logs: bool = False
    memory_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PodPlan:
    """What the node does for one pod."""

    namespace: str
    name: str
    uid: str
    restart_policy: str = "Always"
    grace_seconds: float = _DEFAULT_GRACE_SECONDS
    service_account: str = "default"
    init: tuple[ContainerPlan, ...] = ()
    containers: tuple[ContainerPlan, ...] = ()
    volumes: Mapping[str, Object] = field(default_factory=dict)

    @property
    def init_restart_policy(self) -> str:
        """An init container that succeeded is never run again."""
        return "Never" if self.restart_policy == "Never" else "OnFailure"


def parse(pod: Object) -> PodPlan:
    """What to run for a pod.

    Raises:
        UnsupportedError: the pod asks for what the node does not do.
    """
    meta, spec = pod["metadata"], pod["spec"]
    init = spec.get("initContainers") or []
    if any(container.get("restartPolicy") for container in init):
        raise UnsupportedError("initContainers[].restartPolicy (sidecars)")
    return PodPlan(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        restart_policy=spec.get("restartPolicy", "Always"),
        grace_seconds=float(spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE_SECONDS)),
        service_account=spec.get("serviceAccountName", "default"),
        init=tuple(_container(container) for container in init),
        containers=tuple(_container(container) for container in spec["containers"]),
        volumes={volume["name"]: volume for volume in spec.get("volumes") or []},
    )


def wants_restart(policy: str, exit_code: int) -> bool:
    """Whether a container that ended is started again."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def back_off_seconds(failures: int, first: float, maximum: float) -> float:
    """How long to wait before start number `failures` + 1: nothing, then `first`, doubled each time up to `maximum`.

    The kubelet's are 10 s and 300 s
    (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy).
    """
    return 0.0 if failures <= 1 else min(first * 2.0 ** min(failures - 2, 30), maximum)


def _container(container: Object) -> ContainerPlan:
    ports = {port["name"]: int(port["containerPort"]) for port in container.get("ports") or [] if port.get("name")}
    hooks = container.get("lifecycle") or {}
    if "postStart" in hooks:
        raise UnsupportedError("lifecycle.postStart")
    return ContainerPlan(
        name=container["name"],
        image=container["image"],
        command=tuple(container.get("command") or ()),
        args=tuple(container.get("args") or ()),
        working_dir=container.get("workingDir", ""),
        env=tuple(container.get("env") or ()),
        env_from=tuple(container.get("envFrom") or ()),
        mounts=tuple(_mount(mount) for mount in container.get("volumeMounts") or ()),
        startup=_probe(container.get("startupProbe"), ports),
        readiness=_probe(container.get("readinessProbe"), ports),
        liveness=_probe(container.get("livenessProbe"), ports),
        pre_stop=_action(hooks["preStop"], ports) if hooks.get("preStop") else None,
        message_path=container.get("terminationMessagePath") or "/dev/termination-log",
        message_from_logs=container.get("terminationMessagePolicy") == "FallbackToLogsOnError",
        memory_limit_bytes=_bytes((container.get("resources") or {}).get("limits", {}).get("memory")),
    )


def _bytes(quantity: str | None) -> int | None:
    """Of a quantity (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/), for memory."""
    if quantity is None:
        return None
    number, suffix = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", quantity).groups()  # type: ignore[union-attr] # the API server has checked it
    powers = {"": 1, **{unit: 1000 ** (at + 1) for at, unit in enumerate("kMGT")}}
    powers |= {f"{unit}i": 1024 ** (at + 1) for at, unit in enumerate("KMGT")}
    if suffix not in powers:
        raise UnsupportedError(f"resources.limits.memory: {quantity}")
    return int(float(number) * powers[suffix])


def _mount(mount: Object) -> Mount:
    if mount.get("subPathExpr"):
        raise UnsupportedError("volumeMounts[].subPathExpr")
    return Mount(mount["name"], mount["mountPath"].rstrip("/") or "/", mount.get("subPath", ""))


def _probe(probe: Object | None, ports: Mapping[str, int]) -> Probe | None:
    if not probe:
        return None
    return Probe(
        action=_action(probe, ports),
        initial_delay_seconds=float(probe.get("initialDelaySeconds") or 0),
        period_seconds=float(probe.get("periodSeconds") or 10),
        timeout_seconds=float(probe.get("timeoutSeconds") or 1),
        success_threshold=int(probe.get("successThreshold") or 1),
        failure_threshold=int(probe.get("failureThreshold") or 3),
    )


def _action(handler: Object, ports: Mapping[str, int]) -> Action:
    if http := handler.get("httpGet"):
        headers = tuple((header["name"], header["value"]) for header in http.get("httpHeaders") or ())
        port = _port(http["port"], ports)
        path = "/" + (http.get("path") or "").removeprefix("/")
        return HttpGet(port, path, http.get("scheme") or "HTTP", http.get("host", ""), headers)
    if tcp := handler.get("tcpSocket"):
        return TcpSocket(_port(tcp["port"], ports), tcp.get("host", ""))
    if run := handler.get("exec"):
        return Exec(tuple(run.get("command") or ()))
    if sleep := handler.get("sleep"):
        return Sleep(float(sleep["seconds"]))
    kinds = sorted(name for name, value in handler.items() if isinstance(value, dict))
    raise UnsupportedError(f"a probe or hook of the kind {', '.join(kinds) or 'none'}")


def _port(port: int | str, ports: Mapping[str, int]) -> int:
    if isinstance(port, int):
        return port
    if port.isdigit():
        return int(port)
    if port not in ports:
        raise UnsupportedError(f"a probe or hook on the port {port!r}, which the container does not name")
    return ports[port]
