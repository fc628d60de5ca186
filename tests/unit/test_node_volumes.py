from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from spillway.simulator.node.environment import NotYetError
from spillway.simulator.node.plan import UnsupportedError
from spillway.simulator.node.projection import Sources, TokenRequest, files, is_projection, references, token_requests
from spillway.simulator.node.volumes import write

POD = {"metadata": {"namespace": "n", "name": "p", "uid": "u", "labels": {"a": "1"}}, "spec": {}}
OBJECTS = {
    ("Secret", "s"): {"kind": "Secret", "data": {"k": base64.b64encode(b"\x00secret").decode(), "l": ""}},
    ("ConfigMap", "c"): {
        "kind": "ConfigMap",
        "data": {"x": "1"},
        "binaryData": {"b": base64.b64encode(b"\xff").decode()},
    },
}
SOURCES = Sources(
    POD, lambda kind, name: OBJECTS.get((kind, name)), lambda wanted: f"token for {wanted.audience or 'api'}"
)


@pytest.mark.parametrize(
    ("volume", "content"),
    [
        ({"secret": {"secretName": "s"}}, {"k": b"\x00secret", "l": b""}),
        ({"secret": {"secretName": "s", "items": [{"key": "k", "path": "d/f"}]}}, {"d/f": b"\x00secret"}),
        ({"secret": {"secretName": "none", "optional": True}}, {}),
        ({"configMap": {"name": "c"}}, {"x": b"1", "b": b"\xff"}),
        ({"configMap": {"name": "c", "items": [{"key": "no", "path": "f"}], "optional": True}}, {}),
        ({"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.labels['a']"}}]}}, {"a": b"1"}),
        (
            {
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token", "audience": "vault"}},
                        {"secret": {"name": "s", "items": [{"key": "k", "path": "s/k"}], "optional": True}},
                        {"configMap": {"name": "none", "optional": True}},
                    ]
                }
            },
            {"token": b"token for vault", "s/k": b"\x00secret"},
        ),
        ({"projected": {"sources": []}}, {}),
    ],
)
def test_a_volume_holds_what_its_sources_say(volume: dict[str, Any], content: dict[str, bytes]) -> None:
    assert is_projection(volume)
    assert files(volume, SOURCES) == content


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        (
            {"configMap": {"name": "c", "items": [{"key": "no", "path": "f"}]}},
            "references non-existent configmap key: no",
        ),
    ],
)
def test_what_is_missing_is_waited_for(volume: dict[str, Any], message: str) -> None:
    with pytest.raises(NotYetError, match=message):
        files(volume, SOURCES)


def test_a_source_that_the_node_does_not_do_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="clusterTrustBundle"):
        files({"projected": {"sources": [{"clusterTrustBundle": {"path": "x"}}]}}, SOURCES)


def test_all_objects_and_tokens_are_named_before_anything_is_read() -> None:
    volumes = [
        {"secret": {"secretName": "s"}},
        {"projected": {"sources": [{"configMap": {"name": "c"}}, {"serviceAccountToken": {"path": "t"}}]}},
        {"emptyDir": {}},
    ]
    assert references(volumes) == {("Secret", "s"), ("ConfigMap", "c")}
    assert token_requests(volumes) == {TokenRequest("", 3600)}


def test_files_are_exchanged_all_at_once(tmp_path: Path) -> None:
    write(tmp_path, {"a": b"1", "d/b": b"2"})
    data = tmp_path / "..data"
    first = data.readlink()
    write(tmp_path, {"a": b"1", "d/b": b"2"})
    assert data.readlink() == first  # nothing changed, nothing is touched
    before = (tmp_path / "a").stat().st_ino
    write(tmp_path, {"a": b"new", "c": b"3"})
    assert (tmp_path / "a").stat().st_ino != before
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("..")) == ["a", "c"]
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "c").read_bytes()) == (b"new", b"3")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()] == [
        data.readlink().name
    ]


def test_an_empty_volume_is_an_empty_directory(tmp_path: Path) -> None:
    write(tmp_path / "v", {})
    assert [path for path in (tmp_path / "v").iterdir() if not path.name.startswith("..")] == []


def test_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    write(tmp_path, {"a": b"1"})
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
