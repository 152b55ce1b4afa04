"""What a `Client` needs of whatever runs its tasks: an interchange, or threads of this process."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from blockyard.futures import FutureHome, TaskFuture
from blockyard.options import Options


class Engine(Protocol):
    """Runs tasks."""

    @property
    def home(self) -> FutureHome:
        """What its futures have in common."""
        ...

    def submit(
        self, options: Options, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> TaskFuture[Any]:
        """One task."""
        ...

    def submit_items(self, options: Options, fn: Callable[..., Any], items: Sequence[Any]) -> list[TaskFuture[Any]]:
        """``fn(item)`` for each item."""
        ...

    def submit_calls(
        self, options: Options, fn: Callable[..., Any], calls: Iterable[tuple[Any, ...]]
    ) -> list[TaskFuture[Any]]:
        """``fn(*args)`` for each tuple of arguments."""
        ...

    def put(self, value: Any) -> Any:
        """A stand-in for a value, to be passed as an argument many times."""
        ...

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """Take no more tasks; idempotent."""
        ...

    def interrupt(self) -> None:
        """Take no more tasks and wait for none: cancel what has not ended, unless it is kept for another client."""
        ...
