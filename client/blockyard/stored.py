"""The stand-in for a value that was put: passed as an argument it becomes the value, on the worker."""

from typing import Any

from blockyard.futures import FutureHome
from blockyard.payload import reduce_dependency


class Stored:
    """Made by `Client.put`. May be an argument of any number of tasks of its client, inside containers too.

    The value is sent once, kept once on each machine, and unpickled once in each worker: tasks that change it change it
    for those that come after them in the same worker. It is freed when this object is.
    """

    __slots__ = ("__weakref__", "content", "home", "size_bytes", "task")

    def __init__(self, home: FutureHome, task: int, size_bytes: int, content: bytes) -> None:
        self.home = home
        self.task = task
        self.size_bytes = size_bytes
        self.content = content
        """A digest of the packed value, by which calls that take it are cached."""

    def __repr__(self) -> str:
        return f"<Stored value of {self.size_bytes} bytes>"

    def done(self) -> bool:
        """Like a future that has ended; but its value is not here any more."""
        return True

    def embedded(self) -> None:
        """Nothing: it travels by name even though it has ended."""
        return

    def __reduce_ex__(self, protocol: object) -> Any:
        return reduce_dependency(self)
