"""The simulated store: for each model a manifest that names a blob, which may be a link, as in Ollama's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import quote, unquote

_LIBRARY = "registry.ollama.ai/library/"


class Store:
    """The models of one directory, by name; without a tag that is `latest`, and letters' case does not matter."""

    def __init__(self, directory: Path) -> None:
        self._manifests = directory / "manifests"
        self._blobs = directory / "blobs"

    def names(self) -> list[str]:
        """All names, as `/api/tags` lists them."""
        return sorted(unquote(path.name) for path in self._manifests.glob("*"))

    def has(self, name: str) -> bool:
        """Whether there is a model of this name, and its weights."""
        path = self._path(name)
        return path.is_file() and (self._blobs / path.read_text(encoding="utf-8")).is_file()

    def add(self, name: str, origin: str) -> None:
        """Put a model in. Raises OSError where the directory cannot be written."""
        blob = f"sha256-{hashlib.sha256(f'{origin} {name}'.encode()).hexdigest()}"
        self._blobs.mkdir(parents=True, exist_ok=True)
        (self._blobs / blob).write_text("no weights: simulated\n", encoding="utf-8")
        self._name(name, blob)

    def copy(self, source: str, destination: str) -> None:
        """Give a model another name. Raises OSError when there is none."""
        self._name(destination, self._path(source).read_text(encoding="utf-8"))

    def _name(self, name: str, blob: str) -> None:
        self._manifests.mkdir(parents=True, exist_ok=True)
        self._path(name).write_text(blob, encoding="utf-8")

    def _path(self, name: str) -> Path:
        whole = name.lower().removeprefix(_LIBRARY)
        tagged = whole if ":" in whole.rsplit("/", 1)[-1] else f"{whole}:latest"
        return self._manifests / quote(tagged, safe="")
