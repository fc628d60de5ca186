"""Builds the images, by the same Dockerfiles with a registry or without: only what they rest on differs."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from e2e import docker
from e2e.images import ollama_program, tiny_model
from e2e.offline import debian
from e2e.offline.versions import BASE_PACKAGES, BASE_SUITE
from e2e.shell import CACHE, ROOT, run, say

SPILLWAY = "spillway.local/spillway:e2e"
UPGRADED = "spillway.local/spillway:e2e-upgraded"
"""The same under another name, as of a release that changes nothing but its version."""
ENGINE = "spillway.local/engine:e2e"
OLLAMA = "spillway.local/ollama:e2e"

_HERE = Path(__file__).parent
_STOCK_BASE = "python:3.13.11-slim-trixie"  # as in operator/Dockerfile
_TRUSTED = "etc/ssl/certs/ca-certificates.crt"
_LOCKS = (
    ROOT / "operator" / "requirements.lock",
    ROOT / "operator" / "build-requirements.lock",
    _HERE / "engine" / "requirements.lock",
)


def build_all(ollama: Callable[[], Path] = ollama_program.build) -> tuple[str, ...]:
    """Build every image; the names. `ollama` gives its program when that is needed, which is last.

    Where there can be no Ollama, its image is left out, and so are the stories that need it.

    Raises:
        SetupError, CommandFailed: one could not be built.
    """
    base, with_wheels = (_STOCK_BASE, _STOCK_BASE) if docker.registry_answers() else _local_bases()
    bases = ["--build-arg", f"PYTHON_IMAGE={base}", "--build-arg", f"BUILD_IMAGE={with_wheels}"]
    say("building the image of Spillway")
    docker.docker("build", "-q", *bases, "-f", ROOT / "operator" / "Dockerfile", "-t", SPILLWAY, ROOT)
    say("building the image of the simulators")
    on_spillway = [*bases, "--build-arg", f"SPILLWAY_IMAGE={SPILLWAY}"]
    docker.docker("build", "-q", *on_spillway, "-t", ENGINE, _HERE / "engine")
    docker.docker("tag", SPILLWAY, UPGRADED)
    built = (SPILLWAY, UPGRADED, ENGINE)
    if not ollama_program.can_be_had():
        say(f"no image of Ollama: {ollama_program.NOT_HERE}")
        return built
    say("building the image of Ollama")
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        shutil.copy(_HERE / "ollama" / "Dockerfile", context)
        shutil.copy(ollama(), context / "ollama")
        shutil.copy(tiny_model.make(), context / "tiny.gguf")
        docker.docker("build", "-q", "--build-arg", f"BASE_IMAGE={base}", "-t", OLLAMA, context)
    return (*built, OLLAMA)


def _local_bases() -> tuple[str, str]:
    """(what the images rest on, the same with every wheel that a build asks for in it)."""
    digest = hashlib.sha256(repr((BASE_SUITE, BASE_PACKAGES)).encode())
    base = f"spillway.local/base:{digest.hexdigest()[:12]}"
    for lock in _LOCKS:
        digest.update(lock.read_bytes())
    with_wheels = f"spillway.local/base-with-wheels:{digest.hexdigest()[:12]}"
    if docker.has_image(base) and docker.has_image(with_wheels):
        return base, with_wheels
    archive = CACHE / f"base-{base.rpartition(':')[2]}.tar"
    debian.bootstrap(BASE_SUITE, BASE_PACKAGES, archive)
    root = CACHE / "base.root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    run("tar", "-C", root, "--numeric-owner", "-xpf", archive)
    # As in Python's image, which it stands in for: there is a `python`, and pip may install beside Debian's packages.
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    _import(root, base)
    say("downloading the wheels of the images")
    _download_wheels(root)
    # Debian's own packages of Python have no record that pip could remove them by: it installs beside them.
    _import(root, with_wheels, "ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PIP_IGNORE_INSTALLED=1")
    shutil.rmtree(root)
    return base, with_wheels


def _download_wheels(root: Path) -> None:
    """Have the image's own pip download for its own Python: the machine's may be of another version."""
    (root / "wheels").mkdir()
    # It trusts and resolves as this machine does, which may be behind a proxy with an authority of its own.
    shutil.copy(os.environ.get("PIP_CERT") or f"/{_TRUSTED}", root / _TRUSTED)
    shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
    trusting = dict.fromkeys(("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), f"/{_TRUSTED}")
    for lock in _LOCKS:
        shutil.copy(lock, root / "wheels" / "wanted.lock")
        pip = ["/usr/bin/python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
        wanted = ["--require-hashes", "--only-binary=:all:", "-r", "/wheels/wanted.lock", "-d", "/wheels"]
        run("chroot", root, *pip, *wanted, env={**trusting, "PIP_FIND_LINKS": ""})
        (root / "wheels" / "wanted.lock").unlink()


def _import(root: Path, name: str, *changes: str) -> None:
    archive = CACHE / "import.tar"
    run("tar", "-C", root, "--numeric-owner", "--owner=0", "--group=0", "-cf", archive, ".")
    path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    options = [word for change in (path, *changes) for word in ("--change", change)]
    docker.docker("import", *options, archive, name)
    archive.unlink()
