"""Programs run from here: what they print is returned, and shown when they fail."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = Path.home() / ".cache" / "spillway" / "kind"
"""Everything that is built or downloaded for clusters."""

_BEGUN = time.monotonic()


class CommandFailed(Exception):
    """A program ended with another code than 0; the message is the end of what it printed."""


def say(text: str) -> None:
    """Tell whoever waits what is done, with the seconds since the start."""
    sys.stderr.write(f"[{time.monotonic() - _BEGUN:5.0f} s] {text}\n")
    sys.stderr.flush()


def run(
    *argv: str | Path,
    stdin: str | bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_seconds: float = 1800.0,
) -> str:
    """What the program prints on standard output; `env` is added to our environment.

    Raises:
        CommandFailed: it ended with another code than 0, or not in time.
    """
    done = attempt(*argv, stdin=stdin, env=env, cwd=cwd, timeout_seconds=timeout_seconds)
    if done.returncode != 0:
        told = (done.stdout[-1000:] + done.stderr[-3000:]).strip()
        raise CommandFailed(f"{_shown(argv)}: exit code {done.returncode}\n{told}")
    return done.stdout


def attempt(
    *argv: str | Path,
    stdin: str | bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_seconds: float = 1800.0,
) -> subprocess.CompletedProcess[str]:
    """Like `run`, for who looks at the exit code; 127 where there is no such program.

    Raises:
        CommandFailed: it did not end in time.
    """
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=timeout_seconds,
            check=False,
        )
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(argv, 127, "", str(error))
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{_shown(argv)}: not done after {timeout_seconds:.0f} s") from error
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


def _shown(argv: Sequence[str | Path]) -> str:
    return " ".join(str(word) for word in argv)[:200]
