"""An entry is made once, whole or not at all."""

import threading
from pathlib import Path

import pytest

from tests.cluster.cache import MAKING, entry


def write(folder: Path) -> None:
    (folder / "part").write_text("whole")


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        write(folder)

    assert entry(tmp_path, "one", make) == entry(tmp_path, "one", make)
    assert len(made) == 1
    assert (tmp_path / "one" / "part").read_text() == "whole"


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        entry(tmp_path, "one", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".lock-one"]


def test_what_a_killed_run_left_is_made_anew(tmp_path: Path) -> None:
    half = tmp_path / f"{MAKING}one-xyz"
    half.mkdir()
    (half / "part").write_text("ha")
    assert (entry(tmp_path, "one", write) / "part").read_text() == "whole"
    assert not half.exists()


def test_who_comes_second_waits_for_the_first(tmp_path: Path) -> None:
    started, go_on, made = threading.Event(), threading.Event(), []

    def slow(folder: Path) -> None:
        made.append(folder)
        started.set()
        assert go_on.wait(30)
        write(folder)

    results: list[Path] = []
    threads = [threading.Thread(target=lambda: results.append(entry(tmp_path, "one", slow))) for _ in range(2)]
    threads[0].start()
    assert started.wait(30)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert results == [tmp_path / "one"] * 2
    assert len(made) == 1
