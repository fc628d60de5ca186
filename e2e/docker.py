"""Docker, the machine's own or one that is started for the cluster and stopped after it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

from e2e.offline import debian
from e2e.offline.versions import DOCKER_SUITE
from e2e.shell import CACHE, CommandFailed, attempt, run, say
from spillway.errors import SetupError

REGISTRY = "https://registry-1.docker.io/v2/"
OWN = CACHE / "docker"
_TOOLS = CACHE / "tools"
_SOCKET = CACHE / "docker.sock"
_PID = CACHE / "docker.pid"
_FIREWALL = CACHE / "iptables.before"
_STATE = Path("/run/spillway-docker")
_START_SECONDS = 60.0
_IPTABLES = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")
# iptables is linked to them; it is not installed, so they are beside it.
_LIBRARIES = (
    "libip4tc2",
    "libip6tc2",
    "libxtables12",
    "libnftnl11",
    "libmnl0",
    "libnfnetlink0",
    "libnetfilter-conntrack3",
)


@cache
def registry_answers() -> bool:
    """Whether the registry with the images of kind and Python answers itself, not something on the way to it."""
    try:
        with urllib.request.urlopen(REGISTRY, timeout=5) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as refused:
        headers = refused.headers  # 401: it wants a token for everything
    except (OSError, ValueError):
        return False
    return headers.get("Docker-Distribution-Api-Version") is not None


def docker(*arguments: str | Path, stdin: str | None = None) -> str:
    """What the Docker client prints.

    Raises:
        CommandFailed: it failed.
    """
    # Where a Docker has no BuildKit of its own, its client looks for a plugin and fails without: the old builder does.
    return run(_client(), *arguments, stdin=stdin, env={"DOCKER_BUILDKIT": "1" if _has_buildkit() else "0"})


def has_image(name: str) -> bool:
    """Whether Docker holds an image."""
    return attempt(_client(), "image", "inspect", name).returncode == 0


def image_id(name: str) -> str:
    """The digest of an image that Docker holds."""
    return docker("image", "inspect", "--format", "{{.Id}}", name).strip()


def find() -> None:
    """Use the Docker that `start` started, if it did and did not stop it yet."""
    if _PID.exists():
        os.environ["DOCKER_HOST"] = f"unix://{_SOCKET}"
        os.environ["PATH"] = environment()["PATH"]


def answers() -> bool:
    """Whether a Docker answers this user."""
    return attempt(_client(), "info").returncode == 0


def environment() -> dict[str, str]:
    """Where programs find each other: ours behind the machine's own, each with its libraries."""
    libraries = [str(path) for path in sorted(_TOOLS.glob("usr/lib/*-linux-gnu"))]
    ours = [f"{OWN}/usr/bin", f"{OWN}/usr/sbin", f"{_TOOLS}/usr/sbin", "/usr/sbin", "/sbin"]
    path = os.environ["PATH"].split(":")
    found = {"PATH": ":".join([*path, *(folder for folder in ours if folder not in path)])}
    if libraries:
        found["LD_LIBRARY_PATH"] = ":".join(libraries)
        found["XTABLES_LIBDIR"] = f"{libraries[0]}/xtables"
    return found


def start() -> None:
    """Make sure that Docker answers: start one of our own where none does.

    Raises:
        SetupError: it does not start.
    """
    find()
    if not answers():
        start_own()


def fetch() -> None:
    """Unpack Docker from Debian's packages, and of what it needs what this machine lacks. Nothing is installed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if not (OWN / "usr/sbin/dockerd").exists():
        say("unpacking Docker from Debian's packages")
        debian.unpack(DOCKER_SUITE, ("docker.io", "docker-cli", "containerd"), OWN)
    if _found("iptables") is None or _found("runc") is None:
        debian.unpack(None, ("iptables", "runc", *_LIBRARIES, "libseccomp2"), _TOOLS)
        # Debian makes these names when the package is installed; what runs under them goes by its own name.
        for name in _IPTABLES:
            (_TOOLS / "usr/sbin" / name).symlink_to("xtables-nft-multi")


def start_own() -> None:
    """Start a Docker of our own, with a socket of its own and without the bridge that every Docker makes first.

    Raises:
        SetupError: it does not start.
    """
    fetch()
    say("starting Docker")
    _FIREWALL.write_text(attempt("iptables-save", env=environment()).stdout)
    places = ["--host", f"unix://{_SOCKET}", "--pidfile", str(_PID), "--data-root", str(CACHE / "docker-data")]
    with (CACHE / "dockerd.log").open("ab") as log:
        process = subprocess.Popen(
            [OWN / "usr/sbin/dockerd", *places, "--exec-root", _STATE, "--bridge", "none"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment()},
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    while True:
        find()
        if _PID.exists() and answers():
            return
        if process.poll() is not None or time.monotonic() > deadline:
            tail = (CACHE / "dockerd.log").read_text(errors="replace")[-2000:]
            stop()
            raise SetupError(f"Docker did not start:\n{tail}")
        time.sleep(0.5)


def stop() -> None:
    """End the Docker that `start` started, if it did, and leave the machine's network as it was before."""
    if not _PID.exists():
        return
    say("stopping the Docker that was started for this")
    attempt(_client(), "network", "rm", "kind")
    _end(int(_PID.read_text()))
    if _FIREWALL.exists():
        attempt("iptables-restore", stdin=_FIREWALL.read_text(), env=environment())
        _FIREWALL.unlink()
    for left in (_PID, _SOCKET):
        left.unlink(missing_ok=True)
    shutil.rmtree(_STATE, ignore_errors=True)


def _end(pid: int) -> None:
    deadline = time.monotonic() + 30
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # where it is our own child
            os.kill(pid, 0)
            time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)


def _found(program: str) -> str | None:
    return shutil.which(program, path=environment()["PATH"])


def _client() -> str:
    found = _found("docker")
    return found or "docker"


@cache
def _has_buildkit() -> bool:
    try:
        return attempt(_client(), "buildx", "version").returncode == 0
    except (CommandFailed, OSError):
        return False
