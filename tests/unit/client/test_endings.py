"""A result that cannot be opened is its own future's error: the thread that completes all of them goes on."""

from pathlib import Path

import pytest

from blockyard.blobs import BlobFolder
from blockyard.ending import Ending
from blockyard.errors import BlobMissing
from blockyard.session.endings import ending_of
from blockyard.wire.records import Blob, Body, Bundle, Outcome, Status


@pytest.mark.parametrize("body", [Blob("gone", 9), Bundle([b"here", Blob("gone", 9)])])
@pytest.mark.parametrize("is_near", [True, False])
def test_a_result_whose_file_is_gone(tmp_path: Path, body: Body, is_near: bool) -> None:
    how, error = ending_of(Outcome(7, 1, Status.DONE, body), BlobFolder(tmp_path / "blobs") if is_near else None)
    assert how is Ending.EXCEPTION
    with pytest.raises(BlobMissing, match=r"blob '?gone"):
        raise error


def test_a_result_that_the_system_refuses_to_open(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path / "blobs")
    (blobs.path / "odd").symlink_to("odd")
    how, error = ending_of(Outcome(7, 1, Status.DONE, Blob("odd", 9)), blobs)
    assert how is Ending.EXCEPTION
    with pytest.raises(OSError, match="symbolic links"):
        raise error
