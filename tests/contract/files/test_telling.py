"""Each file that a try stages is told to the history, in a way that shows where its time went and no secrets."""

from hashlib import sha256
from pathlib import Path

import pytest

from blockyard import File, Output, this_try
from blockyard.errors import StagingError
from blockyard.files.staging import call_staged
from blockyard.this_try import Way
from blockyard.wire import monitoring
from blockyard.wire.records import Lease, Part
from tests.fixtures.file_servers import FtpPlace

LEASE = Lease(7 << 32, 3)


class Around:
    """A worker that keeps what is told."""

    def __init__(self) -> None:
        self.told: list[monitoring.File] = []

    def lease(self) -> Lease:
        return LEASE

    def part(self) -> Part | None:
        return None

    def tell(self, *records: monitoring.FromWorker, way: Way = Way.KEPT) -> bool:
        assert way is Way.KEPT, "it must not be missed"
        for record in records:
            assert isinstance(record, monitoring.File)
            self.told.append(record)
        return True


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Around:
    one = Around()
    monkeypatch.setattr(this_try, "around", one)
    monkeypatch.setenv("BLOCKYARD_FILES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BLOCKYARD_FILES_BACKOFF", "0.01")
    return one


def test_a_file_is_fetched_once_and_then_the_nodes_copy(around: Around, ftp: FtpPlace) -> None:
    (ftp.folder / "table.csv").write_bytes(b"12345")
    named = sha256(b"12345").hexdigest()
    for known in ("", "", named):
        call_staged([File(f"{ftp.url}/table.csv", sha256=known)], lambda: None)
    assert [(one.kind, one.way, one.size_bytes, one.sha256) for one in around.told] == [
        ("input", "fetched", 5, ""), ("input", "cached", 5, ""), ("input", "fetched", 5, named),
    ]  # fmt: skip
    assert {(one.task, one.epoch) for one in around.told} == {(LEASE.task, LEASE.epoch)}
    assert around.told[0].took_us > 0
    assert all(one.path.endswith("/table.csv") and "ss word" not in one.path for one in around.told)
    assert "p%40ss" not in around.told[0].path


def test_what_is_used_in_place_and_what_is_stored_is_told(around: Around, tmp_path: Path) -> None:
    source, target = tmp_path / "in.txt", tmp_path / "made" / "out.txt"
    source.write_text("abc")
    output = Output(target)
    call_staged([File(source), output], lambda: output.path.write_text("abcd"))
    assert [(one.kind, one.way, one.size_bytes) for one in around.told] == [
        ("input", "in place", 3), ("output", "stored", 4),
    ]  # fmt: skip
    assert around.told[1].path.endswith("made/out.txt")


def test_what_came_before_one_that_could_not_be_had_is_told(around: Around, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("abc")
    with pytest.raises(StagingError, match="not-there"):
        call_staged([File(tmp_path / "there"), File(tmp_path / "not-there")], lambda: None)
    assert [one.size_bytes for one in around.told] == [3]
