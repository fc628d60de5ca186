"""The simulated store: a file for each model, where Ollama keeps manifests."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote

_LIBRARY = "registry.ollama.ai/library/"


class Store:
    """The models of one directory, by name; without a tag that is `latest`, and letters' case does not matter."""

    def __init__(self, directory: Path) -> None:
        self._manifests = directory / "manifests"

    def names(self) -> list[str]:
        """All names, as `/api/tags` lists them."""
        return sorted(unquote(path.name) for path in self._manifests.glob("*"))

    def has(self, name: str) -> bool:
        """Whether there is a model of this name."""
        return self._path(name).is_file()

    def add(self, name: str, origin: str) -> None:
        """Put a model in. Raises OSError where the directory cannot be written."""
        self._manifests.mkdir(parents=True, exist_ok=True)
        self._path(name).write_text(origin, encoding="utf-8")

    def copy(self, source: str, destination: str) -> None:
        """Give a model another name. Raises OSError when there is none."""
        self.add(destination, self._path(source).read_text(encoding="utf-8"))

    def _path(self, name: str) -> Path:
        whole = name.lower().removeprefix(_LIBRARY)
        tagged = whole if ":" in whole.rsplit("/", 1)[-1] else f"{whole}:latest"
        return self._manifests / quote(tagged, safe="")
