"""The journal as bytes and as a file: what it says after a crash, and when it is not believed."""

from __future__ import annotations

import asyncio
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rig import FaultyStore, MemoryStore
from spillway.errors import JournalDamaged, LedgerUnreachable, SetupError
from spillway.gateway import journal_format
from spillway.gateway.entries import (
    Attempt,
    Confirmed,
    Disowned,
    Entry,
    OpenReservation,
    Rejected,
    Released,
    Sent,
    Settled,
    Taken,
    Whole,
)
from spillway.gateway.journal import FILE_NAME, REWRITE_ABOVE_BYTES, Journal
from spillway.gateway.ledger import Ledger

NOW = datetime(2026, 11, 21, 13, tzinfo=UTC)
ATTEMPT = Attempt(5000, 10, NOW + timedelta(microseconds=1))
ENTRIES: tuple[Entry, ...] = (
    Taken("r1:1", 900),
    Settled("r1:1", 400),
    Released("r2:1"),
    Sent(ATTEMPT),
    Rejected(ATTEMPT),
    Confirmed(ATTEMPT),
    Disowned(),
    Whole(5000, 10, NOW, (OpenReservation("r3:1", 7, counted=False),), (ATTEMPT,)),
    Whole(0, 0, None, (), ()),
)
HEADER = journal_format.header("0123456789abcdef")
RECORDS = tuple(journal_format.record("chat/uid", entry) for entry in ENTRIES)
FILE = HEADER + b"".join(RECORDS)


class Disk:
    """os.write, until it is full: then it takes as many bytes as there is room for, and no more."""

    def __init__(self) -> None:
        self.room: int | None = None
        self.writes = 0

    def write(self, file: int, data: bytes) -> int:
        self.writes += 1
        if self.room is None:
            return os.write(file, data)
        part, self.room = data[: self.room], max(0, self.room - len(data))
        if not part:
            raise OSError(28, "No space left on device")
        return os.write(file, part)


class Power:
    """What would be on the disk if the power failed now: bytes as of a file's last fsync, names as of the folder's."""

    def __init__(self) -> None:
        self.bytes: dict[int, bytes] = {}
        self.names: dict[str, int] = {}

    def sync(self, file: int) -> None:
        path = Path(f"/proc/self/fd/{file}").readlink()
        if path.is_dir():
            self.names = {entry.name: entry.stat().st_ino for entry in path.iterdir()}
        else:
            self.bytes[path.stat().st_ino] = path.read_bytes()

    def fail(self, directory: Path) -> None:
        shutil.rmtree(directory)
        directory.mkdir()
        for name, number in self.names.items():
            (directory / name).write_bytes(self.bytes.get(number, b""))


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.create("chat", 100_000)
    return store


def crash(journal: Journal) -> None:
    """What is left after kill -9: open files are closed, and nothing is written any more."""
    journal._buffer.clear()
    journal.close()


def ledger_on(journal: Journal, store: MemoryStore) -> Ledger:
    return Ledger("chat", store, journal.purse("chat/uid"), lambda: NOW, lambda: 0.0, journal.commit)


async def reserve(ledger: Ledger, key: str, micros: int) -> None:
    before = ledger.open_reservations
    asking = asyncio.create_task(ledger.reserve(key, micros))
    await asyncio.sleep(0)
    if ledger.open_reservations == before:
        await ledger.exchange()
    await asking


def test_every_entry_reads_as_it_was_written() -> None:
    contents = journal_format.read(FILE)
    assert contents.incarnation == "0123456789abcdef"
    assert [entry for _, entry in contents.entries] == list(ENTRIES)
    assert {purse for purse, _ in contents.entries} == {"chat/uid"}
    assert contents.torn_bytes == 0


def test_a_crash_in_the_middle_of_a_write_costs_the_records_that_were_not_whole() -> None:
    whole = [len(HEADER + b"".join(RECORDS[:count])) for count in range(len(RECORDS) + 1)]
    for end in range(len(HEADER), len(FILE)):
        contents = journal_format.read(FILE[:end])
        count = sum(1 for length in whole[1:] if length <= end)
        assert contents.entries == tuple(("chat/uid", entry) for entry in ENTRIES[:count])


