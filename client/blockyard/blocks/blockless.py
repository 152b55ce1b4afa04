"""The handle on a pool that has no blocks: threads of this process, or workers that others start.

It has every member of `executor.BlockExecutor`; those about blocks do nothing and say so by their values, so that
what drives one handle can drive any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future, InvalidStateError
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from blockyard.blocks.engine import ResourceSpecification, checked_specification
from blockyard.blocks.faults import ScalingRefused
from blockyard.blocks.monitoring_info import BlockInfo
from blockyard.blocks.states import JobStatus
from blockyard.ids import BlockId, TaskId

T = TypeVar("T")


class BlocklessExecutor:
    """A pool without blocks, on top of any `concurrent.futures.Executor`, which it shuts down with itself.

    `workers_per_node`: how many calls `inner` runs at a time.
    """

    def __init__(
        self, inner: Executor, *, workers_per_node: int, label: str = "default", run_dir: Path | None = None
    ) -> None:
        self._inner = inner
        self._workers = workers_per_node
        self._label = label
        self._run_dir = run_dir
        self._lock = Lock()
        self._tasks: dict[TaskId, Future[Any]] = {}
        self._numbers = count()
        self._exception: BaseException | None = None

    @property
    def label(self) -> str:
        return self._label

    @property
    def provider(self) -> None:
        """There is none."""
        return

    @property
    def run_dir(self) -> Path | None:
        return self._run_dir

    @property
    def workers_per_node(self) -> int:
        return self._workers

    @property
    def status_polling_interval(self) -> float:
        """0: there is nothing to ask."""
        return 0.0

    @property
    def scaling_enabled(self) -> bool:
        return False

    @property
    def error_management_enabled(self) -> bool:
        return False

    def start(self) -> None:
        """Do nothing: the workers are there."""

    def shutdown(self, *, wait: bool = True, timeout: float = 10.0) -> None:
        """Shut the inner executor down; calls that have not started are cancelled. `timeout` does not matter here."""
        self._inner.shutdown(wait=wait, cancel_futures=True)

    def submit(
        self,
        func: Callable[..., T],
        resource_specification: ResourceSpecification | None = None,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Future[T]:
        """Submit `func(*args, **kwargs)`, whatever the specification asks for. Raises `executor_exception` if set."""
        if self._exception is not None:
            raise self._exception.with_traceback(None)
        checked_specification(resource_specification)
        # A future of our own: one of `inner` that is failed from outside would end the thread that works on it.
        future: Future[T] = Future()
        place = self._inner.submit(_run, future, func, args, kwargs)
        number = TaskId(next(self._numbers))
        with self._lock:
            self._tasks[number] = future
        future.add_done_callback(lambda _: self._forget(number))
        place.add_done_callback(lambda ended: _pass_on_cancel(ended, future))
        return future

    def outstanding(self) -> int:
        """How many tasks have not ended."""
        return len(self.tasks)

    @property
    def tasks(self) -> Mapping[TaskId, Future[Any]]:
        """The futures that have not ended. A copy."""
        with self._lock:
            return dict(self._tasks)

    def scale_out(self, blocks: int = 1) -> list[BlockId]:
        """Start no block, and name none."""
        return []

    def scale_in(self, blocks: int | BlockId | Iterable[BlockId] = 1) -> list[BlockId]:
        """End no block, and name none."""
        return []

    def status(self) -> dict[BlockId, JobStatus]:
        """There is no block."""
        return {}

    def launch_command(self, block: BlockId) -> tuple[str, ...]:
        """Raise ScalingRefused: no command starts what there is not."""
        raise ScalingRefused(f"pool {self._label} has no blocks, so nothing starts block {block!r}")

    def handle_errors(self, status: Mapping[BlockId, JobStatus]) -> bool:
        """Return True: there is nothing to judge, neither here nor elsewhere."""
        return True

    def set_bad_state_and_fail_all(self, exception: BaseException) -> None:
        """Fail all futures that have not ended and refuse later submits. The first exception stays.

        A call that runs cannot be stopped; its future is failed all the same.
        """
        if self._exception is not None:
            return
        self._exception = exception
        for future in self.tasks.values():
            with suppress(InvalidStateError):  # it ended, or was cancelled, just now
                future.set_exception(exception)

    @property
    def bad_state_is_set(self) -> bool:
        return self._exception is not None

    @property
    def executor_exception(self) -> BaseException | None:
        return self._exception

    def create_monitoring_info(self, status: Mapping[BlockId, JobStatus]) -> list[BlockInfo]:
        """There is no block to tell of."""
        return []

    def monitor_resources(self) -> bool:
        """Whether a task's use of memory and processor can be told from others': no, they may share a process."""
        return False

    def _forget(self, number: TaskId) -> None:
        with self._lock:
            self._tasks.pop(number, None)


def _run(future: Future[T], func: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    with suppress(InvalidStateError):  # failed by `set_bad_state_and_fail_all` meanwhile
        if future.done() or not future.set_running_or_notify_cancel():
            return
        try:
            result = func(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - it is the task's, and travels in its future
            future.set_exception(error)
        else:
            future.set_result(result)


def _pass_on_cancel(place: Future[None], future: Future[Any]) -> None:
    if place.cancelled() and future.cancel():
        future.set_running_or_notify_cancel()
