"""The layout that everything else rests on."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "operator" / "spillway").rglob("*.py"))
CLUSTER_SOURCES = sorted((ROOT / "e2e").rglob("*.py"))


def test_the_folder_operator_never_becomes_a_package() -> None:
    # It would shadow the standard library's module of that name, and nothing would import any more.
    assert not (ROOT / "operator" / "__init__.py").exists()


@pytest.mark.parametrize("path", [*SOURCES, *CLUSTER_SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_one_file_holds_one_thing(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 350
    long = [
        node.name
        for node in ast.walk(ast.parse("\n".join(lines)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno > 70
    ]
    assert not long, "functions of over 70 lines"


@pytest.mark.parametrize("module", ["kopf", "kubernetes", "jinja2"])
def test_a_library_of_the_edge_is_imported_only_at_its_edge(module: str) -> None:
    allowed = {
        "kopf": {"controller/handlers.py", "controller/kopf_storage.py", "controller/start.py"},
        "kubernetes": {"controller/cluster.py", "gateway/kube.py", "gateway/ledger_store.py"},
        "jinja2": {"render/template.py"},
    }[module]
    importers = {str(path.relative_to(ROOT / "operator" / "spillway")) for path in SOURCES if _imports(path, module)}
    assert importers
    assert importers <= allowed


def _imports(path: Path, module: str) -> bool:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == module for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").partition(".")[0] == module:
            return True
    return False
