"""What a call is known by in the cache: a digest of its function and its arguments, by content.

`id_for_memo` says what a value is known by, one function for each type. Others are added by `register_memo_id`, or by a
distribution with an entry point of group ``blockyard.memo_ids`` that names a function without arguments, which
registers; it is called when a type turns up that is not known. A type that nobody knows is an error that names the path
to it: what is not known by its content is never taken for known, and never for new.

A future counts by what the task is known by whose result it will be, so that task must be cached itself.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import inspect
import pathlib
import struct
import threading
import types
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from blockyard import plugins
from blockyard.errors import ConfigError, NotCacheable
from blockyard.files.file import File, Output
from blockyard.futures import TaskFuture
from blockyard.memo_code import content_of_module
from blockyard.memo_digest import digest
from blockyard.options import Options
from blockyard.payload import dump_function, function_id
from blockyard.payload.code import ContentPickler
from blockyard.payload.functions import needs_watching
from blockyard.stored import Stored
from blockyard.suggestion import nearest

T = TypeVar("T")


class _Sources(threading.local):
    """The memos of the futures met while this thread looks at a call."""

    found: dict[bytes, None] | None = None


_sources = _Sources()


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


@functools.singledispatch
def id_for_memo(value: object) -> bytes:
    """16 bytes that only values of the same type and content have.

    Raises NotCacheable, naming the path inside the value, for what has a type that nobody has registered.
    """
    if isinstance(value, enum.Enum):
        # Flags have no name when they are empty, or hold bits that nobody named.
        return digest("enum", _name(type(value)).encode(), (value.name or repr(value.value)).encode())
    if (
        dataclasses.is_dataclass(value)
        and not isinstance(value, type)
        and id_for_memo.dispatch(type(value)) is _unknown
    ):
        return _of_fields(value, [field.name for field in dataclasses.fields(value)])
    if isinstance(value, msgspec.Struct):
        return _of_fields(value, value.__struct_fields__)
    if type(value).__module__.partition(".")[0] == "numpy" and _learn_numpy():
        return id_for_memo(value)
    before = id_for_memo.dispatch(type(value))
    load_plugins()
    if (known := id_for_memo.dispatch(type(value))) is not before:
        return known(value)
    raise _not_known(value)


def _not_known(value: object) -> NotCacheable:
    return NotCacheable(
        f"a {_name(type(value))} is not known by its content; say by what it is with "
        f"blockyard.memo.register_memo_id({type(value).__name__}, …), or leave it out with ignore_for_cache"
    )


_unknown: Final = id_for_memo.dispatch(object)


def register_memo_id(kind: type[T], parts: Callable[[T], object]) -> None:
    """Let values of a type, and of its subclasses, be known by what `parts` makes of them: a tuple, bytes, a text …

    Two values for which it returns the same must do the same to every function.
    """

    def known(value: T) -> bytes:
        return digest("registered", _name(type(value)).encode(), _of(parts(value), ""))

    id_for_memo.register(kind)(known)


def memos_of(
    options: Options, function: Callable[..., Any], calls: Iterable[tuple[tuple[Any, ...], Mapping[str, Any]]]
) -> list[list[bytes]]:
    """For each call what its result is known by, and what the results are known by that are among its arguments.

    Raises NotCacheable with the path to what has no known content, and ConfigError when `ignore_for_cache` names a
    parameter that the function has not.
    """
    name = getattr(function, "__qualname__", type(function).__qualname__)
    signature = _signature_of(function)
    _check_ignored(options, signature, name)
    head = digest("call", _of_callable(function, f"function {name}"), options.cache_version.encode())
    before, made = _sources.found, []
    try:
        for args, kwargs in calls:
            _sources.found = {}
            parts = [head]
            for label, value in _named(signature, args, kwargs):
                if label not in options.ignore_for_cache:
                    parts += [label.encode(), _of(value, f"{name}: argument {label}")]
            made.append([digest("memo", *parts), *_sources.found])
    finally:
        _sources.found = before
    return made


def _of_callable(function: Callable[..., Any], step: str) -> bytes:
    """As an argument it would count by its content; that it is called makes the code of its class count, too."""
    if id_for_memo.dispatch(type(function)) in _CODE:
        return _of(function, step)
    return digest("callable", _of(function, step), _of(type(function), step))


def _named(
    signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[tuple[str, Any]]:
    """The arguments by the names of their parameters, so that ``f(1)`` and ``f(x=1)`` are the same."""
    if signature is not None:
        try:
            return list(signature.bind(*args, **kwargs).arguments.items())
        except TypeError:
            pass  # the call will fail with just that; what fails is not cached
    return [*((str(number), value) for number, value in enumerate(args, 1)), *sorted(kwargs.items())]


def _signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none
        return None


def _check_ignored(options: Options, signature: inspect.Signature | None, name: str) -> None:
    if options.ignore_for_cache and signature is None:
        raise ConfigError(f"ignore_for_cache: the parameters of {name} are not known by name")
    for one in options.ignore_for_cache:
        if signature is not None and one not in signature.parameters:
            raise ConfigError(f"ignore_for_cache: {name} has no parameter {one!r}{nearest(one, signature.parameters)}")


def _of(value: object, step: str) -> bytes:
    """The id of a part; what is wrong deeper inside is named by the whole path."""
    try:
        return id_for_memo(value)
    except NotCacheable as error:
        raise NotCacheable(error.reason, step + error.path) from None
    except RecursionError:
        raise NotCacheable("it contains itself, or is nested too deeply", step) from None


def _of_fields(value: object, fields: Sequence[str]) -> bytes:
    """Raises NotCacheable for one that has more than its fields, other than what `cached_property` made of them."""
    for name in getattr(value, "__dict__", {}).keys() - set(fields):
        if not isinstance(getattr(type(value), name, None), functools.cached_property):
            raise NotCacheable(f"an attribute that is no field of {_name(type(value))}; make it one", f".{name}")
    parts = [(name, _of(getattr(value, name), f".{name}")) for name in fields]
    return digest(
        "fields", _name(type(value)).encode(), *(part for name, found in parts for part in (name.encode(), found))
    )


def _exact(kind: type[T]) -> Callable[[Callable[[T], bytes]], Callable[[T], bytes]]:
    """Register for a built-in type, and not for its subclasses: what those have besides is not known."""

    def register(known: Callable[[T], bytes]) -> Callable[[T], bytes]:
        def checked(value: T) -> bytes:
            return known(value) if type(value) is kind else _of_subclass(value)

        id_for_memo.register(kind)(checked)
        return known

    return register


def _of_subclass(value: Any) -> bytes:
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _of_fields(value, value._fields)
    return _unknown(value)


@_exact(type(None))
def _none(_: None) -> bytes:
    return digest("None")


@_exact(bool)
def _bool(value: bool) -> bytes:  # noqa: FBT001 - the value itself
    return digest("bool", b"1" if value else b"0")


@_exact(int)
def _int(value: int) -> bytes:
    return digest("int", value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


@_exact(float)
def _float(value: float) -> bytes:
    return digest("float", struct.pack(">d", value))


@_exact(complex)
def _complex(value: complex) -> bytes:
    return digest("complex", struct.pack(">dd", value.real, value.imag))


@_exact(str)
def _str(value: str) -> bytes:
    return digest("str", value.encode("utf-8", "surrogatepass"))


@_exact(bytes)
def _bytes(value: bytes) -> bytes:
    return digest("bytes", value)


@_exact(bytearray)
def _bytearray(value: bytearray) -> bytes:
    return digest("bytearray", bytes(value))


@_exact(list)
def _list(value: list[Any]) -> bytes:
    return digest("list", *(_of(part, f"[{place}]") for place, part in enumerate(value)))


@_exact(tuple)
def _tuple(value: tuple[Any, ...]) -> bytes:
    return digest("tuple", *(_of(part, f"[{place}]") for place, part in enumerate(value)))


@_exact(dict)
def _dict(value: dict[Any, Any]) -> bytes:
    """Equal ones are the same, in whatever order they were filled."""
    pairs = sorted((_of(key, f"[key {key!r}]"), _of(part, f"[{key!r}]")) for key, part in value.items())
    return digest("dict", *(part for pair in pairs for part in pair))


@_exact(set)
def _set(value: set[Any]) -> bytes:
    return digest("set", *sorted(_of(part, f"{{{part!r}}}") for part in value))


@_exact(frozenset)
def _frozenset(value: frozenset[Any]) -> bytes:
    return digest("frozenset", *sorted(_of(part, f"{{{part!r}}}") for part in value))


@_exact(range)
def _range(value: range) -> bytes:
    return digest("range", *(_int(part) for part in (value.start, value.stop, value.step)))


@_exact(slice)
def _slice(value: slice) -> bytes:
    return digest("slice", *(_of(getattr(value, part), f".{part}") for part in ("start", "stop", "step")))


def _as_text(value: object) -> bytes:
    return digest("text", _name(type(value)).encode(), str(value).encode("utf-8", "surrogateescape"))


def _of_time(value: dt.datetime | dt.time) -> bytes:
    """With its zone, not just what that makes of this moment."""
    if type(value.tzinfo).__repr__ is object.__repr__:
        raise NotCacheable(_not_known(value.tzinfo).reason, ".tzinfo")
    return digest("time", _name(type(value)).encode(), repr(value).encode())


_exact(dt.datetime)(_of_time)
_exact(dt.time)(_of_time)
for _kind in (dt.date, dt.timedelta, decimal.Decimal, fractions.Fraction, uuid.UUID):
    _exact(_kind)(_as_text)
id_for_memo.register(pathlib.PurePath)(_as_text)


@id_for_memo.register(types.FunctionType)
@id_for_memo.register(types.BuiltinFunctionType)
@id_for_memo.register(type)
def _function(value: Any) -> bytes:
    """One that goes by value by its code and what that refers to; one that goes by name by its module's source, too."""
    owner = getattr(value, "__self__", None)
    if isinstance(value, types.BuiltinFunctionType) and not isinstance(owner, types.ModuleType | type(None)):
        return digest("method", value.__name__.encode(), _of(owner, ".__self__"))
    blob = dump_function(value, ContentPickler)
    content = b"" if needs_watching(blob, value) else content_of_module(value.__module__)
    return digest("function", function_id(blob), content)


