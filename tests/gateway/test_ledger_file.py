"""The file of a gateway on its own keeps what the API server would: nobody spends more, forgets, overwrites others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from spillway.api.v1alpha1 import BudgetWindow, LLMLedgerSpec
from spillway.errors import LedgerConflict, LedgerUnreachable, SetupError
from spillway.gateway.account import Account, Lease, breach
from spillway.gateway.ledger_file import FILE_NAME, FileLedgerStore

NOVEMBER, DECEMBER = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
BUDGET = {"chat": LLMLedgerSpec(limit=Decimal("0.00005"), window=BudgetWindow.MONTH)}


def account(spent: int, *leases: int, limit: int = 50, start: datetime | None = NOVEMBER) -> Account:
    held = {f"gateway-{place}": Lease(amount, NOW) for place, amount in enumerate(leases)}
    end = DECEMBER if start == NOVEMBER else datetime(2027, 1, 1, tzinfo=UTC)
    return Account(limit, BudgetWindow.MONTH, UTC, start, end, spent, held)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (account(15), None),
        (account(10, 40), None),
        (account(10, 41), "may not pass the limit"),
        (account(10, 20, 21), "may not pass the limit"),
        (account(51), "may not pass the limit"),
        (account(9, 5), "spent may not fall within a window"),
        (account(0, start=DECEMBER), None),
        (account(10, start=datetime(2026, 10, 1, tzinfo=UTC)), "may not begin before"),
        (account(0, start=None), "may not begin before"),
        (account(15, limit=12), None),
        (account(10, 6, limit=12), "may not pass the limit"),
    ],
)
def test_no_step_spends_more_or_forgets(after: Account, said: str | None) -> None:
    broken = breach(account(10, 5), after)
    assert broken is None if said is None else said in (broken or "")


async def test_what_was_written_is_there_after_a_restart_and_a_budget_that_changed_is_read_first(
    tmp_path: Path,
) -> None:
    async with FileLedgerStore(tmp_path) as store:
        await store.set_budgets(BUDGET)
        first = await store.read("chat")
        written = await store.write("chat", replace(first, account=account(7, 3)))
        with pytest.raises(LedgerConflict):
            await store.write("chat", replace(first, account=account(8)))
        await store.set_budgets({"chat": BUDGET["chat"].model_copy(update={"limit": Decimal("0.00006")})})
        with pytest.raises(LedgerConflict):
            await store.write("chat", replace(written, account=account(8)))
        assert (await store.read("chat")).account.limit_micros == 60
    async with FileLedgerStore(tmp_path) as store:
        with pytest.raises(LedgerUnreachable, match="in none of the files"):
            await store.read("chat")
        await store.set_budgets(BUDGET)
        found = (await store.read("chat")).account
    assert (found.spent_micros, found.leased_micros, found.limit_micros) == (7, 3, 50)
    assert not (tmp_path / f"{FILE_NAME}.new").exists()


async def test_what_is_taken_out_of_the_files_still_settles(tmp_path: Path) -> None:
    async with FileLedgerStore(tmp_path) as store:
        await store.set_budgets(BUDGET)
        kept = await store.write("chat", replace(await store.read("chat"), account=account(7, 3)))
        await store.set_budgets({})
        assert (await store.write("chat", replace(kept, account=account(10)))).account.spent_micros == 10


async def test_a_write_that_breaks_the_law_changes_nothing(tmp_path: Path) -> None:
    async with FileLedgerStore(tmp_path) as store:
        await store.set_budgets(BUDGET)
        kept = await store.write("chat", replace(await store.read("chat"), account=account(7)))
        before = (tmp_path / FILE_NAME).read_bytes()
        for worse in (account(6), account(7, 44)):
            with pytest.raises(LedgerUnreachable):
                await store.write("chat", replace(kept, account=worse))
        assert (tmp_path / FILE_NAME).read_bytes() == before


async def test_a_disk_that_takes_no_more_is_no_ledger_and_the_file_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with FileLedgerStore(tmp_path) as store:
        await store.set_budgets(BUDGET)
        kept = await store.write("chat", replace(await store.read("chat"), account=account(7)))
        with monkeypatch.context() as broken:
            broken.setattr("spillway.gateway.ledger_file.os.fsync", full)
            with pytest.raises(LedgerUnreachable, match="No space left"):
                await store.write("chat", replace(kept, account=account(8)))
        assert (await store.read("chat")).account.spent_micros == 7
        await store.write("chat", replace(kept, account=account(9)))


@pytest.mark.parametrize("change", [b"", b"{}", b'{"version": 2, "sha256": "", "ledgers": {}}', None])
async def test_a_file_that_is_not_as_it_was_left_is_not_believed_until_the_next_start(
    change: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / FILE_NAME
    async with FileLedgerStore(tmp_path) as store:
        await store.set_budgets(BUDGET)
        kept = await store.write("chat", replace(await store.read("chat"), account=account(7)))
        whole = path.read_bytes()
        path.unlink() if change is None else path.write_bytes(change)
        for _ in range(2):
            with pytest.raises(LedgerUnreachable):
                await store.write("chat", replace(kept, account=account(8)))
            path.write_bytes(whole)
    async with FileLedgerStore(tmp_path) as store:
        await store.set_budgets(BUDGET)
        assert (await store.read("chat")).account.spent_micros == 7


async def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    async with FileLedgerStore(tmp_path):
        with pytest.raises(SetupError, match="two must not spend one budget"):
            FileLedgerStore(tmp_path)
    async with FileLedgerStore(tmp_path):
        pass
