"""Packing and loading of values and of calls: the hot path, about a quarter of a microsecond for small builtins.

A value is packed as itself. A call without keywords is packed as the tuple of its arguments, one with keywords as the
list ``[args, kwargs]``. Functions are not part of a call; see `functions`.
"""

from __future__ import annotations

import pickle
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import cloudpickle

from blockyard.errors import BlockyardError, NotLoadable
from blockyard.parts import Packed
from blockyard.payload import code
from blockyard.payload.dependencies import Collector, Resolve, active
from blockyard.payload.diagnosis import Root, diagnose
from blockyard.payload.layout import INLINE_BYTES, PLAIN_TAG, Buffer, assemble, take_apart

PROTOCOL: Final = 5
IN_BAND_BYTES: Final = 4096
"""Buffers smaller than this stay inside the pickle, where they cost least."""

_dumps = pickle.dumps
_loads = pickle.loads
_registered_by_value = cloudpickle.list_registry_pickle_by_value
_SCALARS: Final = frozenset({int, float, str, bool, complex, type(None)})
_FLAT_ENTRIES: Final = 64
"""Of containers that are looked through for what cannot simply be pickled."""
_NO_DEPENDENCIES: Final[tuple[Any, ...]] = ()


class _OutOfBand:
    """Stands for large `bytes` while they are pickled, which plain pickle would copy into its output."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data

    def __reduce__(self) -> tuple[type, tuple[pickle.PickleBuffer]]:
        return type(self.data), (pickle.PickleBuffer(self.data),)


def _out_of_band(value: object) -> object:
    if (type(value) is bytes or type(value) is bytearray) and len(value) >= INLINE_BYTES:
        return _OutOfBand(value)
    return value


def _is_flat(value: object) -> bool:
    """Whether this is a small container of scalars, or a few bytes, of which plain pickle makes what is wanted."""
    kind = type(value)
    if kind is dict:
        return len(value) <= _FLAT_ENTRIES and _are_scalars(value) and _are_scalars(value.values())  # type: ignore[arg-type, attr-defined]
    if kind is list or kind is tuple:
        return len(value) <= _FLAT_ENTRIES and _are_scalars(value)  # type: ignore[arg-type]
    return kind is bytes and len(value) < INLINE_BYTES  # type: ignore[arg-type]


def _are_scalars(values: Iterable[object]) -> bool:
    return _SCALARS.issuperset(map(type, values))


def _are_few_bytes(values: Sequence[Any]) -> bool:
    return set(map(type, values)) == {bytes} and max(map(len, values)) < INLINE_BYTES


def _roots_of_call(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Root]:
    roots: list[Root] = [(f"argument {number}", value) for number, value in enumerate(args, 1)]
    return roots + [(f"argument {name!r}", value) for name, value in kwargs.items()]


def needs_cloudpickle(pickled: bytes) -> bool:
    """Tell whether a pickle refers to something by a name that only this process knows.

    Pickle writes a class or function as the names of its module and of itself, in plain UTF-8 at its first use in the
    stream, and an opcode is never split by a frame. So a reference into `__main__` always shows as these bytes. Data
    that happen to contain them only lead to the slower way, never to a wrong one. The same goes for modules that the
    user has registered by `cloudpickle.register_pickle_by_value`.
    """
    if b"__main__" in pickled:
        return True
    names = _registered_by_value()
    return bool(names) and any(name.encode() in pickled for name in names)


def pickle_any(value: object, views: list[memoryview], by: code.CodePicklers = code.CodePickler) -> bytes:
    """Pickle by the C pickler if that is right, otherwise `by` one that knows code; large buffers go to `views`.

    Raises whatever cloudpickle raises. With a collector active in this thread dependencies are gathered there.
    """

    def keep(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < IN_BAND_BYTES:
            return True
        views.append(view)
        return False

    collector = active.collector
    try:
        pickled = _dumps(value, PROTOCOL, buffer_callback=keep)
        if not needs_cloudpickle(pickled):
            return pickled
    except Exception:  # noqa: BLE001 - reducers are user code; cloudpickle can do more, and its error is the one
        if collector is not None and collector.failure is not None:
            raise collector.failure from None
    views.clear()
    return code.dumps(by, value, PROTOCOL, keep)


def _pack(value: object, roots: Callable[[], Sequence[Root]], collector: Collector | None) -> Packed:
    views: list[memoryview] = []
    before = active.collector
    active.collector = collector
    try:
        pickled = pickle_any(value, views)
    except Exception as error:  # see pickle_any; what cannot be sent is named by its path
        if collector is not None and collector.failure is not None:
            raise collector.failure from None
        raise diagnose(roots(), error) from error
    finally:
        active.collector = before
    return assemble(pickled, views) if views else pickled


def dump_value(value: object, name: str = "value") -> Packed:
    """Pack one value. Raises `NotSendable` with the path inside it, which begins with `name`."""
    if type(value) in _SCALARS:
        return _dumps(value, PROTOCOL)
    return _pack(_out_of_band(value), lambda: [(name, value)], None)


def dump_call(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], home: object | None = None
) -> tuple[Packed, Sequence[Any]]:
    """Pack the arguments of a call; return the payload and the dependencies found anywhere inside them.

    Dependencies are numbered by their place in the second value, which is empty for most calls. `home` is the client
    that is to resolve them; an unfinished one of another client is refused. Raises `NotSendable`, and
    `DependencyError` when a future among the arguments has already failed.
    """
    if not kwargs:
        for argument in args:
            if type(argument) not in _SCALARS and not _is_flat(argument):
                break
        else:
            return _dumps(args, PROTOCOL), _NO_DEPENDENCIES
    collector = Collector(home)
    call: object
    if kwargs:
        call = [tuple(map(_out_of_band, args)), {name: _out_of_band(value) for name, value in kwargs.items()}]
    else:
        call = tuple(map(_out_of_band, args))
    packed = _pack(call, lambda: _roots_of_call(args, kwargs), collector)
    return packed, collector.found


def dump_items(items: Sequence[Any], home: object | None = None) -> tuple[list[Packed], dict[int, Sequence[Any]]]:
    """Pack one call ``f(item)`` per item; return the payloads in order and, by index, the dependencies found."""
    if _are_scalars(items) or _are_few_bytes(items) or all(map(_is_flat, items)):
        return [_dumps((item,), PROTOCOL) for item in items], {}
    packed: list[Packed] = []
    found: dict[int, Sequence[Any]] = {}
    for index, item in enumerate(items):
        payload, dependencies = dump_call((item,), {}, home)
        packed.append(payload)
        if dependencies:
            found[index] = dependencies
    return packed, found


def load_value(payload: Buffer) -> Any:
    """Load a packed value. Large buffers stay views into `payload`, which lives as long as they do.

    Raises `NotLoadable`, with the original error as its cause.
    """
    try:
        if payload[0] == PLAIN_TAG:
            return _loads(payload)
        pickled, buffers = take_apart(payload)
        return _loads(pickled, buffers=buffers)
    except BlockyardError:
        raise
    except Exception as error:  # unpickling runs user code, which raises anything
        raise _not_loadable(payload, error) from error


def load_call(payload: Buffer, resolve: Resolve | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Load the arguments of a call; `resolve` gives the value for the index of a dependency. Raises `NotLoadable`."""
    before = active.resolve
    active.resolve = resolve
    try:
        call = load_value(payload)
    except NotLoadable as error:
        raise NotLoadable(f"the arguments of the call: {error}") from error.__cause__
    finally:
        active.resolve = before
    if type(call) is tuple:
        return call, {}
    if type(call) is list and len(call) == 2 and type(call[0]) is tuple and type(call[1]) is dict:
        return call[0], call[1]
    raise NotLoadable(f"a call was expected, a tuple of arguments or [args, kwargs]; found a {type(call).__name__}")


def _reader() -> str:
    """Who could not unpickle: the error is shown elsewhere when a worker could not."""
    return f"{sys.executable} on {platform.node()}"


def _not_loadable(payload: Buffer, error: Exception) -> NotLoadable:
    if len(payload) == 0:
        return NotLoadable("an empty payload cannot be loaded; the shortest pickle has 4 bytes")
    hint = "an object in it raised while it was rebuilt, or the bytes are damaged"
    if isinstance(error, ImportError):
        hint = (
            f"install the module for {_reader()} in the same version, or send its code by "
            "cloudpickle.register_pickle_by_value"
        )
    elif isinstance(error, AttributeError):
        hint = f"the module of {_reader()} is of another version"
    return NotLoadable(
        f"a payload of {len(payload)} bytes could not be unpickled: {type(error).__name__}: {error}; {hint}"
    )
