"""The standard library's pool in the place of a client, so that the main job's graph is tested without an engine."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any


class PoolRunner:
    """`put` hands the value back; what has futures among its arguments is submitted by a thread that waits for them.

    Threads are taken in order of submission, so what a thread waits for is always ahead of it: none waits for ever.
    """

    def __init__(self, pool: ProcessPoolExecutor, waiting: ThreadPoolExecutor) -> None:
        self.pool = pool
        self.waiting = waiting

    def put(self, value: Any) -> Any:
        return value

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        if any(isinstance(arg, Future | list) for arg in args):
            return self.waiting.submit(lambda: self.pool.submit(function, *map(result_of, args)).result())
        return self.pool.submit(function, *args)

    def starmap(self, function: Callable[..., Any], calls: Iterable[Iterable[Any]]) -> list[Future[Any]]:
        return [self.submit(function, *args) for args in calls]


def result_of(argument: Any) -> Any:
    if isinstance(argument, Future):
        return argument.result()
    return [result_of(item) for item in argument] if isinstance(argument, list) else argument
