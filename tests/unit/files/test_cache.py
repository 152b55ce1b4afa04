"""A node's copies: room is made by age, what is in use stays, and what the killed left behind goes."""

import os
import shutil
import threading
import types
from pathlib import Path

import pytest

from blockyard.errors import ConfigError
from blockyard.files import locks
from blockyard.files.cache import Begin, Cache, CacheFull, Fetch, Held, Part
from blockyard.files.port import Refused
from blockyard.files.transfers import FINAL, slot


def fetching(content: bytes, announced: int | None = -1) -> Fetch:
    """Fetches this, after so many bytes were announced: by default as many as it has."""

    def fetch(begin: Begin) -> Part:
        part = begin(len(content) if announced == -1 else announced)
        part.write(content)
        return part

    return fetch


def put(cache: Cache, key: str, size_bytes: int, used_at: float = 0.0) -> Path:
    held = cache.hold(key, "x", fetching(b"x" * size_bytes))
    held.close()
    if used_at:
        os.utime(held.path, (used_at, used_at))
    return held.path


def keys(cache: Cache) -> set[str]:
    return {path.parent.name for path in cache.folder.glob("copies/*/*")}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 1000)


def test_what_was_not_used_for_the_longest_time_goes_first(cache: Cache) -> None:
    put(cache, "old", 400, 1.0)
    put(cache, "older-but-used-again", 400, 2.0)
    put(cache, "older-but-used-again", 400)
    put(cache, "new", 400)
    assert keys(cache) == {"older-but-used-again", "new"}


def test_what_is_in_use_stays_and_when_all_is_there_is_no_room(cache: Cache) -> None:
    put(cache, "free", 300, 2.0)
    with_use = cache.hold("used", "x", fetching(b"x" * 600))
    os.utime(with_use.path, (1.0, 1.0))
    put(cache, "more", 400)
    assert keys(cache) == {"used", "more"}
    with pytest.raises(CacheFull, match="CACHE_BYTES"):
        put(cache, "most", 500)
    with_use.close()
    put(cache, "most", 500)
    assert "used" not in keys(cache)


@pytest.mark.parametrize("announced", [2000, None])
def test_what_is_larger_than_the_cache_is_refused_before_it_is_here(cache: Cache, announced: int | None) -> None:
    put(cache, "kept", 10)
    with pytest.raises(Refused, match="the node's cache may have 1000"):
        cache.hold("large", "x", fetching(b"x" * 2000, announced))
    assert keys(cache) == {"kept"}
    assert list(cache.folder.glob("parts/*")) == []


def test_room_is_made_for_what_nobody_knew_the_size_of(cache: Cache) -> None:
    put(cache, "old", 600, 1.0)
    cache.hold("new", "x", fetching(b"x" * 600, None)).close()
    assert keys(cache) == {"new"}


def test_what_is_being_fetched_counts_as_large_as_it_will_be(cache: Cache) -> None:
    def fetch(begin: Begin) -> Part:
        part = begin(900)
        with pytest.raises(CacheFull):
            put(cache, "other", 200)
        part.write(b"x" * 900)
        return part

    cache.hold("slow", "x", fetch).close()
    put(cache, "other", 200)
    assert keys(cache) == {"other"}


