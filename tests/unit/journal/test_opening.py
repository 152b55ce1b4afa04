"""From a URL to a store, and what is said when that is not possible."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest

from blockyard.errors import ConfigError
from blockyard_interchange.journal import (
    Fenced,
    JournalInUse,
    JournalUnavailable,
    Log,
    MemoryStore,
    PostgresStore,
    SQLiteStore,
    check,
    export,
    open_store,
)


def test_each_scheme_has_its_store() -> None:
    assert isinstance(open_store("memory:"), MemoryStore)
    assert isinstance(open_store("sqlite:///var/lib/x/journal.db"), SQLiteStore)
    assert isinstance(open_store("postgresql://u@h/db"), PostgresStore)


@pytest.mark.parametrize("url", ["sqlite:///a %20folder?/j.db", "sqlite:////a %20folder?/j.db"])
def test_a_sqlite_url_names_an_absolute_path(url: str) -> None:
    assert open_store(url).location == "/a %20folder?/j.db"


@pytest.mark.parametrize(
    "url", ["", "journal.db", "sqlite:j.db", "sqlite://j.db", "mysql://x", "memory:x", "/var/j.db"]
)
def test_other_urls_are_refused_with_the_known_ones(url: str) -> None:
    with pytest.raises(ConfigError, match="'sqlite:///absolute/path'"):
        open_store(url)


def test_a_postgresql_journal_without_psycopg_names_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "blockyard_interchange.journal.postgres_server", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'blockyard\[interchange\]'"):
        open_store("postgresql://u@h/db").open()


def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    folder = tmp_path / "50%20 #?&=ä"
    folder.mkdir()
    store = open_store(f"sqlite://{folder}/j.db")
    store.open()
    store.commit([(1, b"x")], (), sync=False)
    store.close()
    assert (folder / "j.db").stat().st_size > 0
    assert check(f"sqlite://{folder}/j.db").epoch == 1


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailable, match=r"nowhere.*Check the folder"):
        open_store(f"sqlite://{tmp_path}/nowhere/j.db").open()


def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    store = open_store(f"sqlite://{tmp_path}/j.db")
    store.open()
    store.commit([(1, b"secret")], (), sync=False)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    store.close()
    assert set(modes) == {"j.db", "j.db-wal", "j.db-shm", "j.db.lock", "j.db.mark"}
    assert set(modes.values()) == {0o600}


def test_the_lock_file_names_pid_and_epoch_of_the_holder(tmp_path: Path) -> None:
    first, second = (open_store(f"sqlite://{tmp_path}/j.db") for _ in range(2))
    first.open()
    with pytest.raises(JournalInUse, match=rf"held by pid {os.getpid()} epoch 1"):
        second.open()
    first.close()
    assert second.open() == 2
    second.close()


def test_a_removed_lock_file_lets_no_second_writer_in(tmp_path: Path) -> None:
    first, second = (open_store(f"sqlite://{tmp_path}/j.db") for _ in range(2))
    first.open()
    (tmp_path / "j.db.lock").unlink()
    with pytest.raises(JournalInUse, match="was it removed"):
        second.open()
    first.commit([(1, b"x")], (), sync=False)
    first.close()
    assert second.open() == 2
    second.close()


def test_a_writer_that_got_in_by_other_ways_is_noticed_and_fences_this_one(tmp_path: Path) -> None:
    store = open_store(f"sqlite://{tmp_path}/j.db")
    store.open()
    store.commit([(1, b"mine")], (), sync=False)
    with closing(sqlite3.connect(tmp_path / "j.db")) as other, other:
        other.execute("INSERT INTO chunk VALUES (3, 0, 0, x'')")
    for _ in range(2):
        with pytest.raises(Fenced, match="Another process has written"):
            store.commit([(2, b"late"), (3, b"later")], [1], sync=False)
    assert store.bounds() == (1, 2)
    assert list(store.chunks()) == [(1, b"mine")]
    store.close()


def test_the_report_counts_what_a_sound_journal_holds(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/j.db"
    log = Log(open_store(url))
    log.open()
    assert list(log.replay()) == []
    for group in ((b"a", b"bc"), (b"def",)):
        for entry in group:
            log.append(entry)
        log.commit(sync=False)
    report = check(url)
    assert report.is_sound
    assert (report.epoch, report.first, report.chunks, report.entries, report.entry_bytes) == (1, 1, 2, 3, 6)
    assert report.size_bytes == log.size_bytes()
    assert list(export(url)) == [(1, b"a"), (1, b"bc"), (2, b"def")]
    log.close()
    assert check(url).is_sound


def test_the_check_of_a_path_without_a_journal_makes_none(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailable):
        check(f"sqlite://{tmp_path}/j.db")
    assert list(tmp_path.iterdir()) == []
