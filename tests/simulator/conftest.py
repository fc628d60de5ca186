from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.processes import EngineProcess, StartEngine, engines


@pytest.fixture
def start_engine(tmp_path: Path) -> Iterator[StartEngine]:
    """Start an engine with these flags and environment; it ends with the test."""
    with engines(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """One engine for the tests that leave it as they found it."""
    with engines(tmp_path_factory.mktemp("engine")) as start:
        yield start("--served-model-name", "chat", "chat-alias", "--max-model-len", "2048")
