"""Fixtures of the blocks' contract tests."""

import secrets
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from blockyard.blocks.executor import BlockExecutor
from blockyard.blocks.pool import LocalPool
from blockyard.blocks.provider import LocalProvider
from blockyard.ids import BlockId
from tests.contract.blocks.fake_engine import FakeEngine
from tests.contract.blocks.sshd import SSHServer, running_server

MakeExecutor = Callable[..., BlockExecutor]
"""From a `LocalPool`, and further keywords of `BlockExecutor`, to a started executor."""


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHServer]:
    """Debian's sshd on loopback; only for tests marked `needs_sshd`."""
    with running_server(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    """The fake engine, ended after the executors that use it."""
    engine = FakeEngine(tmp_path)
    yield engine
    engine.close()


@pytest.fixture
def make_executor(engine: FakeEngine, tmp_path: Path) -> Iterator[MakeExecutor]:
    """Makes started executors over the fake engine and real processes; all are shut down in the end."""
    made: list[BlockExecutor] = []
    numbers = count()

    def make(pool: LocalPool, kind: type[BlockExecutor] = BlockExecutor, **more: Any) -> BlockExecutor:
        provider = LocalProvider(owner=f"test-{secrets.token_hex(4)}", log_dir=tmp_path / "logs", grace=2.0)
        keywords: dict[str, Any] = {"engine": engine, "provider": provider, "pool": pool, "name_block": _name}
        executor = kind(**{**keywords, **more})
        made.append(executor)
        executor.start()
        return executor

    def _name(number: int) -> BlockId:
        return BlockId(f"block-{next(numbers)}")

    yield make
    for executor in made:
        executor.shutdown()
