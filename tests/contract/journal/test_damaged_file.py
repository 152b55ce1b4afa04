"""Flipped bytes, cut and lost files of a SQLite journal: noticed and named, or without effect. Never other content.

Each case starts from what a killed process leaves behind: a database, a write-ahead log not yet copied into it, a mark.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from blockyard_interchange.journal import JournalDamaged, JournalVersion, SQLiteStore, check, export
from tests.contract.journal.places import extend
from tests.machine import Size

FILES = ("journal.db", "journal.db-wal", "journal.db.mark")


class Remains(NamedTuple):
    """A folder as a killed writer left it, and what it had confirmed."""

    folder: Path
    mostly_in: str
    epoch: int
    chunks: list[tuple[int, bytes]]


@pytest.fixture(scope="module", params=["journal.db-wal", "journal.db"])
def remains(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Remains:
    """Once with most of it in the write-ahead log, once with most of it copied into the database."""
    folder = tmp_path_factory.mktemp("alive")
    store = SQLiteStore(folder / "journal.db")
    epoch = store.open()
    dice = random.Random(7)
    rounds = 40 if request.param.endswith("wal") else 400
    for turn in range(rounds):
        extend(store, dice.randbytes(dice.choice((5, 300, 300, 2500, 15_000))), drop=int(turn % 2), sync=turn == 3)
    killed = tmp_path_factory.mktemp("killed")
    for name in FILES:
        shutil.copy(folder / name, killed / name)
    chunks = list(store.chunks())
    store.close()
    return Remains(killed, request.param, epoch, chunks)


@pytest.fixture
def copied(remains: Remains, tmp_path: Path) -> Callable[[], Path]:
    """Give a fresh copy of the remains at each call."""

    def copy() -> Path:
        folder = tmp_path / "case"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(remains.folder, folder)
        return folder

    return copy


def outcome(folder: Path, remains: Remains) -> str:
    """Open and read all: 'same', or what was said. Anything else fails the test."""
    store = SQLiteStore(folder / "journal.db")
    try:
        epoch = store.open()
        found = list(store.chunks())
    except (JournalDamaged, JournalVersion) as error:
        said = str(error)
        return said if "journal.db" in said else pytest.fail(f"the file is not named: {said}")
    finally:
        store.close()
    assert found == remains.chunks
    assert epoch > remains.epoch
    return "same"


def test_undamaged_remains_are_read_whole(remains: Remains, copied: Callable[[], Path]) -> None:
    assert outcome(copied(), remains) == "same"


@pytest.mark.soak
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_noticed_or_harmless(
    remains: Remains, copied: Callable[[], Path], size: Size, name: str
) -> None:
    length = (remains.folder / name).stat().st_size
    count = 120 if size is Size.SMALL else 5000
    dice = random.Random(f"{name} {count}")
    noticed = 0
    for _ in range(count):
        folder = copied()
        offset = dice.randrange(min(length, 100)) if dice.random() < 0.15 else dice.randrange(length)
        flip(folder / name, offset, dice.randrange(1, 256))
        noticed += outcome(folder, remains) != "same"
    # Half of the chunks are dropped and some pages are newer in the log: a fifth to a third of the flips matter.
    assert noticed > count // 10 or name != remains.mostly_in


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_noticed_or_harmless(remains: Remains, copied: Callable[[], Path], name: str) -> None:
    length = (remains.folder / name).stat().st_size
    dice = random.Random(name)
    for keep in [0, 1, 16, 99, length - 1, *(dice.randrange(length) for _ in range(20))]:
        folder = copied()
        with (folder / name).open("r+b") as file:
            file.truncate(min(keep, length))
        outcome(folder, remains)


def test_every_flipped_byte_in_a_body_is_named_with_its_chunk(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    marker = b"find me in the file: "
    with_store(path, lambda store: [extend(store, marker + bytes([65 + turn]) * 40) for turn in range(9)])
    content = path.read_bytes()
    place = content.index(marker + b"E")
    flip(path, place + 30, 0x01)
    store = SQLiteStore(path)
    store.open()
    with pytest.raises(JournalDamaged, match="chunk 5: has a wrong checksum") as damaged:
        list(store.chunks())
    with pytest.raises(JournalDamaged, match="chunk 5"):
        store.read(5)
    store.close()
    assert damaged.value.where == str(path)
    assert damaged.value.chunk == 5


def test_a_lost_log_is_noticed(remains: Remains, copied: Callable[[], Path]) -> None:
    folder = copied()
    (folder / "journal.db-wal").unlink()
    assert "write-ahead log was damaged or removed" in outcome(folder, remains)


def test_a_lost_end_can_be_given_up_as_the_error_says(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with_store(path, lambda store: extend(store, b"1"))
    kept = path.read_bytes()
    with_store(path, lambda store: extend(store, b"2", b"3"))
    path.write_bytes(kept)
    with pytest.raises(
        JournalDamaged, match=r"chunks 2 to 3 are missing .* remove the file beside it that ends in \.mark"
    ):
        SQLiteStore(path).open()
    (tmp_path / "journal.db.mark").unlink()
    found: list[tuple[int, bytes]] = []
    with_store(path, lambda store: found.extend(store.chunks()))
    assert found == [(1, b"1")]


def test_a_lost_database_is_not_taken_for_a_new_one(remains: Remains, copied: Callable[[], Path]) -> None:
    folder = copied()
    (folder / "journal.db").unlink()
    assert "empty or absent" in outcome(folder, remains)
    assert (folder / "journal.db-wal").exists(), "what is left must be kept for whoever repairs it"


def test_refusing_a_damaged_journal_leaves_its_files_as_they_were(remains: Remains, copied: Callable[[], Path]) -> None:
    folder = copied()
    flip(folder / "journal.db-wal", 32 + 24 + 2000, 0xFF)  # in the first page of the log: all of it is void
    before = {name: (folder / name).read_bytes() for name in FILES}
    assert outcome(folder, remains) != "same"
    assert check(f"sqlite://{folder}/journal.db").faults
    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_a_journal_put_back_from_an_older_copy_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with_store(path, lambda store: extend(store, b"1", b"2"))
    old = path.read_bytes()
    with_store(path, lambda store: extend(store, b"3"))
    path.write_bytes(old)
    with pytest.raises(JournalDamaged, match="chunk 3 is missing at the end"):
        SQLiteStore(path).open()


def test_a_chunk_removed_from_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with_store(path, lambda store: extend(store, b"1", b"2", b"3", b"4"))
    execute(path, "DELETE FROM chunk WHERE number = 2")
    with pytest.raises(JournalDamaged, match="chunk 3: chunk 2 is missing before it"):
        with_store(path, lambda store: list(store.chunks()))


def test_chunks_removed_from_the_head_are_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with_store(path, lambda store: extend(store, b"1", b"2", b"3", b"4"))
    execute(path, "DELETE FROM chunk WHERE number < 3")
    with pytest.raises(JournalDamaged, match="chunk 3: chunks 1 to 2 are missing before it"):
        with_store(path, lambda store: list(store.chunks()))


def test_a_body_that_was_shortened_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with_store(path, lambda store: extend(store, b"whole", b"cut short"))
    execute(path, "UPDATE chunk SET body = substr(body, 1, 3) WHERE number = 2")
    with pytest.raises(JournalDamaged, match="chunk 2: is truncated or padded: 3 bytes found, 9 recorded"):
        with_store(path, lambda store: list(store.chunks()))


def test_a_changed_head_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with_store(path, lambda store: extend(store, b"1"))
    execute(path, "UPDATE journal SET epoch = epoch + 5")
    with pytest.raises(JournalDamaged, match="table journal"):
        SQLiteStore(path).open()


def test_another_schema_version_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with_store(path, lambda store: extend(store, b"1"))
    execute(path, "ALTER TABLE chunk ADD COLUMN more INTEGER")
    execute(path, "PRAGMA user_version = 2")
    with pytest.raises(JournalVersion, match="has version 2, this Blockyard reads version 1"):
        SQLiteStore(path).open()


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is no database at all\n" * 200)
    with pytest.raises(JournalDamaged, match="not a database"):
        SQLiteStore(path).open()


def test_the_report_names_every_fault_and_the_export_saves_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    url = f"sqlite://{path}"
    with_store(path, lambda store: [extend(store, b"\x91\xc4\x01" + bytes([48 + turn])) for turn in range(8)])
    execute(path, "DELETE FROM chunk WHERE number = 3")
    execute(path, "UPDATE chunk SET body = x'91c40178' WHERE number = 6")
    report = check(url)
    assert [(fault.chunk, fault.text.split(":")[0]) for fault in report.faults] == [
        (4, "chunk 3 is missing before it"),
        (6, "has a wrong checksum"),
    ]
    assert (report.chunks, report.entries, report.entry_bytes, report.is_sound) == (6, 6, 6, False)
    assert [entry for _, entry in export(url, skip_damaged=True)] == [b"0", b"1", b"3", b"4", b"6", b"7"]
    with pytest.raises(JournalDamaged, match="chunk 4"):
        list(export(url))


def with_store(path: Path, use: Callable[[SQLiteStore], object]) -> None:
    store = SQLiteStore(path)
    store.open()
    try:
        use(store)
    finally:
        store.close()


def execute(path: Path, sql: str) -> None:
    """Change the file behind the back of the journal, as a sound database."""
    db = sqlite3.connect(path)
    db.execute(sql)
    db.commit()
    db.close()


def flip(path: Path, offset: int, mask: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ mask]))
