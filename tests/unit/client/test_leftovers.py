"""Which folders are left over: those that look like ours, are ours, are old enough, and are locked by nobody."""

import fcntl
import os
from pathlib import Path

from blockyard import leftovers
from blockyard.state_folder import LOCK

LATER = 1e12
"""A time at which every folder is old."""


def _a_folder(root: Path, name: str = "blockyard-abc", *, lock: bool = True) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "journal.db").touch()
    if lock:
        (folder / LOCK).touch()
    return folder


def test_a_folder_whose_lock_nobody_holds_is_removed_with_what_it_has_elsewhere(tmp_path: Path) -> None:
    folder = _a_folder(tmp_path)
    cleared: list[Path] = []
    assert leftovers.remove(tmp_path, cleared.append, now=LATER) == [folder]
    assert cleared == [folder]
    assert not folder.exists()


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    folder = _a_folder(tmp_path)
    lock = os.open(folder / LOCK, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert leftovers.remove(tmp_path, _never, now=LATER) == []
    finally:
        os.close(lock)
    assert (folder / "journal.db").exists()


def test_what_is_young_or_has_no_lock_or_another_name_is_left_alone(tmp_path: Path) -> None:
    young, no_lock, other = (
        _a_folder(tmp_path),
        _a_folder(tmp_path, "blockyard-x", lock=False),
        _a_folder(tmp_path, "x"),
    )
    assert leftovers.remove(tmp_path, _never) == []
    assert leftovers.remove(tmp_path, lambda _: None, now=LATER) == [young]
    assert no_lock.exists()
    assert other.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = _a_folder(tmp_path, "precious")
    (tmp_path / "blockyard-link").symlink_to(target)
    assert leftovers.remove(tmp_path, _never, now=LATER) == []
    assert (target / "journal.db").exists()


def _never(folder: Path) -> None:
    raise AssertionError(f"{folder} is not left over")
