"""Which folders are left over: those that look like ours, are ours, are old enough, and are locked by nobody."""

import fcntl
import os
from pathlib import Path

import pytest

from blockyard import leftovers
from blockyard.errors import ConfigError
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


@pytest.mark.parametrize("run", ["a/../..", "../elsewhere", "/tmp/elsewhere", "..", "a/b", "a\0b"])
def test_the_name_of_a_run_does_not_lead_out_of_the_state_folder(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="is no name for a run"):
        leftovers.open_folder(run, None)
    assert list(tmp_path.iterdir()) == []


def test_a_run_in_a_folder_of_its_own_has_any_name(tmp_path: Path) -> None:
    assert leftovers.open_folder("a/b", tmp_path / "here") == tmp_path / "here"