def test_a_file_system_that_grew_the_file_before_the_crash_leaves_zeros() -> None:
    contents = journal_format.read(FILE + bytes(100))
    assert (len(contents.entries), contents.torn_bytes) == (len(ENTRIES), 100)


def test_a_zeroed_sector_in_the_middle_is_damage_and_no_torn_end() -> None:
    second = len(HEADER + RECORDS[0])
    with pytest.raises(JournalDamaged):
        journal_format.read(FILE[:second] + bytes(len(RECORDS[1])) + FILE[second + len(RECORDS[1]) :])


@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_never_read_as_another_entry(at: int, by: int) -> None:
    data = bytearray(FILE)
    data[at] ^= by
    last_begins = len(FILE) - len(RECORDS[-1])
    try:
        contents = journal_format.read(bytes(data))
    except JournalDamaged:
        return
    assert at >= last_begins, "damage before the last record was taken for a torn end"
    assert [entry for _, entry in contents.entries] == list(ENTRIES[:-1])


def test_a_later_version_is_not_believed() -> None:
    with pytest.raises(JournalDamaged):
        journal_format.read(HEADER[:4] + b"\x02" + HEADER[5:])


async def test_a_container_that_is_started_again_settles_what_its_predecessor_owed(
    tmp_path: Path, store: MemoryStore
) -> None:
    first = Journal(tmp_path, "pod-a")
    ledger = ledger_on(first, store)
    await reserve(ledger, "open", 3000)
    await reserve(ledger, "done", 2000)
    await reserve(ledger, "free", 1000)
    await ledger.settle("done", 700)
    await ledger.release("free")
    crash(first)
    assert store.account().leased_micros > 3700

    second = Journal(tmp_path, "pod-a")
    await ledger_on(second, store).exchange()

    account = store.account()
    assert (account.spent_micros, account.leased_micros) == (3700, 0)
    assert second.identity == first.identity


