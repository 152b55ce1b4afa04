"""Futures inside arguments: while a call is packed they become numbered markers; where it is loaded, their values.

An object takes part by having `embedded` and `home` (see `Dependency`) and by letting `__reduce_ex__` return
`reduce_dependency(self)`. Because this hooks into pickling itself, it finds futures at any depth, in containers,
dataclasses and closures, and costs nothing where there are none. Who waits for whom is decided in the interchange.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pickle import PickleBuffer
from typing import Any, Protocol

from blockyard.errors import NotSendable

Resolve = Callable[[int], object]
"""Given the index of a dependency of the call that is being loaded, returns its value."""


class Dependency(Protocol):
    """Something that may stand in an argument in place of a value that is not here yet."""

    @property
    def home(self) -> object:
        """The client that can resolve it."""

    def embedded(self) -> bytes | memoryview | None:
        """Return the packed value if it is already here, `None` if it must be waited for.

        Raises `DependencyError` when there will never be a value.
        """


class Collector:
    """Gathers the dependencies of one call while it is being pickled, in order of first appearance."""

    __slots__ = ("_index", "failure", "found", "home")

    def __init__(self, home: object | None) -> None:
        self.home = home
        self.found: list[Any] = []
        self.failure: Exception | None = None
        self._index: dict[int, int] | None = None

    def index_of(self, dependency: Dependency) -> int:
        """Return the number of a dependency, the same one for the same object."""
        if self._index is None:
            self._index = {}
        index = self._index.get(id(dependency))
        if index is None:
            index = self._index[id(dependency)] = len(self.found)
            self.found.append(dependency)
        return index


class _Active(threading.local):
    collector: Collector | None = None
    resolve: Resolve | None = None


active = _Active()
"""What the current thread is doing: packing with a collector, loading with a resolver, or neither."""


def reduce_dependency(dependency: Dependency) -> tuple[Callable[..., object], tuple[object, ...]]:
    """Return what a dependency pickles as: its value when it has one, else a marker that the worker resolves.

    Raises `TypeError` outside of `dump_call`, where nobody could resolve the marker.
    """
    collector = active.collector
    if collector is None:
        kind = type(dependency).__name__
        raise TypeError(
            f"a {kind} cannot be pickled except as (a part of) an argument of submit or map; "
            f"pickle its .result() instead, and in a task return blockyard.join(fn, items) to hand over later results"
        )
    try:
        body = dependency.embedded()
        if body is None:
            if collector.home is not None and dependency.home is not collector.home:
                raise NotSendable(
                    f"{dependency!r} belongs to another client and is not finished; this client cannot wait for it: "
                    f"pass its .result(), or submit both through one client"
                )
            return resolved, (collector.index_of(dependency),)
    except Exception as error:  # the object that holds it may catch anything while it is reduced, so keep it
        collector.failure = error
        raise
    return unpacked, (PickleBuffer(body),)


def resolved(index: int) -> object:
    """Return the value of the dependency with this index; called by the unpickler, by name."""
    if active.resolve is None:
        raise RuntimeError(f"this payload waits for its dependency {index}; load it by load_call(…, resolve=…)")
    return active.resolve(index)


def unpacked(body: bytes | bytearray | memoryview) -> object:
    """Return the value of an embedded payload; called by the unpickler, by name."""
    from blockyard.payload.values import load_value  # the two modules need each other at run time only

    return load_value(body)
