"""What only a database server can do to a journal: forget, hang, cut the connection, let in a second interchange."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from blockyard_interchange.journal import (
    Fenced,
    JournalDamaged,
    JournalInUse,
    JournalUnavailable,
    JournalVersion,
    Log,
    PostgresStore,
    check,
    postgres_server,
)
from tests.contract.journal.places import extend
from tests.contract.journal.test_killed_writer import OPEN_SECONDS, open_patiently
from tests.fixtures.postgres import Postgres, running_postgres

pytestmark = pytest.mark.needs_postgres

_numbers = itertools.count()


@pytest.fixture(scope="module")
def slow_server() -> Iterator[Postgres]:
    """One that writes unsynced commits to disk only when it must: what it forgets when killed is certain."""
    with running_postgres("wal_writer_delay=10s", "wal_writer_flush_after=0", "autovacuum=off") as server:
        yield server


@pytest.fixture
def store(postgres: Postgres) -> Iterator[PostgresStore]:
    """An open journal of its own."""
    made = PostgresStore(postgres.url, f"faults-{next(_numbers)}")
    made.open()
    yield made
    made.close()


@pytest.fixture
def slow_store(slow_server: Postgres) -> Iterator[PostgresStore]:
    """An open journal on the forgetful server."""
    made = PostgresStore(slow_server.url, f"slow-{next(_numbers)}")
    made.open()
    yield made
    made.close()


def bodies(store: PostgresStore) -> list[bytes]:
    return [body for _, body in store.chunks()]


def backend_of(postgres: Postgres, store: PostgresStore) -> int:
    name = store.location.rsplit("'", 2)[1]
    return int(
        postgres.run(f"SELECT pid FROM pg_stat_activity WHERE application_name = 'blockyard interchange {name}'")
    )


def reopen_patiently(log: Log) -> None:
    """A server may need a moment to notice that its client is gone."""
    deadline = time.monotonic() + OPEN_SECONDS
    while True:
        try:
            log.reopen()
        except JournalUnavailable as refused:
            if time.monotonic() > deadline:
                pytest.fail(f"still refused after {OPEN_SECONDS:g} s: {refused}")
            time.sleep(0.01)
        else:
            return


# --- fencing ----------------------------------------------------------------------------------------------------------


def test_the_second_writer_is_told_who_holds_the_journal(postgres: Postgres, store: PostgresStore) -> None:
    second = PostgresStore(postgres.url, store._name)
    with pytest.raises(JournalInUse, match=rf"server process {backend_of(postgres, store)} for 'blockyard interchange"):
        second.open()


def test_journals_of_other_names_share_the_database(postgres: Postgres, store: PostgresStore) -> None:
    other = PostgresStore(postgres.url, store._name + "-other")
    other.open()
    extend(other, b"theirs")
    extend(store, b"mine")
    assert (bodies(store), bodies(other)) == ([b"mine"], [b"theirs"])
    other.close()


def test_a_commit_of_a_past_epoch_writes_nothing(postgres: Postgres, store: PostgresStore) -> None:
    extend(store, b"mine")
    postgres.run(f"UPDATE blockyard_journal SET epoch = epoch + 1 WHERE name = '{store._name}'")
    for append, drop in (((b"late",), 0), ((b"late", b"later"), 1), ((), 1)):
        with pytest.raises(Fenced, match="epoch 1 is over"):
            extend(store, *append, drop=drop)
    assert bodies(store) == [b"mine"]


def test_a_commit_that_waited_for_a_new_writer_is_fenced(postgres: Postgres, store: PostgresStore) -> None:
    """The epoch is compared under a lock: not before the new writer began, but after."""
    extend(store, b"mine")
    outcome: list[BaseException | None] = []

    def late_commit() -> None:
        try:
            extend(store, b"late")
        except Fenced as fenced:
            outcome.append(fenced)
        else:
            outcome.append(None)

    with psycopg.connect(postgres.url) as next_writer:
        next_writer.execute("UPDATE blockyard_journal SET epoch = epoch + 1 WHERE name = %s", (store._name,))
        thread = threading.Thread(target=late_commit)
        thread.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = "
        pid = backend_of(postgres, store)
        for _ in range(1000):
            if postgres.run(f"{waiting}{pid}") == "1":
                break
        else:
            pytest.fail("the late commit never waited for the lock on the journal's row")
        next_writer.commit()
    thread.join(20)
    assert len(outcome) == 1
    assert isinstance(outcome[0], Fenced)
    assert bodies(store) == [b"mine"]


def test_a_writer_that_lost_its_connection_is_fenced_by_the_next_one(postgres: Postgres) -> None:
    old, new = (Log(PostgresStore(postgres.url, "handed-over")) for _ in range(2))
    old.open()
    assert list(old.replay()) == []
    old.append(b"old")
    old.commit(sync=False)
    postgres.run(f"SELECT pg_terminate_backend({backend_of(postgres, old._store)})")  # type: ignore[arg-type]
    new_store = new._store
    assert isinstance(new_store, PostgresStore)
    open_patiently(new_store)
    extend(new_store, b"\x91\xc4\x03new")
    old.append(b"late")
    with pytest.raises(JournalUnavailable):
        old.commit(sync=False)
    with pytest.raises(Fenced, match="epoch 1 is over, another interchange has begun epoch 2"):
        old.reopen()
    new_store.close()
    with pytest.raises(Fenced, match="another interchange had it in between"):
        old.reopen()
    old.close()
    assert [body for _, body in _read_all(postgres, "handed-over")] == [b"\x91\xc4\x03old", b"\x91\xc4\x03new"]


# --- lost connections -------------------------------------------------------------------------------------------------


def test_a_cut_connection_is_unavailable_and_a_reopened_one_goes_on(postgres: Postgres, store: PostgresStore) -> None:
    extend(store, b"before")
    postgres.run(f"SELECT pg_terminate_backend({backend_of(postgres, store)})")
    for _ in range(2):
        with pytest.raises(JournalUnavailable, match=r"reopen|Open it again"):
            extend(store, b"lost")
    assert open_patiently(store) == 2
    extend(store, b"after")
    assert bodies(store) == [b"before", b"after"]


def test_a_server_that_hangs_is_unavailable_in_time_and_the_commit_in_doubt_is_kept_once(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(postgres.url, "hanging")
    log = Log(store)
    log.open()
    assert list(log.replay()) == []
    backend = backend_of(postgres, store)
    os.kill(backend, signal.SIGSTOP)
    try:
        monkeypatch.setattr(postgres_server, "ANSWER_SECONDS", 0.2)
        log.append(b"in doubt")
        with pytest.raises(JournalUnavailable, match=r"no answer within 0\.2 s"):
            log.commit(sync=False)
    finally:
        os.kill(backend, signal.SIGCONT)
    monkeypatch.undo()
    reopen_patiently(log)
    log.append(b"after")
    log.commit(sync=False)
    log.close()
    log.open()
    assert list(log.replay()) == [b"in doubt", b"after"]
    log.close()


def test_no_server_is_unavailable_with_a_hint() -> None:
    store = PostgresStore("postgresql://nobody:secret-word@127.0.0.1:1/none", "any")
    with pytest.raises(JournalUnavailable, match="Check that the server runs") as unavailable:
        store.open()
    assert "secret-word" not in str(unavailable.value)
    assert "secret-word" not in store.location


# --- a server that forgets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commits", [1, 30, 700])
def test_what_a_killed_server_forgot_is_written_again(
    slow_server: Postgres, slow_store: PostgresStore, commits: int, caplog: pytest.LogCaptureFixture
) -> None:
    extend(slow_store, b"safe", sync=True)
    slow_server.hold_writers()
    for turn in range(commits):
        extend(slow_store, b"%d" % turn, drop=turn % 2)
    expected = list(slow_store.chunks())
    bounds = slow_store.bounds()
    assert len(slow_store._tail.since(0)) <= 256, "what is kept for a forgetful server must be bounded"
    restart(slow_server)
    with pytest.raises(JournalUnavailable):
        extend(slow_store, b"nobody is there")
    with caplog.at_level(logging.WARNING):
        assert slow_store.open() == 2
    assert "the server forgot" in caplog.text, "the server forgot nothing, so this proved nothing"
    assert slow_store.bounds() == bounds
    assert list(slow_store.chunks()) == expected
    restart(slow_server)
    slow_store.close()
    slow_store.open()
    assert list(slow_store.chunks()) == expected


def test_a_synced_commit_is_not_forgotten_by_a_killed_server(slow_server: Postgres, slow_store: PostgresStore) -> None:
    extend(slow_store, b"unsynced")
    extend(slow_store, b"synced", sync=True)
    restart(slow_server)
    other = PostgresStore(slow_server.url, slow_store._name)
    other.open()
    assert bodies(other) == [b"unsynced", b"synced"]
    other.close()


def test_a_clean_close_leaves_nothing_to_forget(slow_server: Postgres, slow_store: PostgresStore) -> None:
    extend(slow_store, b"one", b"two")
    extend(slow_store, b"three", drop=1)
    slow_store.close()
    restart(slow_server)
    other = PostgresStore(slow_server.url, slow_store._name)
    other.open()
    assert bodies(other) == [b"two", b"three"]
    other.close()


def test_a_log_goes_on_where_a_killed_server_forgot(slow_server: Postgres, slow_store: PostgresStore) -> None:
    slow_store.close()
    log = Log(slow_store)
    log.open()
    assert list(log.replay()) == []
    slow_server.hold_writers()
    for turn in range(20):
        log.append(b"%d" % turn)
        log.commit(sync=False)
    log.replace_oldest([b"0 again"])
    log.append(b"in doubt")
    restart(slow_server)
    with pytest.raises(JournalUnavailable):
        log.commit(sync=False)
    reopen_patiently(log)
    log.commit(sync=True)
    log.close()
    log.open()
    assert list(log.replay()) == [*(b"%d" % turn for turn in range(1, 20)), b"0 again", b"in doubt"]


def test_what_a_server_forgot_is_not_written_below_what_another_writer_wrote(
    slow_server: Postgres, slow_store: PostgresStore, caplog: pytest.LogCaptureFixture
) -> None:
    extend(slow_store, b"safe", sync=True)
    slow_server.hold_writers()
    extend(slow_store, b"forgotten")
    restart(slow_server)
    other = PostgresStore(slow_server.url, slow_store._name)
    other.open()
    extend(other, b"theirs")
    other.close()
    slow_store.close()
    with caplog.at_level(logging.WARNING):
        assert slow_store.open() == 3
    assert "had another writer since" in caplog.text
    assert bodies(slow_store) == [b"safe", b"theirs"]


def restart(server: Postgres) -> None:
    server.kill()
    server.start()


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql, said",
    [
        ("UPDATE blockyard_chunk SET body = 'other' WHERE number = 3", "chunk 3: has a wrong checksum"),
        ("UPDATE blockyard_chunk SET body = 'cut' WHERE number = 3", "chunk 3: is truncated or padded"),
        ("UPDATE blockyard_chunk SET number = 30 WHERE number = 3", "found, they should begin at 1"),
        ("DELETE FROM blockyard_chunk WHERE number = 3", "4 chunks from 1 to 5 found"),
        ("DELETE FROM blockyard_chunk WHERE number = 1", "4 chunks from 2 to 5 found, they should begin at 1"),
    ],
)
def test_rows_changed_by_hand_are_noticed_and_named(
    postgres: Postgres, store: PostgresStore, sql: str, said: str
) -> None:
    extend(store, *(b"%05d" % turn for turn in range(5)))
    store.close()
    postgres.run(f"{sql} AND journal = '{store._name}'")
    with pytest.raises(JournalDamaged, match=said):
        _read_all(postgres, store._name)
    assert not check(postgres.url, name=store._name).is_sound


def test_another_version_is_refused(postgres: Postgres, store: PostgresStore) -> None:
    store.close()
    postgres.run(f"UPDATE blockyard_journal SET version = 9 WHERE name = '{store._name}'")
    with pytest.raises(JournalVersion, match="which this Blockyard reads"):
        store.open()


def test_the_check_of_an_unknown_name_says_there_is_none(postgres: Postgres) -> None:
    with pytest.raises(JournalUnavailable, match="none of that name"):
        check(postgres.url, name="never-begun")


def test_a_table_that_is_gone_is_damage(postgres: Postgres) -> None:
    postgres.run("CREATE DATABASE apart")
    store = PostgresStore(postgres.url.removesuffix("postgres") + "apart", "gone")
    store.open()
    with psycopg.connect(postgres.url.removesuffix("postgres") + "apart") as connection:
        connection.execute("DROP TABLE blockyard_chunk")
    with pytest.raises(JournalDamaged, match="blockyard_chunk"):
        extend(store, b"x")
    store.close()


def _read_all(postgres: Postgres, name: str) -> list[tuple[int, bytes]]:
    store = PostgresStore(postgres.url, name)
    store.open()
    try:
        return list(store.chunks())
    finally:
        store.close()
