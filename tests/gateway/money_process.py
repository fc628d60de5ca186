"""A gateway as a process of its own, with its ledger in a file in place of the API server: what kill -9 is tried on.

    python -m gateway.money_process DIRECTORY

DIRECTORY holds `object.json` (the LLMDeployment), `credentials` and `ca`, and the journal; the port is written to
`port` there, the ledger to `ledger`, anew with each write.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import orjson

from gateway.rig import MemoryStore, settings_in
from spillway.gateway.credentials import Credentials
from spillway.gateway.start import Gateway, configure_log, listen
from spillway.gateway.store import Snapshot
from spillway.gateway.upstream import Upstreams


class FileStore(MemoryStore):
    """Ledgers that outlive the process."""

    def __init__(self, path: Path) -> None:
        super().__init__(pickle.loads(path.read_bytes()))
        self.path = path

    async def write(self, name: str, snapshot: Snapshot) -> Snapshot:
        written = await super().write(name, snapshot)
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(pickle.dumps(self.accounts))
        fresh.rename(self.path)
        return written


async def main(directory: Path) -> None:
    configure_log()
    settings = replace(settings_in(directory, None), journal_dir=directory / "journal")
    async with Upstreams(Credentials(settings.credentials_dir, settings.ca_dir), settings.allowed_hosts) as upstreams:
        gateway = Gateway(settings, FileStore(directory / "ledger"), upstreams)
        gateway.table.apply(orjson.loads((directory / "object.json").read_bytes()))
        gateway.readiness.synced = True
        runner = await listen(gateway)
        (directory / "port.new").write_text(str(runner.addresses[0][1]))
        (directory / "port.new").rename(directory / "port")
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
