"""Ollama's program, built from the Go module that ollama/go.mod pins."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from e2e import programs
from e2e.offline import debian
from e2e.shell import CACHE, run, say
from spillway.errors import SetupError

VERSION = "0.17.4"
MODULE = "github.com/ollama/ollama"
MODULES = Path(__file__).parent / "ollama"

# Go leaves folders called "vendor" out of a module, and llama.cpp keeps three headers in one: two are packages of
# Debian's, the third comes with a Go module that wraps it.
_HEADERS = ("nlohmann-json3-dev", "libstb-dev")
_MINIAUDIO = "github.com/gen2brain/malgo"
_BUILD_SECONDS = 3600.0

_NEEDS = ("g++", "apt-get", "dpkg-deb")
NOT_HERE = f"a real Ollama is built once, which needs {', '.join(_NEEDS)}"


def can_be_had() -> bool:
    """Whether it is built, or can be."""
    return _program().exists() or all(map(shutil.which, _NEEDS))


def build() -> Path:
    """The program, without the libraries that make it fast: a model of 2 MB needs none.

    Raises:
        SetupError: there is no Go, or no C++ compiler, or this is no Debian.
        CommandFailed: it cannot be built.
    """
    program = _program()
    if program.exists():
        return program
    if not can_be_had():
        raise SetupError(NOT_HERE)
    folder = program.parent
    go = programs.go()
    say(f"building Ollama {VERSION}, once")
    headers = folder / "headers"
    debian.unpack(None, _HEADERS, headers)
    environment = {"CGO_ENABLED": "1", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    run(go, "mod", "download", _MINIAUDIO, cwd=MODULES, env=environment)
    source = Path(run(go, "list", "-m", "-f", "{{.Dir}}", _MINIAUDIO, cwd=MODULES, env=environment).strip())
    include = headers / "usr" / "include"
    (include / "miniaudio").mkdir(exist_ok=True)
    shutil.copy(source / "miniaudio.h", include / "miniaudio")
    part = folder / f".ollama.{os.getpid()}"
    flags = ["-trimpath", "-ldflags", f"-s -w -X={MODULE}/version.Version={VERSION}"]
    environment["CGO_CPPFLAGS"] = f"-I{include}"
    run(go, "build", *flags, "-o", part, MODULE, cwd=MODULES, env=environment, timeout_seconds=_BUILD_SECONDS)
    part.replace(program)
    return program


def _program() -> Path:
    digest = hashlib.sha256((MODULES / "go.sum").read_bytes()).hexdigest()[:12]
    return CACHE / f"ollama-{VERSION}-{digest}" / "ollama"
