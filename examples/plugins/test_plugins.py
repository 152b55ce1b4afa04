"""The suites of Blockyard on this package, once it is installed."""

import gzip
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from blockyard_plugins_example.attic import AtticStager
from blockyard_plugins_example.radio import UnixRadio
from blockyard_plugins_example.sink import CsvSink

from blockyard.files import File
from blockyard.files.suites import Put, StagerSuite, UrlOf
from blockyard.radios.suites import RadioSuite
from blockyard_monitoring.suites import SinkSuite


class TestUnixRadio(RadioSuite):
    is_reliable = False  # a message that the socket has no room for is the sender's to send again

    @pytest.fixture
    def make(self) -> type[UnixRadio]:
        return UnixRadio


class TestCsvSink(SinkSuite):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], CsvSink]:
        return lambda: CsvSink(str(tmp_path / "tries.csv"))


class TestAtticStager(StagerSuite):
    @pytest.fixture
    def stager(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AtticStager:
        monkeypatch.setenv("BLOCKYARD_ATTIC", str(tmp_path))
        return AtticStager()

    @pytest.fixture
    def url_of(self) -> UrlOf:
        return lambda name: f"attic://shelf/{quote(name)}"

    @pytest.fixture
    def put(self, tmp_path: Path) -> Put:
        def put(name: str, content: bytes) -> None:
            archive = tmp_path / "shelf" / f"{name}.gz"
            archive.parent.mkdir(exist_ok=True)
            archive.write_bytes(gzip.compress(content))

        return put

    def test_it_is_found_by_its_scheme(self) -> None:
        assert File("attic://shelf/x.txt").name == "x.txt"
