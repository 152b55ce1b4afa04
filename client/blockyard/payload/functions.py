"""Functions: packed once, known by the hash of their content, and packed anew when what they refer to was rebound.

What a user may expect, and what `docs` state:

- A function that workers can import goes by name; the worker's own copy of the module is run, as in a process pool.
- Any other (lambda, nested, from ``__main__`` or a notebook) goes by value: its code, closure, defaults and the globals
  it uses, and those of functions like it that it calls.
- The state that counts is that at `submit`. Rebinding a global, a closure variable or a default is noticed at the next
  `submit`. Changing an object in place (appending to a global list) is not: pass such a thing as an argument.
- Bound methods and objects with ``__call__`` carry state that is meant to change, so they are packed at every submit.

The same content has the same id, so packing again sends nothing again.
"""

from __future__ import annotations

import functools
import hashlib
import types
import weakref
from collections.abc import Callable
from typing import Any, Final

from blockyard.errors import NotLoadable, NotSendable
from blockyard.parts import packed_bytes
from blockyard.payload.code import CodePickler, CodePicklers
from blockyard.payload.diagnosis import diagnose, name_of
from blockyard.payload.layout import Buffer, assemble
from blockyard.payload.values import load_value, pickle_any

ID_BYTES: Final = 16
_ABSENT: Final = object()


def dump_function(function: Callable[..., Any], by: CodePicklers = CodePickler) -> bytes:
    """Pack a function, class or other callable; `by`: its code. Raises `NotSendable` naming what cannot be pickled."""
    if not callable(function):
        raise NotSendable(f"a function was expected, found {function!r}, which cannot be called")
    views: list[memoryview] = []
    try:
        return packed_bytes(assemble(pickle_any(function, views, by), views))
    except Exception as error:  # reducers of the user's objects raise anything
        raise diagnose([(f"function {name_of(function)!r}", function)], error) from error


def load_function(blob: Buffer) -> Callable[..., Any]:
    """Load a packed function. Raises `NotLoadable`, for example when its module cannot be imported here."""
    try:
        function = load_value(blob)
    except NotLoadable as error:
        raise NotLoadable(f"the function: {error}") from error.__cause__
    if not callable(function):
        raise NotLoadable(f"a function was expected, found a {type(function).__name__}: the id names something else")
    return function  # type: ignore[no-any-return]  # callable() narrows Any to Any


def function_id(blob: bytes) -> bytes:
    """Return the name of a packed function: 16 bytes of BLAKE2b over its content."""
    return hashlib.blake2b(blob, digest_size=ID_BYTES).digest()


class Registered:
    """A packed function: its id, its bytes, its name for people, and what it depended on when it was packed."""

    __slots__ = ("__weakref__", "blob", "id", "name", "watches")

    def __init__(self, blob: bytes, name: str, watches: tuple[Watch, ...] = ()) -> None:
        self.blob = blob
        self.id = function_id(blob)
        self.name = name
        self.watches = watches

    def is_current(self) -> bool:
        """Tell whether every name that the function depends on still means the same object."""
        return all(watch.is_current() for watch in self.watches)


