"""Runs the engines' suite on the fake engine, so that what is tested with the fake holds for real ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard.blocks.engine import Engine
from blockyard.blocks.suites import EngineSuite
from tests.contract.blocks.fake_engine import FakeEngine


class TestFakeEngine(EngineSuite):
    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        engine = FakeEngine(tmp_path)
        yield engine
        engine.close()
