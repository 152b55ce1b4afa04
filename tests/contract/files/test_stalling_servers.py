"""Servers that take a connection and stall: each try ends, and the error names the URL, what came, what to do."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard import File
from blockyard.errors import StagingError
from blockyard.files import pace
from blockyard.files.pace import Stalled
from blockyard.files.stagers.ftp import FtpStager
from blockyard.files.staging import stage
from tests.fixtures.stalling_servers import Stalling, Way, stalling_ftp, stalling_web

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def web_that_stalls() -> Iterator[Stalling]:
    with stalling_web() as server:
        yield server


@pytest.fixture(scope="module")
def ftp_that_stalls() -> Iterator[Stalling]:
    with stalling_ftp() as server:
        yield server


@pytest.fixture(autouse=True)
def little_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "SILENT_SECONDS", 0.3)
    for name, value in (("CACHE", str(tmp_path / "cache")), ("TRIES", "2"), ("BACKOFF", "0.01")):
        monkeypatch.setenv(f"BLOCKYARD_FILES_{name}", value)


SENTENCES = [
    (Way.SILENT, r"the server was silent for 0\.3 s;"),
    (Way.HALF, r"(the server was silent for|only 500 bytes came in) 0\.3 s, 500 of 1000 bytes had come;"),
    (Way.TRICKLE, r"only \d+ bytes came in 0\.3 s, \d+ of 1000 bytes had come;"),
    (Way.TRICKLED_ANSWER, r"the server was silent for 0\.3 s;"),
]


@pytest.mark.parametrize("way, sentence", SENTENCES)
def test_of_the_web(web_that_stalls: Stalling, way: Way, sentence: str) -> None:
    url = f"http://127.0.0.1:{web_that_stalls.port}/{way}"
    with pytest.raises(StagingError, match=sentence) as caught:
        stage([File(url)])
    assert str(caught.value).startswith(f"stage in {url} (2 tries): Stalled: ")
    assert "see whether the server is well" in str(caught.value)


@pytest.mark.parametrize("way, sentence", SENTENCES)
def test_of_ftp(ftp_that_stalls: Stalling, way: Way, sentence: str) -> None:
    with pytest.raises(StagingError, match=sentence) as caught:
        stage([File(f"ftp://{way}:x@127.0.0.1:{ftp_that_stalls.port}/file")])
    assert "(2 tries): Stalled: " in str(caught.value)
    assert "see whether the server is well" in str(caught.value)


def test_of_ftp_one_that_reads_nothing(ftp_that_stalls: Stalling, tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(20_000_000))
    with pytest.raises(Stalled):
        FtpStager().store(file, f"ftp://{Way.DEAF}:x@127.0.0.1:{ftp_that_stalls.port}/file")


def test_what_comes_fast_enough_may_take_long(monkeypatch: pytest.MonkeyPatch, ftp_that_stalls: Stalling) -> None:
    monkeypatch.setattr(pace, "LEAST_BYTES", 2)
    into = io.BytesIO()
    with pytest.raises(ConnectionError):  # the server hangs up without a last word
        FtpStager().fetch(f"ftp://{Way.TRICKLE}:x@127.0.0.1:{ftp_that_stalls.port}/file", into)
    assert len(into.getvalue()) == 1000
