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
from collections.abc import Callable, Mapping
from typing import Any, Final

from blockyard.errors import NotLoadable, NotSendable
from blockyard.payload.diagnosis import diagnose, name_of
from blockyard.payload.layout import Buffer, assemble, packed_bytes
from blockyard.payload.values import load_value, pickle_any

ID_BYTES: Final = 16
_ABSENT: Final = object()

Watch = tuple[Callable[[], object], object]
"""Reads a name that a packed function depends on, and what it was bound to when the function was packed."""


def dump_function(function: Callable[..., Any]) -> bytes:
    """Pack a function, class or other callable. Raises `NotSendable` naming what in it cannot be pickled."""
    if not callable(function):
        raise NotSendable(f"a function was expected, found {function!r}, which cannot be called")
    views: list[memoryview] = []
    try:
        return packed_bytes(assemble(pickle_any(function, views), views))
    except Exception as error:  # reducers of the user's objects raise anything
        raise diagnose([(f"function {name_of(function)!r}", function)], error) from error


def load_function(blob: Buffer) -> Callable[..., Any]:
    """Load a packed function. Raises `NotLoadable`, for example when its module cannot be imported here."""
    function = load_value(blob)
    if not callable(function):
        raise NotLoadable(f"a function was expected, found a {type(function).__name__}: the id names something else")
    return function  # type: ignore[no-any-return]  # callable() narrows Any to Any


def function_id(blob: bytes) -> bytes:
    """Return the name of a packed function: 16 bytes of BLAKE2b over its content."""
    return hashlib.blake2b(blob, digest_size=ID_BYTES).digest()


class Registered:
    """A packed function: its id, its bytes, its name for people, and what it depends on by name."""

    __slots__ = ("__weakref__", "blob", "id", "name", "watches")

    def __init__(self, blob: bytes, name: str, watches: tuple[Watch, ...] = ()) -> None:
        self.blob = blob
        self.id = function_id(blob)
        self.name = name
        self.watches = watches

    def is_current(self) -> bool:
        """Tell whether every name that the function depends on still means the same object."""
        return all(read() is seen for read, seen in self.watches)


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
                registered.watches = tuple(watches_of(function))
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


def watches_of(function: object) -> list[Watch]:
    """Return what to look at to notice that a callable packed by value would now be packed differently.

    Follows closures, defaults and globals through other functions and classes of the same modules that go by value.
    """
    watches: list[Watch] = []
    seen: set[int] = set()
    waiting: list[object] = [function]
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        found: list[Watch] = []
        if isinstance(current, types.FunctionType):
            found = _watches_of_function(current)
        elif isinstance(current, functools.partial):
            waiting += [current.func, *current.args, *current.keywords.values()]
        elif isinstance(current, types.MethodType):
            waiting.append(current.__func__)
        elif isinstance(current, type):
            waiting += [part for part in vars(current).values() if isinstance(part, types.FunctionType)]
        watches += found
        waiting += [bound for _, bound in found if _goes_by_value(bound)]
    return watches


def _goes_by_value(value: object) -> bool:
    if not isinstance(value, types.FunctionType | type | functools.partial | types.MethodType):
        return False
    if isinstance(value, functools.partial | types.MethodType):
        return True
    return _is_by_value(value)


def _is_by_value(value: types.FunctionType | type) -> bool:
    try:
        blob = pickle_any(value, [])
    except Exception:  # noqa: BLE001 - it will be named when the function that refers to it is packed
        return False
    return needs_watching(blob, value)


def _watches_of_function(function: types.FunctionType) -> list[Watch]:
    watches: list[Watch] = [
        (functools.partial(getattr, function, "__code__"), function.__code__),
        (functools.partial(getattr, function, "__defaults__"), function.__defaults__),
        (functools.partial(getattr, function, "__kwdefaults__"), function.__kwdefaults__),
    ]
    watches += [(functools.partial(_contents, cell), _contents(cell)) for cell in function.__closure__ or ()]
    names: Mapping[str, object] = function.__globals__
    watches += [
        (functools.partial(names.get, name, _ABSENT), names.get(name, _ABSENT)) for name in _names_in(function.__code__)
    ]
    return watches


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
