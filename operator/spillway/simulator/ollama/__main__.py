"""`python -m spillway.simulator.ollama <command>`: `serve`, and the client's commands that scripts and probes use.

Ollama's own environment holds (OLLAMA_HOST, OLLAMA_MODELS, OLLAMA_NUM_PARALLEL, OLLAMA_CONTEXT_LENGTH), and beside it
SPILLWAY_SIMULATED_HOST, the address of the container, and SPILLWAY_SIMULATED_LOAD_SECONDS, how long a model loads.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import NoReturn


def _url(path: str) -> str:
    host, _, port = os.environ.get("OLLAMA_HOST", "127.0.0.1:11434").rpartition(":")
    host = os.environ.get("SPILLWAY_SIMULATED_HOST") or ("127.0.0.1" if host in {"", "0.0.0.0"} else host)
    return f"http://{host}:{port}{path}"


def _fail(message: object) -> NoReturn:
    sys.exit(f"Error: {message}")


def _call(path: str, body: object = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(_url(path), data, {"Content-Type": "application/json"})  # noqa: S310 - our own URL
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310 - the same
            text: str = response.read().decode()
            return text
    except urllib.error.HTTPError as error:
        _fail(json.loads(error.read() or b"{}").get("error", error.reason))
    except OSError as error:
        _fail(f"could not connect to ollama server, run 'ollama serve' to start it: {error}")


def _create(name: str, modelfile: str) -> None:
    path = Path(modelfile).read_text(encoding="utf-8").split(maxsplit=1)[1].strip()
    if not Path(path).is_file():
        _fail(f"open {path}: no such file or directory")
    _call("/api/create", {"model": name, "files": {Path(path).name: "sha256:simulated"}, "stream": False})


def main() -> None:
    """Run one command; exit code 1 with a line on standard error where Ollama has one."""
    match sys.argv[1:]:
        case ["serve"]:
            from spillway.simulator.ollama.start import serve  # here: a probe is to start quickly

            serve(os.environ)
        case ["list"]:
            sys.stdout.write(_call("/api/tags"))
        case ["show", name]:
            sys.stdout.write(_call("/api/show", {"model": name}))
        case ["pull", name]:
            sys.stdout.write(_call("/api/pull", {"model": name, "stream": False}))
        case ["cp", source, destination]:
            _call("/api/copy", {"source": source, "destination": destination})
        case ["create", name, "-f", modelfile]:
            _create(name, modelfile)
        case ["run", name, ""]:
            _call("/api/generate", {"model": name, "stream": False})
        case words:
            _fail(f"unknown command {' '.join(words)!r} for the simulated ollama")


if __name__ == "__main__":
    main()
