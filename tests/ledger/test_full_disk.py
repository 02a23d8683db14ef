"""A ledger on a disk that is full: nothing is sent, and what was sent before is answered and found."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from support.clients import QUICK
from support.ledgers import Wrapped, expire
from support.purchases import ORDER, PLAIN, came, under

from roamify_async import AsyncRoamify, LedgerError, OrderItem
from roamify_async.ledger import SqliteLedger

pytestmark = pytest.mark.long

SENT = f"POST {ORDER}"
SIZE = 1024
"""KiB of a disk."""


async def buy(client: AsyncRoamify, reference: str = "r"):
    """Order under a reference."""
    return await client.orders.create([OrderItem(PLAIN)], reference_id=reference)


class Disk:
    """A small file system in memory."""

    def __init__(self, folder: Path) -> None:
        """Take its folder."""
        self.folder, self._ballast = folder, folder / "ballast"

    def fill(self) -> None:
        """Write until nothing more fits."""
        with self._ballast.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while ballast.write(bytes(512)):
                pass

    def free(self) -> None:
        """Remove what filled it."""
        self._ballast.unlink()


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Mount a small file system, or skip the test."""
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    with tempfile.TemporaryDirectory(prefix="roamify-disk-") as name:
        Path(name).chmod(0o755)  # The folder of a test is its user's, and PostgreSQL is another one.
        folder = Path(name) / "disk"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}k", "tmpfs", str(folder)]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")
        try:
            yield Disk(folder)
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_full_before_the_claim(disk, sandbox):
    """Nothing is sent while the disk is full, and all goes on when there is space again."""
    ledger = SqliteLedger(disk.folder / "purchases.db")
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK, ledger=ledger) as one:
        assert not (await buy(one, "first")).was_found
        disk.fill()
        for reference in ("r", None):
            with pytest.raises(LedgerError, match=r"disk is full|disk I/O error") as caught:
                await buy(one, reference)
            assert (caught.value.sent, came(sandbox, SENT)) == ("no", 1)
        disk.free()
        assert not (await buy(one)).was_found
        assert (await buy(one, "first")).was_found
    ledger.close()
    assert came(sandbox, SENT) == 2


async def test_full_in_the_middle(disk, sandbox, caplog):
    """A purchase whose outcome cannot be recorded is answered; who asks next finds it."""

    async def start(ledger, *facts: object) -> None:
        await ledger.start(*facts)
        disk.fill()

    inner = SqliteLedger(disk.folder / "purchases.db")
    ledger = Wrapped(inner, start=start)
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK, ledger=ledger) as one:
        order = await buy(one)
    assert (order.was_found, len(under(sandbox))) == (False, 1)
    assert "r could not be recorded in the ledger, and is looked up later" in caplog.text
    disk.free()
    await expire(inner)
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK, ledger=inner) as other:
        again = await buy(other)
    assert (again.id, again.was_found, came(sandbox, SENT)) == (order.id, True, 1)
    assert inner.get("r").status == "ordered"
    inner.close()


async def test_full_postgres(disk, running_cluster, sandbox):
    """Nothing is sent while the disk of PostgreSQL's tables is full; the error comes at once, and says why."""
    from roamify_async.ledger import PostgresLedger

    place = disk.folder / "tables"
    place.mkdir()
    os.chown(place, 65534, 65534)
    running_cluster.run(f"CREATE TABLESPACE small LOCATION '{place}'")
    ledger = PostgresLedger(f"{running_cluster.url}&options={quote('-c default_tablespace=small')}", "on_small_disk")
    try:
        ledger.migrate()
        disk.fill()
        async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK, ledger=ledger) as one:
            with pytest.raises(LedgerError, match="No space left on device") as caught:
                await buy(one)
            assert (caught.value.sent, came(sandbox, SENT)) == ("no", 0)
            disk.free()
            assert not (await buy(one)).was_found
    finally:
        ledger.close()
        running_cluster.run("DROP SCHEMA on_small_disk CASCADE")
        running_cluster.run("DROP TABLESPACE small")