@id_for_memo.register(types.MethodType)
def _method(value: types.MethodType) -> bytes:
    owner = value.__self__
    parts = [_of(value.__func__, ".__func__"), _of(owner, ".__self__")]
    if not isinstance(owner, type):
        parts.append(_of(type(owner), ".__self__"))  # its other methods
    return digest("method", *parts)


@id_for_memo.register(functools.partial)
def _partial(value: functools.partial[Any]) -> bytes:
    parts = (_of(value.func, ".func"), _of(value.args, ".args"), _of(value.keywords, ".keywords"))
    return digest("partial", *parts)


_CODE: Final = (_function, _method, _partial)


@id_for_memo.register(types.ModuleType)
def _module(value: types.ModuleType) -> bytes:
    return digest("module", value.__name__.encode(), content_of_module(value.__name__))


@id_for_memo.register(TaskFuture)
def _future(value: TaskFuture[Any]) -> bytes:
    if not value.memo:
        raise NotCacheable(
            "a future of a task that is not cached itself; submit that one with options(cache=True), too, or pass its "
            "result()"
        )
    if _sources.found is not None:
        _sources.found[value.memo] = None
    return digest("result", value.memo)


@id_for_memo.register(Stored)
def _stored(value: Stored) -> bytes:
    return digest("put", value.content)


