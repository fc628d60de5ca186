"""Debian packages without installing any: unpacked beside each other, or bootstrapped into a root file system."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from e2e.shell import attempt, run, say
from spillway.errors import SetupError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def mirror() -> str | None:
    """The mirror of Debian that SPILLWAY_DEBIAN_MIRROR names, or this machine's apt uses; None where neither is."""
    told = attempt("apt-get", "indextargets", "--format", "$(REPO_URI)").stdout.split()
    apts = next((url for url in told if url.rstrip("/").endswith("/debian")), None)
    return os.environ.get("SPILLWAY_DEBIAN_MIRROR") or apts


def _mirror() -> str:
    if (found := mirror()) is None:
        raise SetupError("apt uses no mirror of Debian here: name one by SPILLWAY_DEBIAN_MIRROR")
    return found


def unpack(suite: str | None, packages: Sequence[str], into: Path) -> None:
    """Unpack packages below `into`: of one of Debian's suites, or of what this machine itself installs from.

    Nothing of the machine's own packages or lists is touched.

    Raises:
        SetupError: no mirror of Debian is known here.
        CommandFailed: the packages cannot be had.
    """
    work = into.with_name(f"{into.name}.apt")
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    options = {"Dir::State::lists": work / "lists", "Dir::Cache": work / "cache", "APT::Sandbox::User": "root"}
    if suite is not None:
        (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n")
        nothing = Path("/dev/null")
        options |= {
            "Dir::Etc::sourcelist": work / "sources.list",
            "Dir::Etc::sourceparts": nothing,
            "Dir::Etc::preferences": nothing,
            "Dir::Etc::preferencesparts": nothing,
        }
    apt = ["apt-get", "-qq", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    run(*apt, "update")
    run(*apt, "download", *packages, cwd=work)
    into.mkdir(parents=True, exist_ok=True)
    for package in sorted(work.glob("*.deb")):
        run("dpkg-deb", "-x", package, into)
    shutil.rmtree(work)


def bootstrap(suite: str, packages: Sequence[str], archive: Path) -> None:
    """Make a tar archive of a small root file system of a suite; does nothing where it is there.

    Raises:
        SetupError: no mirror of Debian is known here.
        CommandFailed: debootstrap failed.
    """
    if archive.exists():
        return
    say(f"debootstrap {suite}")
    root = archive.with_suffix(".root")
    shutil.rmtree(root, ignore_errors=True)
    program, env = _debootstrap(archive.parent)
    run(program, "--variant=minbase", f"--include={','.join(packages)}", suite, root, _mirror(), env=env)
    for waste in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / waste, ignore_errors=True)
        (root / waste).mkdir(parents=True)
    part = archive.with_suffix(".part")
    run("tar", "-C", root, "--numeric-owner", "-cf", part, ".")
    part.replace(archive)
    shutil.rmtree(root)


def _debootstrap(folder: Path) -> tuple[str, dict[str, str]]:
    """The machine's own debootstrap, or one that is unpacked: it is a shell script."""
    if found := shutil.which("debootstrap", path=os.environ["PATH"] + ":/usr/sbin"):
        return found, {}
    own = folder / "debootstrap"
    if not own.exists():
        unpack(None, ("debootstrap",), own)
    return str(own / "usr/sbin/debootstrap"), {"DEBOOTSTRAP_DIR": str(own / "usr/share/debootstrap")}