@pytest.mark.parametrize("limit", [REWRITE_ABOVE_BYTES, 0], ids=["appended", "written anew each time"])
async def test_what_was_reserved_and_settled_outlives_a_failure_of_the_power(
    limit: int, tmp_path: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    power, directory = Power(), tmp_path / "journal"
    monkeypatch.setattr(os, "fsync", power.sync)
    monkeypatch.setattr(os, "fdatasync", power.sync)
    first = Journal(directory, "pod-a", limit=limit)
    ledger = ledger_on(first, store)
    await reserve(ledger, "open", 3000)
    await reserve(ledger, "done", 2000)
    await ledger.settle("done", 700)
    crash(first)
    power.fail(directory)

    second = Journal(directory, "pod-a")
    await ledger_on(second, store).exchange()

    assert second.identity == first.identity
    assert (store.account().spent_micros, store.account().leased_micros) == (3700, 0)


async def test_a_lease_of_which_no_reply_came_before_the_power_failed_is_known_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power, directory, store = Power(), tmp_path / "journal", FaultyStore(faults=["lost after"])
    store.create("chat", 100_000)
    monkeypatch.setattr(os, "fsync", power.sync)
    monkeypatch.setattr(os, "fdatasync", power.sync)
    first = Journal(directory, "pod-a")
    ledger = ledger_on(first, store)
    asking = asyncio.create_task(ledger.reserve("a", 3000))
    await asyncio.sleep(0)
    for refused in (ledger.exchange(), asking):
        with pytest.raises(LedgerUnreachable):
            await refused
    crash(first)
    power.fail(directory)
    assert store.account().leased_micros > 3000

    await ledger_on(Journal(directory, "pod-a"), store).exchange()

    assert (store.account().spent_micros, store.account().leased_micros) == (0, 0)


async def test_a_second_crash_finds_what_the_first_one_left(tmp_path: Path, store: MemoryStore) -> None:
    identities = set()
    for key in ("a", "b", "c"):
        journal = Journal(tmp_path, "pod-a")
        identities.add(journal.identity)
        await reserve(ledger_on(journal, store), key, 1000)
        crash(journal)

    await ledger_on(Journal(tmp_path, "pod-a"), store).exchange()

    assert len(identities) == 1
    assert (store.account().spent_micros, store.account().leased_micros) == (3000, 0)


async def test_what_was_reported_before_the_crash_is_not_reported_again(tmp_path: Path, store: MemoryStore) -> None:
    first = Journal(tmp_path, "pod-a")
    ledger = ledger_on(first, store)
    await reserve(ledger, "done", 2000)
    await ledger.settle("done", 700)
    await ledger.exchange()
    crash(first)  # the record that the write came about was still in memory

    await ledger_on(Journal(tmp_path, "pod-a"), store).exchange()

    assert store.account().spent_micros == 700


def spoil(path: Path, how: str) -> None:
    data = path.read_bytes()
    match how:
        case "lost":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "damaged":
            path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
        case "impossible":
            path.write_bytes(data + journal_format.record("chat/uid", Settled("never taken", 1)))
        case _:
            path.write_bytes(data[:4] + b"\x09" + data[5:])


@pytest.mark.parametrize("how", ["lost", "empty", "damaged", "impossible", "of another version"])
async def test_without_a_journal_to_believe_the_whole_lease_is_spent(
    tmp_path: Path, store: MemoryStore, how: str
) -> None:
    first = Journal(tmp_path, "pod-a")
    await reserve(ledger_on(first, store), "open", 3000)
    crash(first)
    leased = store.account().leased_micros
    spoil(tmp_path / FILE_NAME, how)

    second = Journal(tmp_path, "pod-a")
    await reserve(ledger_on(second, store), "next", 100)

    assert store.account().spent_micros == leased > 3000
    assert second.identity != first.identity


async def test_on_a_full_disk_nothing_is_reserved_and_when_there_is_room_it_goes_on(
    tmp_path: Path, store: MemoryStore
) -> None:
    disk = Disk()
    journal = Journal(tmp_path, "pod-a", disk.write)
    ledger = ledger_on(journal, store)
    await reserve(ledger, "a", 1000)
    disk.room = 20
    for key in ("b", "c"):
        with pytest.raises(LedgerUnreachable):
            await ledger.reserve(key, 1000)
    await ledger.settle("a", 600)  # what was under way ends
    disk.room = None
    await ledger.reserve("d", 1000)
    crash(journal)

    await ledger_on(Journal(tmp_path, "pod-a"), store).exchange()

    assert store.account().spent_micros == 1600


async def test_a_disk_that_is_full_from_the_beginning_lets_nothing_leave(tmp_path: Path, store: MemoryStore) -> None:
    disk = Disk()
    disk.room = 0
    journal = Journal(tmp_path, "pod-a", disk.write)
    ledger = ledger_on(journal, store)
    asking = asyncio.create_task(ledger.reserve("a", 1000))
    await asyncio.sleep(0)
    with pytest.raises(LedgerUnreachable):
        await ledger.exchange()
    with pytest.raises(LedgerUnreachable):
        await asking
    assert store.account().leased_micros == 0


async def test_reservations_of_one_moment_share_a_write(tmp_path: Path, store: MemoryStore) -> None:
    disk = Disk()
    journal = Journal(tmp_path, "pod-a", disk.write)
    ledger = ledger_on(journal, store)
    await reserve(ledger, "first", 6000)
    before = disk.writes

    await asyncio.gather(*(ledger.reserve(str(number), 100) for number in range(100)))

    assert disk.writes - before <= 3


async def test_the_file_does_not_grow_without_end(tmp_path: Path, store: MemoryStore) -> None:
    journal = Journal(tmp_path, "pod-a", limit=4000)
    ledger = ledger_on(journal, store)
    await reserve(ledger, "open", 3000)
    for number in range(200):
        await ledger.reserve(str(number), 100)
        await ledger.release(str(number))
        assert (tmp_path / FILE_NAME).stat().st_size <= 4000
    crash(journal)

    await ledger_on(Journal(tmp_path, "pod-a"), store).exchange()

    assert store.account().spent_micros == 3000


def test_two_processes_do_not_share_a_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "pod-a")
    with pytest.raises(SetupError, match="another gateway"):
        Journal(tmp_path, "pod-a")
    journal.close()
