"""The stager of S3, in an environment of its own: `test_s3` runs this there, for s3fs and kubernetes do not agree."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import pytest

from blockyard.files import File, Output
from blockyard.files.stagers.s3 import S3Stager
from blockyard.files.staging import stage
from blockyard.files.suites import Put, StagerSuite, UrlOf
from tests.fixtures.file_servers import s3_server


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
