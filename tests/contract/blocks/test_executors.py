"""Runs the executors' suite on the handle with blocks and on the one without."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from blockyard.blocks.blockless import BlocklessExecutor
from blockyard.blocks.executor import BlockExecutor
from blockyard.blocks.pool import LocalPool
from blockyard.blocks.suites import ExecutorSuite
from tests.contract.blocks.conftest import MakeExecutor


class TestBlockExecutor(ExecutorSuite):
    @pytest.fixture
    def executor(self, make_executor: MakeExecutor) -> BlockExecutor:
        return make_executor(LocalPool(max_blocks=2, strategy="none"))


class TestBlocklessExecutor(ExecutorSuite):
    @pytest.fixture
    def executor(self) -> Iterator[BlocklessExecutor]:
        executor = BlocklessExecutor(ThreadPoolExecutor(2), workers_per_node=2)
        executor.start()
        yield executor
        executor.shutdown()