@id_for_memo.register(File)
def _file(value: File) -> bytes:
    if isinstance(value, Output):
        raise NotCacheable("an Output: what is found writes no file; return what is to be kept, or do not cache this")
    return digest("file", value.url.encode(), value.sha256.encode())


def _learn_numpy() -> bool:
    """Register numpy's arrays and scalars, which are here if a value of it is. False when they are known already."""
    import numpy as np  # whoever passes one has it imported

    if id_for_memo.dispatch(np.ndarray) is not _unknown:
        return False

    def array(value: Any) -> bytes:
        if type(value) is not np.ndarray:
            return _unknown(value)
        if value.dtype.hasobject:
            return digest("array", str(value.dtype).encode(), str(value.shape).encode(), _of(value.tolist(), ""))
        described = np.lib.format.dtype_to_descr(value.dtype)
        flat = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        return digest("array", repr(described).encode(), str(value.shape).encode(), flat.data)

    id_for_memo.register(np.ndarray)(array)
    for kind in (np.generic, np.str_, np.bytes_):  # the last two are Python's str and bytes first
        id_for_memo.register(kind)(lambda value: digest("scalar", array(np.asarray(value))))
    id_for_memo.register(np.dtype)(lambda value: digest("dtype", repr(np.lib.format.dtype_to_descr(value)).encode()))
    return True


@functools.cache
def load_plugins() -> None:
    """Have the types registered that other distributions know. Raises PluginError."""
    for name in plugins.registered(plugins.MEMO_IDS):
        register: Any = plugins.load(plugins.MEMO_IDS, name)
        register()
