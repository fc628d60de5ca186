"""What keeps containers from running on this machine, found out before anything is started.

Only what is sure to be in the way is named. Where nothing is, and a cluster does not come up all the same, that is a
failure.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from e2e import docker
from e2e.offline import debian
from e2e.shell import CACHE, attempt

_CGROUPS = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "cpuset", "devices", "memory", "pids")
_KERNEL_LOG = Path("/dev/kmsg")
_NEW_BRIDGE = 0x89A0  # SIOCBRADDBR
# What Docker's bridge, kube-proxy and a node's own network take of iptables.
_RULES = (
    ("nat", "POSTROUTING", "-s 10.0.0.0/8 -j MASQUERADE"),
    ("nat", "PREROUTING", "-p tcp --dport 80 -j DNAT --to-destination 10.0.0.1:80"),
    ("nat", "PREROUTING", "-m addrtype --dst-type LOCAL -j ACCEPT"),
    ("nat", "PREROUTING", "-m statistic --mode random --probability 0.5 -j ACCEPT"),
    ("filter", "FORWARD", "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
    ("filter", "FORWARD", "-m mark --mark 0x4000/0x4000 -m comment --comment probe -j ACCEPT"),
)


def obstacle() -> str | None:
    """Why no cluster can run here, in one line; None where nothing is known to be in the way.

    Nothing of the machine is changed. Where Docker has to be started for the cluster, its packages are unpacked first:
    its iptables is asked what the kernel can do.

    Raises:
        CommandFailed: the packages cannot be had.
    """
    answers = docker.answers()
    if answers and docker.registry_answers():
        return None
    needs = _NODE_NEEDS if answers else (*_NODE_NEEDS, *_DOCKER_NEEDS)
    return next((told for told in (ask() for ask in needs) if told), None)


def _not_root() -> str | None:
    if os.geteuid() == 0:
        return None
    if docker.answers():
        return "Docker answers, no image registry does, and only root can make a node's image"
    return "no Docker answers this user, and only root can start one"


def _not_debian() -> str | None:
    missing = [program for program in ("apt-get", "dpkg-deb", "unshare") if shutil.which(program) is None]
    if not Path(debian.KEYRING).exists():
        missing.append(debian.KEYRING)
    if missing:
        return f"what is missing is unpacked from Debian's packages, and this machine has no {' and no '.join(missing)}"
    if debian.mirror() is None:
        return "apt uses no mirror of Debian here, and SPILLWAY_DEBIAN_MIRROR names none"
    return None


def _no_namespaces() -> str | None:
    return _refused("no namespaces may be made", ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork"], ["true"])


def _no_cgroups() -> str | None:
    unified = (_CGROUPS / "cgroup.controllers").exists()
    for parent in [_CGROUPS] if unified else [_CGROUPS / controller for controller in _CONTROLLERS]:
        probe = parent / f"spillway-probe-{os.getpid()}"
        try:
            probe.mkdir()
            probe.rmdir()
        except OSError as error:
            return f"no cgroup can be made: {error}"
    return None


def _no_kernel_log() -> str | None:
    try:
        os.close(os.open(_KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        return f"a kubelet needs the kernel's log: {error}"
    return None


def _no_overlay() -> str | None:
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="probe-") as folder:
        lower, upper, work, merged = (Path(folder) / name for name in ("lower", "upper", "work", "merged"))
        for place in (lower, upper, work, merged):
            place.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        mount: list[str | Path] = ["mount", "-t", "overlay", "overlay", "-o", options, merged]
        return _refused(f"{CACHE} takes no overlay file system", ["--mount"], mount)


def _no_bridge() -> str | None:
    script = f"import fcntl, socket; fcntl.ioctl(socket.socket(), {_NEW_BRIDGE}, b'probe\\0')"
    return _refused("no network bridge can be made", ["--net"], [sys.executable, "-c", script])


def _no_firewall() -> str | None:
    docker.fetch()
    for table, chain, rule in _RULES:
        append = ["iptables", "-t", table, "-A", chain, *rule.split()]
        if told := _refused(f"the kernel does not take the rule `{rule}`", ["--net"], append):
            return told
    return None


def _refused(what: str, namespaces: Sequence[str], argv: Sequence[str | Path]) -> str | None:
    """`what`, and the last words of a program that fails in namespaces of its own; None where it does not fail."""
    tried = attempt("unshare", *namespaces, *argv, env=docker.environment())
    if tried.returncode == 0:
        return None
    words = (tried.stderr or tried.stdout).strip().splitlines() or [f"exit code {tried.returncode}"]
    return f"{what}: {words[-1]}"


_Ask = Callable[[], str | None]
_NODE_NEEDS: tuple[_Ask, ...] = (_not_root, _not_debian)
_DOCKER_NEEDS: tuple[_Ask, ...] = (_no_namespaces, _no_cgroups, _no_kernel_log, _no_overlay, _no_bridge, _no_firewall)
