"""Blobs are whole or absent, private to their owner, used again when small, and never mixed up."""

import contextlib
import errno
import mmap
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blockyard import blobs
from blockyard.blobs import COPY_BYTES, Blob, BlobFolder, content_name
from blockyard.errors import BlobMissing, BlobsFull
from blockyard.payload import Parts, dump_value, load_value

SMALL = 100_000
LARGE = COPY_BYTES + 4096


def fill(folder: BlobFolder, count: int) -> None:
    for _ in range(count):
        folder.create(bytes(SMALL))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[BlobFolder]:
    made = BlobFolder(tmp_path / "blobs")
    yield made
    if made.path.exists():
        made.remove()


@pytest.mark.parametrize("size", [0, 1, SMALL, LARGE])
def test_a_blob_has_the_content_it_was_given(folder: BlobFolder, size: int) -> None:
    content = os.urandom(size)
    blob = folder.create(content)
    assert blob == Blob(blob.name, size)
    assert bytes(folder.open(blob.name)) == content


def test_parts_are_written_in_order_even_when_there_are_very_many(folder: BlobFolder) -> None:
    pieces: list[bytes | memoryview] = [bytes([number % 251]) * 7 for number in range(3000)]
    blob = folder.create(Parts(pieces, 7 * 3000))
    assert bytes(folder.open(blob.name)) == b"".join(pieces)


def test_a_write_that_the_kernel_cuts_short_is_continued(folder: BlobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, pieces: write(fd, [bytes(memoryview(pieces[0])[:5])]))
    blob = folder.create(Parts([b"0123456789", b"", b"abcdefg"], 17))
    assert bytes(folder.open(blob.name)) == b"0123456789abcdefg"


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_arrays_over_a_blob_stay_valid_after_it_was_freed_and_others_were_written(
    folder: BlobFolder, size: int
) -> None:
    array = np.arange(size, dtype=np.uint8)
    blob = folder.create(dump_value(array))
    loaded = load_value(folder.open(blob.name))
    folder.unlink(blob.name)
    for _ in range(3):
        folder.create(os.urandom(size))
    assert (loaded == array).all()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_writing_into_a_view_changes_neither_the_blob_nor_other_views(folder: BlobFolder, size: int) -> None:
    blob = folder.create(bytes(size))
    view = folder.open(blob.name)
    view[0] = 1
    assert folder.open(blob.name)[0] == 0


def test_a_large_blob_is_mapped_and_a_small_one_copied(folder: BlobFolder) -> None:
    assert isinstance(folder.open(folder.create(bytes(LARGE)).name).obj, mmap.mmap)
    assert isinstance(folder.open(folder.create(bytes(SMALL)).name).obj, bytearray)