class FunctionCache:
    """The functions that one client has packed, by identity; an entry goes when its function does.

    May be used by several threads: the worst that a race does is to pack a function twice, with the same id.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Any], Registered]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, function: Callable[..., Any]) -> Registered:
        """Return the packed function, packing it if it is new or depends on something that was rebound."""
        entry = self._entries.get(id(function))
        if entry is not None and entry[0]() is function and (not entry[1].watches or entry[1].is_current()):
            return entry[1]
        registered = Registered(dump_function(function), name_of(function))
        if _is_packed_once(function):
            if needs_watching(registered.blob, function):
                registered.watches = watches_of(function)
            self._remember(function, registered)
        return registered

    def forget(self, function: Callable[..., Any]) -> None:
        """Drop a function, so that the next `get` packs it anew with what it refers to."""
        self._entries.pop(id(function), None)

    def _remember(self, function: Callable[..., Any], registered: Registered) -> None:
        key = id(function)
        entries = self._entries

        def drop(gone: weakref.ref[Any]) -> None:
            held = entries.get(key)
            if held is not None and held[0] is gone:
                del entries[key]

        try:
            entries[key] = (weakref.ref(function, drop), registered)
        except TypeError:  # no weak references to this kind of callable: pack it each time
            return


def _is_packed_once(function: object) -> bool:
    if isinstance(function, types.BuiltinFunctionType):  # also what [].append is, which carries its list
        return isinstance(function.__self__, types.ModuleType | type(None))
    return isinstance(function, types.FunctionType | type | functools.partial)


def needs_watching(blob: bytes, function: object) -> bool:
    """Tell whether a packed callable carries code or state by value, so that rebinding a name may change it."""
    module = getattr(function, "__module__", None) or ""
    qualified = name_of(function)
    # By reference the pickle holds little more than the two names; a code object adds at least its name table.
    return isinstance(function, functools.partial) or len(blob) > 64 + len(module.encode()) + len(qualified.encode())


class Watch:
    """What a function was bound to, by every name that it refers to, when it was packed.

    Holds the function and, where they allow it, those objects weakly, because an entry of the cache must not keep its
    function alive through a cycle. The function itself holds them, so one that is gone was rebound.
    """

    __slots__ = ("_cells", "_defaults", "_function", "_names")

    def __init__(self, function: types.FunctionType) -> None:
        self._function = weakref.ref(function)
        self._defaults = (function.__code__, function.__defaults__, function.__kwdefaults__)
        self._cells = tuple(_held(_contents(cell)) for cell in function.__closure__ or ())
        bound = function.__globals__
        self._names = tuple((name, *_held(bound.get(name, _ABSENT))) for name in _names_in(function.__code__))

    def is_current(self) -> bool:
        """Tell whether the function refers to the same objects still."""
        function = self._function()
        if function is None:
            return False
        code, defaults, keyword_defaults = self._defaults
        if function.__code__ is not code or function.__defaults__ is not defaults:
            return False
        if function.__kwdefaults__ is not keyword_defaults:
            return False
        bound = function.__globals__
        for name, seen, weak in self._names:
            if (seen() if weak else seen) is not bound.get(name, _ABSENT):
                return False
        for (seen, weak), cell in zip(self._cells, function.__closure__ or (), strict=True):
            if (seen() if weak else seen) is not _contents(cell):
                return False
        return True

    def bound(self) -> list[object]:
        """Return the objects that the function refers to."""
        pairs = [*self._cells, *((seen, weak) for _, seen, weak in self._names)]
        return [seen() if weak else seen for seen, weak in pairs]


def watches_of(function: object) -> tuple[Watch, ...]:
    """Return what to look at to notice that a callable packed by value would now be packed differently.

    Follows closures and globals through other functions and classes that go by value.
    """
    watches: list[Watch] = []
    seen: set[int] = set()
    waiting: list[object] = [function]
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, types.FunctionType):
            watch = Watch(current)
            watches.append(watch)
            waiting += [bound for bound in watch.bound() if _goes_by_value(bound)]
        elif isinstance(current, functools.partial):
            waiting += [current.func, *current.args, *current.keywords.values()]
        elif isinstance(current, types.MethodType):
            waiting.append(current.__func__)
        elif isinstance(current, type):
            waiting += [part for part in vars(current).values() if isinstance(part, types.FunctionType)]
    return tuple(watches)


def _goes_by_value(value: object) -> bool:
    if isinstance(value, functools.partial | types.MethodType):
        return True
    if not isinstance(value, types.FunctionType | type):
        return False
    try:
        blob = pickle_any(value, [])
    except Exception:  # noqa: BLE001 - it will be named when the function that refers to it is packed
        return False
    return needs_watching(blob, value)


def _held(value: object) -> tuple[Any, bool]:
    """Return a weak reference to `value`, or itself if there is none, and which of the two it is."""
    try:
        return weakref.ref(value), True
    except TypeError:
        return value, False


def _contents(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return _ABSENT


def _names_in(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names_in(constant)
    return names