def test_one_fetch_serves_all_who_want_it_meanwhile(cache: Cache) -> None:
    begun, go = threading.Event(), threading.Event()
    fetched: list[int] = []

    def fetch(begin: Begin) -> Part:
        fetched.append(1)
        begun.set()
        assert go.wait(60.0)
        return fetching(b"x")(begin)

    held: list[Held] = []
    threads = [threading.Thread(target=lambda: held.append(cache.hold("k", "x", fetch))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(60.0)
    go.set()
    for thread in threads:
        thread.join(60.0)
    assert [one.path.read_bytes() for one in held] == [b"x"] * 4
    assert len(fetched) == 1
    for one in held:
        one.close()


def test_who_would_have_fetched_it_does_not_wait_for_those_who_use_it(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look for a copy and the lock to fetch one, another has fetched it, and works with it for long."""
    close, held = locks.Lock.close, list[Held]()

    def closing(lock: locks.Lock) -> None:
        close(lock)
        if not held:
            monkeypatch.undo()
            held.append(cache.hold("k", "x", fetching(b"x")))

    monkeypatch.setattr(locks.Lock, "close", closing)
    late: list[Held] = []
    thread = threading.Thread(target=lambda: late.append(cache.hold("k", "x", fetching(b"x"))))
    thread.start()
    thread.join(10.0)
    waits = thread.is_alive()
    held[0].close()
    thread.join(60.0)
    late[0].close()
    assert not waits


def test_a_fetch_that_fails_leaves_nothing_and_the_next_one_fetches(cache: Cache) -> None:
    def fetch(begin: Begin) -> Part:
        begin(10).write(b"half")
        raise OSError("broken off")

    with pytest.raises(OSError, match="broken off"):
        cache.hold("k", "x", fetch)
    assert list(cache.folder.glob("parts/*")) == []
    assert put(cache, "k", 10).read_bytes() == b"x" * 10


def test_what_the_killed_left_behind_is_swept_away_and_what_the_living_have_is_not(cache: Cache) -> None:
    (cache.folder / "parts" / "dead").write_bytes(b"x" * 900)
    (cache.folder / "parts" / "dead.room").write_bytes(b"x" * 900)
    (cache.folder / "outputs" / "dead2").mkdir()
    (cache.folder / "copies" / "once-dead").mkdir()
    with cache.writing() as folder:
        put(cache, "new", 900)
        assert folder.is_dir()
    assert list(cache.folder.glob("parts/*")) == list(cache.folder.glob("outputs/*")) == []
    assert keys(cache) == {"new"}
    assert {path.name for path in (cache.folder / "locks").iterdir()} == {"new", "room"}


def test_copies_are_read_only_and_one_that_is_not_kept_goes(cache: Cache) -> None:
    held = cache.hold_once("x", fetching(b"x"))
    assert held.path.stat().st_mode & 0o777 == 0o444
    held.close()
    held.close()
    assert keys(cache) == set()


@pytest.mark.parametrize("gone", ["", "copies", "parts", "outputs", "locks"])
def test_what_somebody_removed_of_its_folder_is_made_again(cache: Cache, gone: str) -> None:
    def remove() -> None:
        shutil.rmtree(cache.folder / gone)

    put(cache, "before", 10)
    remove()
    put(cache, "after", 10)
    remove()
    with cache.writing() as folder:
        assert folder.is_dir()
    remove()
    cache.hold_once("x", fetching(b"x")).close()


def test_a_folder_that_is_removed_under_a_fetch_is_no_missing_file(cache: Cache) -> None:
    def fetch(begin: Begin) -> Part:
        shutil.rmtree(cache.folder)
        return begin(1)

    with pytest.raises(OSError, match="was removed just now") as caught:
        cache.hold("key", "x", fetch)
    assert not isinstance(caught.value, FINAL), "so that it is tried again"


def test_room_is_made_when_the_disk_is_smaller_than_the_cache_may_be(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(folder: Path) -> types.SimpleNamespace:
        return types.SimpleNamespace(free=500 - sum(file.stat().st_size for file in folder.glob("copies/*/*")))

    monkeypatch.setattr("blockyard.files.cache.shutil.disk_usage", usage)
    put(cache, "old", 300, 1.0)
    put(cache, "new", 300)
    assert keys(cache) == {"new"}
    with pytest.raises(CacheFull, match=r"600 bytes do not fit on the disk.*BLOCKYARD_FILES_CACHE$"):
        put(cache, "most", 600)


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(ConfigError, match=r"mode 777.*BLOCKYARD_FILES_CACHE"):
        Cache(shared, 1000)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be used"):
        Cache(tmp_path / "file" / "cache", 1000)


def test_so_many_transfers_run_at_once_and_no_more(tmp_path: Path) -> None:
    with slot(tmp_path, 2), slot(tmp_path, 2):
        assert [locks.take_free(tmp_path / f"slot-{place}") for place in range(2)] == [None, None]
        third = threading.Thread(target=lambda: slot(tmp_path, 2).__enter__())
        third.start()
        third.join(0.1)
        assert third.is_alive()
    third.join(60.0)
    assert not third.is_alive()


def test_a_lock_whose_file_was_taken_away_is_taken_anew(tmp_path: Path) -> None:
    first = locks.take(tmp_path / "k")
    taken: list[locks.Lock] = []
    waiting = threading.Thread(target=lambda: taken.append(locks.take(tmp_path / "k")))
    waiting.start()
    first.remove()
    second = locks.take(tmp_path / "k")
    first.close()
    waiting.join(0.1)
    assert not taken, "it waits for the file that is there now"
    second.close()
    waiting.join(60.0)
    assert taken
    taken[0].close()