def test_a_large_blob_is_copied_when_no_descriptor_is_left_to_map_it(
    folder: BlobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    blob = folder.create(b"x" * LARGE)
    monkeypatch.setattr(mmap, "mmap", refuse)
    assert bytes(folder.open(blob.name)) == b"x" * LARGE


def test_the_file_of_a_small_freed_blob_is_used_again(folder: BlobFolder) -> None:
    blob = folder.create(b"a" * SMALL)
    inode = (folder.path / blob.name).stat().st_ino
    assert folder.unlink(blob.name)
    after = folder.create(b"b" * (SMALL // 2))
    assert after.name != blob.name
    assert (folder.path / after.name).stat().st_ino == inode
    assert bytes(folder.open(after.name)) == b"b" * (SMALL // 2)


def test_a_file_freed_by_one_process_is_used_again_by_another(tmp_path: Path) -> None:
    ours, theirs = BlobFolder(tmp_path / "b"), BlobFolder(tmp_path / "b")
    blob = ours.create(b"a" * SMALL)
    inode = (ours.path / blob.name).stat().st_ino
    theirs.unlink(blob.name)
    assert inode in [(ours.path / ours.create(b"b" * SMALL).name).stat().st_ino for _ in range(64)]


def test_a_spare_file_that_another_process_took_is_not_missed(tmp_path: Path) -> None:
    ours, theirs = BlobFolder(tmp_path / "b"), BlobFolder(tmp_path / "b")
    blob = ours.create(b"a" * SMALL)
    ours.unlink(blob.name)
    taken = theirs.create(b"t" * SMALL)
    fresh = ours.create(b"f" * SMALL)
    assert bytes(ours.open(taken.name)) == b"t" * SMALL
    assert bytes(ours.open(fresh.name)) == b"f" * SMALL


def test_the_file_of_a_large_freed_blob_is_given_back(folder: BlobFolder) -> None:
    folder.unlink(folder.create(bytes(LARGE)).name)
    assert folder.total_bytes() == 0


def test_no_more_than_a_bounded_number_of_files_is_kept_aside(folder: BlobFolder) -> None:
    made = [folder.create(bytes(SMALL)) for _ in range(blobs.MOST_SPARES + 20)]
    for blob in made:
        folder.unlink(blob.name)
    assert folder.total_bytes() == blobs.MOST_SPARES * SMALL


def test_a_blob_that_does_not_exist_is_missing_and_cannot_be_freed_twice(folder: BlobFolder) -> None:
    blob = folder.create(b"x")
    assert folder.unlink(blob.name)
    assert not folder.unlink(blob.name)
    with pytest.raises(BlobMissing, match=blob.name):
        folder.open(blob.name)


def test_a_reader_that_is_overtaken_finds_out(folder: BlobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = folder.create(b"old" * SMALL)
    read = os.preadv

    def slow_read(fd: int, buffers: Any, offset: int) -> int:
        folder.unlink(blob.name)
        folder.create(b"new" * SMALL)
        return read(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", slow_read)
    with pytest.raises(BlobMissing):
        folder.open(blob.name)


def test_a_reader_is_not_fooled_by_a_name_of_content_that_came_back(
    folder: BlobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, other = b"right" * 1000, b"wrong" * 1000
    name = content_name(content)
    folder.create(content, name)
    read = os.preadv

    def slow_read(fd: int, buffers: Any, offset: int) -> int:
        folder.unlink(name)
        passing = folder.create(other)
        count = read(fd, buffers, offset)
        folder.unlink(passing.name)
        folder.create(content, name)
        return count

    monkeypatch.setattr(os, "preadv", slow_read)
    with contextlib.suppress(BlobMissing):  # as good as the right content: the reader knows
        assert bytes(folder.open(name)) == content


def test_a_reader_whose_file_became_shorter_finds_out(folder: BlobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = folder.create(b"old" * SMALL)
    read = os.preadv

    def slow_read(fd: int, buffers: Any, offset: int) -> int:
        os.truncate(folder.path / blob.name, 10)
        return read(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", slow_read)
    with pytest.raises(BlobMissing):
        folder.open(blob.name)


def test_equal_content_is_one_blob(folder: BlobFolder) -> None:
    packed = dump_value(np.arange(SMALL))
    name = content_name(packed)
    assert isinstance(packed, Parts)
    assert content_name(packed.join()) == name
    assert folder.create(packed, name) == folder.create(packed, name)
    assert folder.names() == [name]


def test_a_name_of_content_can_be_freed_and_come_back(folder: BlobFolder) -> None:
    name = content_name(b"x" * SMALL)
    for _ in range(2):
        folder.create(b"x" * SMALL, name)
        assert bytes(folder.open(name)) == b"x" * SMALL
        folder.unlink(name)
    assert folder.names() == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/etc/passwd", "../x", ".hidden", "a\0b", "x" * 101, "ü", "a\n"]
)
def test_a_name_that_could_lead_elsewhere_is_refused(folder: BlobFolder, name: str) -> None:
    for act in (folder.open, folder.unlink, lambda bad: folder.create(b"x", bad)):
        with pytest.raises(ValueError, match="is no name of a blob"):
            act(name)


def test_a_made_up_name_cannot_be_given(folder: BlobFolder) -> None:
    made_up = folder.create(b"x").name
    with pytest.raises(ValueError, match="made-up"):
        folder.create(b"y", made_up)


def test_nobody_else_may_read(folder: BlobFolder) -> None:
    before = os.umask(0)
    try:
        other = BlobFolder(folder.path.parent / "open")
        blob = other.create(b"secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE(other.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((other.path / blob.name).stat().st_mode) == 0o600


def test_the_quota_is_kept(tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path / "b", max_bytes=3 * SMALL)
    made = [folder.create(bytes(SMALL)) for _ in range(3)]
    with pytest.raises(BlobsFull, match=f"{3 * SMALL} of {3 * SMALL} bytes are in use"):
        folder.create(b"x")
    assert sorted(folder.names()) == sorted(blob.name for blob in made)
    folder.unlink(made[0].name)
    folder.create(bytes(SMALL))


def test_what_is_kept_aside_gives_way_when_the_quota_is_reached(tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path / "b", max_bytes=3 * SMALL)
    for blob in [folder.create(bytes(SMALL)) for _ in range(3)]:
        folder.unlink(blob.name)
    folder.create(bytes(3 * SMALL))


def test_the_quota_counts_what_other_processes_wrote(tmp_path: Path) -> None:
    ours, theirs = (BlobFolder(tmp_path / "b", max_bytes=32 * SMALL) for _ in range(2))
    fill(theirs, 32)
    with pytest.raises(BlobsFull):
        fill(ours, 4)  # a sixteenth is two; it looks before the one after those


def test_a_full_file_system_is_told_and_leaves_nothing_behind(
    folder: BlobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, pieces: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "writev", refuse)
    with pytest.raises(BlobsFull, match="No space left on device"):
        folder.create(bytes(SMALL))
    assert list(folder.path.iterdir()) == [folder.path / ".spare"]


@pytest.mark.parametrize("name", [None, "c0123"])
def test_a_folder_that_was_removed_is_made_anew_and_what_was_in_it_is_missing(
    folder: BlobFolder, name: str | None
) -> None:
    before = folder.create(bytes(SMALL))
    folder.unlink(folder.create(bytes(SMALL)).name)
    shutil.rmtree(folder.path)
    for _ in range(2):
        blob = folder.create(b"after", name)
        assert bytes(folder.open(blob.name)) == b"after"
        assert folder.unlink(blob.name)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    with pytest.raises(BlobMissing, match=before.name):
        folder.open(before.name)
    assert not folder.unlink(before.name)


def test_what_a_dead_process_left_unfinished_is_swept(folder: BlobFolder) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    dead, alive = folder.path / f".unfinished-{child}-1", folder.path / f".unfinished-{os.getpid()}-1"
    dead.write_bytes(b"x")
    alive.write_bytes(b"x")
    assert folder.sweep() == 1
    assert alive.exists()
    assert not dead.exists()
    assert folder.names() == []


def test_a_forked_process_makes_up_other_names(folder: BlobFolder) -> None:
    folder.create(b"first")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, folder.create(b"child").name.encode())
        os._exit(0)
    ours = folder.create(b"parent")
    theirs = os.read(reading, 200).decode()
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    assert bytes(folder.open(ours.name)) == b"parent"
    assert bytes(folder.open(theirs)) == b"child"


def test_a_synced_folder_syncs_the_file_and_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    sync = os.fsync

    def record(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        sync(fd)

    monkeypatch.setattr(os, "fsync", record)
    folder = BlobFolder(tmp_path / "b", sync=True)
    blob = folder.create(b"x")
    assert synced == [str(folder.path / blob.name), str(folder.path)]


def test_removing_the_folder_leaves_nothing(folder: BlobFolder) -> None:
    folder.unlink(folder.create(bytes(SMALL)).name)
    folder.create(b"x")
    folder.remove()
    assert not folder.path.exists()
