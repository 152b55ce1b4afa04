"""A full disk, by a small tmpfs: the commit that did not fit changed nothing; with room again, the next one works."""

from __future__ import annotations

import itertools
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard_interchange.journal import JournalFull, Log, PostgresStore, SQLiteStore
from tests.contract.journal.places import AnyStore, extend
from tests.fixtures.postgres import Postgres, running_postgres

pytestmark = pytest.mark.needs_root

DISK_BYTES = 6 * 1024 * 1024
BALLAST_BYTES = 3 * 1024 * 1024
BODY_BYTES = 10_000
MOST_COMMITS = 3 * DISK_BYTES // BODY_BYTES


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, half taken by a file named `ballast`."""
    with tempfile.TemporaryDirectory(prefix="blockyard-disk-", dir="/tmp") as name:
        folder = Path(name)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0777", "tmpfs", folder], check=True)
        try:
            (folder / "ballast").write_bytes(bytes(BALLAST_BYTES))
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs_postgres)])
def store(request: pytest.FixtureRequest, small_disk: Path) -> Iterator[AnyStore]:
    """An open journal whose chunks lie on the small disk."""
    if request.param == "sqlite":
        made: AnyStore = SQLiteStore(small_disk / "journal.db")
        made.open()
        yield made
        made.close()
        return
    with running_postgres() as server:
        made = PostgresStore(table_space_url(server, small_disk), "full")
        made.open()
        yield made
        made.close()


def table_space_url(server: Postgres, folder: Path) -> str:
    """Have new tables made on that disk; the server's own log stays where it is, as on a well set up server."""
    space = folder / "space"
    space.mkdir(mode=0o777)
    space.chmod(0o777)
    subprocess.run(["chown", f"--reference={server.folder}", space], check=True)
    server.run(f"CREATE TABLESPACE small LOCATION '{space}'")
    return f"{server.url}?options=-cdefault_tablespace%3Dsmall"


def fill(store: AnyStore, *, sync: bool) -> list[tuple[int, bytes]]:
    """Commit until the disk is full; what was confirmed."""
    confirmed: list[tuple[int, bytes]] = []
    for turn in itertools.count():
        number = store.bounds()[1]
        body = bytes([turn % 256]) * BODY_BYTES
        try:
            store.commit([(number, body)], (), sync=sync)
        except JournalFull as full:
            assert_says_what_to_do(full)
            return confirmed
        confirmed.append((number, body))
        assert turn < MOST_COMMITS, f"{turn} commits of {BODY_BYTES} bytes fitted on a disk of {DISK_BYTES}"
    raise AssertionError


def assert_says_what_to_do(full: JournalFull) -> None:
    assert "Free space" in str(full)


@pytest.mark.parametrize("sync", [False, True])
def test_a_commit_that_does_not_fit_changes_nothing(store: AnyStore, small_disk: Path, sync: bool) -> None:
    confirmed = fill(store, sync=sync)
    assert len(confirmed) > 20
    for _ in range(5):
        with pytest.raises(JournalFull):
            extend(store, bytes(BALLAST_BYTES), b"and one more", drop=3, sync=sync)
    assert store.bounds() == (1, len(confirmed) + 1)
    assert list(store.chunks()) == confirmed
    (small_disk / "ballast").unlink()
    assert extend(store, b"fits now", sync=sync) == [len(confirmed) + 1]
    store.close()
    store.open()
    assert list(store.chunks()) == [*confirmed, (len(confirmed) + 1, b"fits now")]


def test_a_log_keeps_what_did_not_fit_and_writes_it_once_there_is_room(store: AnyStore, small_disk: Path) -> None:
    store.close()
    log = Log(store)
    log.open()
    assert list(log.replay()) == []
    entries = [b"%06d" % turn + bytes(900) for turn in range(12_000)]
    full = 0
    for entry in entries:
        log.append(entry)
        try:
            log.commit(sync=False)
        except JournalFull:
            full += 1
            if full == 3:
                break
    assert full == 3, "the disk never filled"
    written = entries[: entries.index(entry) + 1]
    (small_disk / "ballast").unlink()
    log.append(b"after")
    log.commit(sync=False)
    log.close()
    log.open()
    assert list(log.replay()) == [*written, b"after"]


def test_a_journal_can_be_opened_again_after_its_disk_was_full(store: AnyStore, small_disk: Path) -> None:
    confirmed = fill(store, sync=False)
    store.close()
    (small_disk / "ballast").unlink()
    store.open()
    assert list(store.chunks()) == confirmed
