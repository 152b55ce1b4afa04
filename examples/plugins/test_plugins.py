"""The suites of Blockyard on this package, once it is installed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from blockyard_plugins_example.radio import UnixRadio
from blockyard_plugins_example.sink import CsvSink

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
