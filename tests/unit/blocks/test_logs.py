"""The logs of blocks: private, and read from the end."""

import os
from pathlib import Path

import pytest

from blockyard.blocks.logs import create_log, read_tail


@pytest.mark.parametrize(
    "content, limit, tail",
    [
        (b"", 10, ""),
        (b"short", 10, "short"),
        (b"0123456789", 4, "6789"),
        ("aäö".encode(), 3, "ö"),
        ("aäö".encode(), 4, "äö"),
        (b"\xff\xfe!", 10, "\ufffd\ufffd!"),
        ("ä".encode(), 10, "ä"),
    ],
)
def test_the_tail_is_whole_characters_within_the_limit(tmp_path: Path, content: bytes, limit: int, tail: str) -> None:
    log = tmp_path / "log"
    log.write_bytes(content)
    assert read_tail(log, limit) == tail


def test_a_log_that_is_not_there_has_no_tail(tmp_path: Path) -> None:
    assert read_tail(tmp_path / "nonesuch", 10) == ""


def test_a_log_is_made_private_in_folders_made_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "log"
    os.close(create_log(path))
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_an_old_log_of_the_same_name_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("of another life")
    os.close(create_log(path))
    assert path.read_text() == ""
