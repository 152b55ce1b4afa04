"""From every scheme and to every one that can be written, by tasks in real workers; S3 is in `test_s3`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard import Client, File, Output
from blockyard.errors import StagingError
from blockyard.files.port import stager_of
from blockyard.files.staging import stage
from tests.fixtures.file_servers import FtpPlace

WITHIN = 60.0
NAME = "a folder/ü b.txt"


@pytest.fixture(scope="module")
def client(
    cache: Path, ftp: FtpPlace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Client, dict[str, str]]]:
    """One whose workers know all of these, and where a file is to be in each."""
    claim = tmp_path_factory.mktemp("claim")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLOCKYARD_FILES_CLAIMS", f"data={claim}")
        places = {
            "file": str(tmp_path_factory.mktemp("file") / NAME),
            "pvc": f"pvc://data/{NAME}",
            "ftp": f"{ftp.url}/{NAME}",
        }
        with Client.local(workers=1) as client:
            yield client, places


@pytest.mark.parametrize("scheme", ["file", "pvc", "ftp"])
def test_what_a_task_writes_the_next_one_reads(client: tuple[Client, dict[str, str]], scheme: str) -> None:
    (submitter, places) = client

    def write(text: str, output: Output) -> tuple[Output, str]:
        Path(output).write_text(text)
        return output, Path(output).name

    def read(written: tuple[File, str]) -> tuple[str, str]:
        return Path(written[0]).read_text(), written[1]

    for text in ("first", "second"):
        written = submitter.submit(write, text, Output(places[scheme]))
        assert submitter.submit(read, written).result(WITHIN) == (text, "ü b.txt")


@pytest.mark.parametrize("url, extra", [("http://127.0.0.1:9/x", "files"), ("s3://bucket/x", "s3")])
def test_what_is_not_installed_is_said_with_the_line_to_install_it(
    url: str, extra: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stager_of.cache_clear()
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(StagingError, match=rf"not installed.*fsspec.*pip install 'blockyard\[{extra}\]'"):
        stage([File(url)])
