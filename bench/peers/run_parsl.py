"""Parsl's HighThroughputExecutor, tuned for small tasks: no encryption, no monitoring, no strategy, deep prefetch."""

import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

from bench.peers import measures


class Parsl:
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        executor = HighThroughputExecutor(
            label="bench",
            address="127.0.0.1",
            loopback_address="127.0.0.1",
            max_workers_per_node=measures.WORKERS,
            cores_per_worker=0.5,
            prefetch_capacity=100,
            poll_period=1,
            encrypted=False,
            provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
        )
        config = Config(executors=[executor], strategy="none", run_dir=self.folder.name, initialize_logging=False)
        self.kernel = parsl.load(config)
        self.apps: dict[Callable[..., Any], Any] = {}

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        app = self.apps.get(function)
        if app is None:
            app = self.apps[function] = parsl.python_app(function, cache=False)
        return app(*args)

    def results(self, handles: Sequence[Any]) -> list[Any]:
        return [handle.result() for handle in handles]

    def stop(self) -> None:
        self.kernel.cleanup()
        self.folder.cleanup()


if __name__ == "__main__":
    measures.report(Parsl(), "parsl")
