"""Bodies of far peers become blobs on their way in and bytes again on their way out."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from blockyard.blobs import BlobFolder
from blockyard.wire import client, manager
from blockyard.wire.records import Assigned, Blob, Bundle, Calls, Group, Need, Outcome, Status, TaskSpec
from blockyard_interchange import bodies

LARGE, SMALL = b"L" * 1000, b"s" * 10
SPEC = TaskSpec(b"f" * 16)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobFolder:
    return BlobFolder(tmp_path / "blobs")


MESSAGES = [
    client.Submit(1, [Group(SPEC, 0, [LARGE, SMALL], [], [], [Need(7, LARGE), Need(8)])]),
    client.Put(1, 2, LARGE),
    client.Outcomes([Outcome(1, 1, Status.DONE, LARGE), Outcome(2, 1, Status.DONE, SMALL)]),
    manager.Outcomes(1, [Outcome(1, 1, Status.JOIN, calls=Calls([Group(SPEC, 0, [LARGE])], []))]),
    manager.Assign([manager.AssignGroup(SPEC, [Assigned(1, 1, LARGE, [Need(2, LARGE), Need(3)])])]),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_large_bodies_go_into_the_folder_and_come_back(message: object, blobs: BlobFolder) -> None:
    inside = bodies.spilled(message, blobs, threshold=100)
    assert "LLL" not in repr(inside)
    assert repr(inside).count("Blob(") == repr(message).count("LLL" * 333)
    assert bodies.inlined(inside, blobs) == message


def test_what_is_small_or_carries_no_body_stays_as_it_is(blobs: BlobFolder) -> None:
    small = client.Outcomes([Outcome(1, 1, Status.DONE, SMALL)])
    assert bodies.spilled(small, blobs, threshold=100) == small
    assert bodies.spilled(client.Ping(), blobs, threshold=100) == client.Ping()
    assert not blobs.names()


def test_the_parts_of_a_bundle_are_written_out_too(blobs: BlobFolder) -> None:
    blob = blobs.create(LARGE)
    outcome = Outcome(1, 1, Status.DONE, Bundle([SMALL, Bundle([Blob(blob.name, blob.size_bytes)])]))
    (found,) = bodies.inlined(client.Outcomes([outcome]), blobs).outcomes
    assert found.body == Bundle([SMALL, Bundle([LARGE])])


def test_what_finds_no_room_in_the_folder_stays_in_its_message(tmp_path: Path) -> None:
    full = BlobFolder(tmp_path / "blobs", max_bytes=1500)
    message = client.Submit(1, [Group(SPEC, 0, [LARGE, LARGE])])
    assert isinstance(message, client.Submit)
    first, second = bodies.spilled(message, full, threshold=100).groups[0].bodies
    assert isinstance(first, Blob)
    assert second == LARGE


def test_a_folder_that_cannot_be_written_leaves_bodies_in_their_message(
    blobs: BlobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    put = client.Put(1, 2, LARGE)
    assert bodies.spilled(put, blobs, threshold=100) == put


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_body_whose_file_is_gone_stays_a_name(message: object, blobs: BlobFolder) -> None:
    inside = bodies.spilled(message, blobs, threshold=100)
    shutil.rmtree(blobs.path)
    assert bodies.inlined(inside, blobs) == inside
