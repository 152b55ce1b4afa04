"""The functions that a worker has: bodies as they came, and callables once they were needed.

Which ones to keep is decided by the manager, which sends a function before the first frame that names it and says
which ones to drop; see `blockyard_worker.core.workers`.
"""

from collections.abc import Callable, Iterable
from typing import Any

from blockyard.payload import load_function
from blockyard.wire.records import Function
from blockyard_worker.worker import bound


class Functions:
    """By their id."""

    def __init__(self) -> None:
        self._bodies: dict[bytes, bytes] = {}
        self._loaded: dict[bytes, Callable[..., Any]] = {}

    def update(self, functions: Iterable[Function], dropped: Iterable[bytes]) -> None:
        """Forget some functions, then take others."""
        for name in dropped:
            del self._bodies[name]
            self._loaded.pop(name, None)
        for function in functions:
            self._bodies[function.id] = function.body

    def load(self, name: bytes) -> Callable[..., Any]:
        """The callable. Raises NotLoadable, each time anew, when it does not unpickle."""
        function = self._loaded.get(name)
        if function is None:
            function = load_function(self._bodies[name])
            bound.give(function)
            self._loaded[name] = function
        return function
