"""What a client sends, packed: functions once, calls as bodies, large bodies as blobs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from blockyard.blobs import BlobFolder, content_name
from blockyard.options import Options
from blockyard.payload import FunctionCache, Packed, dump_call, dump_items, dump_value, packed_bytes
from blockyard.wire.records import Blob, Body, Function, TaskSpec

_MOST_SPECS: Final = 4096
"""Pairs of options and function that are remembered; a program may make new options for each task."""

Needs = Sequence[Any]
"""Futures and put values found in a call, in the order of their markers."""


class Packer:
    """Packs for one client; may be used by several threads. Until `place` is called every body travels in messages."""

    def __init__(self, python: str) -> None:
        self._python = python
        self._functions = FunctionCache()
        self._specs: dict[tuple[int, bytes], tuple[Options, TaskSpec, Function]] = {}
        self.blobs: BlobFolder | None = None
        self._threshold = 64 * 1024

    def place(self, folder: str, threshold: int) -> None:
        """Bodies of at least `threshold` bytes go into this folder; '' for none."""
        self._threshold = threshold
        if folder and self.blobs is None:
            self.blobs = BlobFolder(Path(folder))

    def spec(self, options: Options, fn: Callable[..., Any]) -> tuple[TaskSpec, Function]:
        """The spec of tasks that call `fn` with these options: the same object for the same two."""
        registered = self._functions.get(fn)
        known = self._specs.get((id(options), registered.id))
        if known is None:
            if len(self._specs) >= _MOST_SPECS:
                self._specs.clear()
            function = Function(registered.id, registered.name, registered.blob, self._python)
            # The options are kept with their spec, so that their identity is not given to others.
            known = self._specs[id(options), registered.id] = (options, options.spec(registered.id), function)
        return known[1], known[2]

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], home: object) -> tuple[Body, Needs]:
        """The body of one call, and what it needs. Raises NotSendable, DependencyError, BlobsFull."""
        packed, needs = dump_call(args, kwargs, home)
        if type(packed) is bytes and len(packed) < self._threshold:
            return packed, needs
        return self.body(packed), needs

    def items(self, items: Sequence[Any], home: object) -> tuple[list[Body], dict[int, Needs]]:
        """The bodies of ``f(item)`` for each item; by place, what they need."""
        packed, needs = dump_items(items, home)
        threshold = self._threshold
        return [one if type(one) is bytes and len(one) < threshold else self.body(one) for one in packed], needs

    def calls(self, calls: Sequence[tuple[Any, ...]], home: object) -> tuple[list[Body], dict[int, Needs]]:
        """The bodies of ``f(*args)`` for each tuple; by place, what they need."""
        both = [self.call(args, {}, home) for args in calls]
        return [body for body, _ in both], {place: needs for place, (_, needs) in enumerate(both) if needs}

    def value(self, value: Any) -> tuple[Body, int]:
        """The body of a value to be put, and its size in bytes. Equal values are one blob."""
        packed = dump_value(value)
        if self.blobs is None or len(packed) < self._threshold:
            return packed_bytes(packed), len(packed)
        blob = self.blobs.create(packed, content_name(packed))
        return Blob(blob.name, blob.size_bytes), len(packed)

    def body(self, packed: Packed) -> Body:
        """A payload as it travels."""
        if self.blobs is None or len(packed) < self._threshold:
            return packed_bytes(packed)
        blob = self.blobs.create(packed)
        return Blob(blob.name, blob.size_bytes)
