"""What a client sends, packed: functions once, calls as bodies, large bodies as blobs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from blockyard.blobs import BlobFolder, content_name
from blockyard.errors import RequestTooLarge
from blockyard.memo_code import content_of_module
from blockyard.options import Options
from blockyard.payload import FunctionCache, Packed, dump_call, dump_items, dump_value, packed_bytes
from blockyard.wire.records import Blob, Body, Function, TaskSpec, body_bytes

_MOST_SPECS: Final = 4096
"""Pairs of options and function that are remembered; a program may make new options for each task."""

MAX_INLINE_BYTES: Final = 128 * 1024 * 1024
"""Half of a frame on the wire; a larger body needs a blob folder."""

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
        content_of_module.cache_clear()  # its workers import modules as they are now

    def place(self, folder: str, threshold: int) -> None:
        """Bodies of at least `threshold` bytes go into this folder; '' for none."""
        self._threshold = threshold
        if folder and self.blobs is None:
            self.blobs = BlobFolder(Path(folder))

    def spec(self, options: Options, fn: Callable[..., Any]) -> tuple[TaskSpec, Function]:
        """The spec of tasks that call `fn` with these options: the same object for the same two."""
        if options.cache:  # its memo was made from what it refers to now, also what was changed in place
            self._functions.forget(fn)
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

    def items(self, items: Sequence[Any], home: object, most_bytes: int) -> tuple[list[Body], dict[int, Needs]]:
        """The bodies of ``f(item)`` for the first items, one at least, that have so many bytes together; by place, what
        they need."""
        packed, needs = dump_items(items, home)
        if sum(map(len, packed)) > most_bytes:
            packed = packed[: _fitting(packed, most_bytes)]
            needs = {place: found for place, found in needs.items() if place < len(packed)}
        threshold = self._threshold
        return [one if type(one) is bytes and len(one) < threshold else self.body(one) for one in packed], needs

    def calls(
        self, calls: Sequence[tuple[Any, ...]], home: object, most_bytes: int
    ) -> tuple[list[Body], dict[int, Needs]]:
        """The bodies of ``f(*args)`` for the first tuples, one at least, that have so many bytes; as `items`."""
        bodies: list[Body] = []
        needs: dict[int, Needs] = {}
        for args in calls:
            body, found = self.call(args, {}, home)
            if found:
                needs[len(bodies)] = found
            bodies.append(body)
            most_bytes -= len(body) if type(body) is bytes else body_bytes(body)
            if most_bytes <= 0:
                break
        return bodies, needs

    def value(self, value: Any) -> tuple[Body, int, str]:
        """The body of a value to be put, its size in bytes, and the name of its content. Equal values are one blob."""
        packed = dump_value(value)
        name = content_name(packed)
        if self.blobs is None or len(packed) < self._threshold:
            return self.body(packed), len(packed), name
        blob = self.blobs.create(packed, name)
        return Blob(blob.name, blob.size_bytes), len(packed), name

    def body(self, packed: Packed) -> Body:
        """A payload as it travels. Raises RequestTooLarge, BlobsFull."""
        if self.blobs is None or len(packed) < self._threshold:
            if len(packed) > MAX_INLINE_BYTES:
                raise RequestTooLarge(
                    f"the arguments have {len(packed)} bytes; to an interchange on another machine at most "
                    f"{MAX_INLINE_BYTES} can be sent at once: pass smaller ones, or the address of a file that "
                    "workers can read"
                )
            return packed_bytes(packed)
        blob = self.blobs.create(packed)
        return Blob(blob.name, blob.size_bytes)


def _fitting(packed: Sequence[Packed], most_bytes: int) -> int:
    """How many of the first ones have so many bytes together; 1 at least."""
    for count, one in enumerate(packed):
        most_bytes -= len(one)
        if most_bytes < 0:
            return max(1, count)
    return len(packed)
