"""The standard library's pool, the yardstick. It knows no dependencies: an argument that is a future is waited for."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from bench.peers import measures


class Pool:
    def start(self) -> None:
        self.pool = ProcessPoolExecutor(measures.WORKERS)

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.pool.submit(function, *(arg.result() if isinstance(arg, Future) else arg for arg in args))

    def results(self, handles: Sequence[Any]) -> list[Any]:
        return [handle.result() for handle in handles]

    def stop(self) -> None:
        self.pool.shutdown()


if __name__ == "__main__":
    measures.report(Pool(), "")
