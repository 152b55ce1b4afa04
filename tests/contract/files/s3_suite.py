"""The stager of S3, in an environment of its own: `test_s3` runs this there, for s3fs and kubernetes do not agree."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import pytest

from blockyard.errors import StagingError
from blockyard.files import File, Output, carrier, pace
from blockyard.files.pace import Stalled
from blockyard.files.port import stager_of
from blockyard.files.stagers.s3 import S3Stager
from blockyard.files.staging import stage
from blockyard.files.suites import Put, StagerSuite, UrlOf
from tests.fixtures.file_servers import s3_server
from tests.fixtures.stalling_servers import Stalling, Way, stalling_web


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of a bucket, in an S3 that the environment names."""
    with s3_server() as port, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield "s3://bucket"


class TestS3Stager(StagerSuite):
    @pytest.fixture
    def stager(self, s3: str) -> S3Stager:
        return S3Stager()

    @pytest.fixture
    def url_of(self, s3: str) -> UrlOf:
        return lambda name: f"{s3}/{name}"

    @pytest.fixture
    def put(self, s3: str) -> Put:
        return lambda name, content: (
            boto3.client("s3").put_object(Bucket=s3.removeprefix("s3://"), Key=name, Body=content) and None
        )

    def test_a_bucket_that_there_is_not_and_a_prefix_are_told(self, stager: S3Stager, s3: str, put: Put) -> None:
        put("folder/x", b"x")
        with pytest.raises(FileNotFoundError):
            stager.store(Path(__file__), "s3://nobodys/x")
        with pytest.raises(IsADirectoryError):
            stager.look(f"{s3}/folder")


def test_a_task_writes_and_the_next_one_reads(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKYARD_FILES_CACHE", str(tmp_path / "cache"))
    output = Output(f"{s3}/a folder/ü b.txt")
    for text in ("first", "second"):
        with closing(stage([output])) as staged:
            Path(output).write_text(text)
            staged.take_out()
        file = File(output.url)
        with closing(stage([file])):
            assert Path(file).read_text() == text


@pytest.fixture
def stalling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stalling]:
    with stalling_web() as server:
        for name, value in (
            ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}"), ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("BLOCKYARD_FILES_TRIES", "2"),
            ("BLOCKYARD_FILES_BACKOFF", "0.01"), ("BLOCKYARD_FILES_CACHE", str(tmp_path / "cache")),
        ):  # fmt: skip
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(pace, "SILENT_SECONDS", 0.3)
        stager_of.cache_clear()
        stager = stager_of("s3")
        assert isinstance(stager, S3Stager)
        stager._files.connect()  # which takes longer than this server may be silent
        yield server
        stager_of.cache_clear()


@pytest.mark.parametrize(
    "way, sentence",
    [
        (Way.SILENT, r"the server was silent for 0\.3 s;"),
        (Way.HALF, r"(silent for|only 500 bytes came in) 0\.3 s, 500 of 1000 bytes had come;"),
        (Way.TRICKLE, r"only \d+ bytes came in 0\.3 s, \d+ of 1000 bytes had come;"),
        (Way.TRICKLED_ANSWER, r"the server was silent for 0\.3 s;"),
    ],
)
def test_a_server_that_stalls_is_asked_as_often_as_we_try(stalling: Stalling, way: Way, sentence: str) -> None:
    with pytest.raises(StagingError, match=sentence) as caught:
        stage([File(f"s3://bucket/{way}")])
    assert str(caught.value).startswith(f"stage in s3://bucket/{way} (2 tries): Stalled: ")
    assert "see whether the server is well" in str(caught.value)
    assert max(stalling.asked.values(), default=0) <= 2, "no more often than we try"


@pytest.mark.parametrize("way", [Way.SILENT, Way.DEAF])
@pytest.mark.parametrize("size", [100, 8_000_000])
def test_one_that_takes_nothing_ends_a_store_in_time(
    stalling: Stalling, way: Way, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "SILENT_SECONDS", 3.0)
    monkeypatch.setattr(carrier, "_LEAST_STORED", 100_000_000)
    (tmp_path / "file").write_bytes(bytes(size))
    with pytest.raises(Stalled):
        stager_of("s3").store(tmp_path / "file", f"s3://bucket/{way}")
    assert stalling.asked == {("PUT", way): 1}
