"""What `make prove` reads from the log of a gateway's process."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.prove.gateways import Life

AUDIT = b'{"event":"request","request_id":"1"}\n'
ERROR = b'{"event":"Fatal error","level":"error"}\n'


@pytest.mark.parametrize(
    ("log", "killed", "bugs"),
    [
        (AUDIT, None, 0),
        (AUDIT + ERROR, None, 1),
        (AUDIT + b"Traceback\n", 1.0, 1),
        (AUDIT + b'{"event":"requ', 1.0, 0),
        (AUDIT + b'{"event":"requ', None, 1),
    ],
    ids=["whole", "an error", "no JSON", "cut by kill -9", "cut by nobody"],
)
def test_a_line_is_a_bug_unless_it_is_told_in_peace_or_was_cut_by_a_kill(
    tmp_path: Path, log: bytes, killed: float | None, bugs: int
):
    (tmp_path / "log").write_bytes(log)
    lines, found = Life("gateway-0", tmp_path / "log", killed).read()
    assert ([line["request_id"] for line in lines], len(found)) == (["1"], bugs)
