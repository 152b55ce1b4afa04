"""Code by value: with the file that it is from, for tracebacks; or without its place, for what counts as the same.

cloudpickle from 3.1.3 on forgets the file, and a traceback from a worker would show neither its name nor its lines.
"""

import functools
import io
import os
import pickle
import sys
import types
from collections import ChainMap
from collections.abc import Callable
from typing import Any, Final

import cloudpickle
from cloudpickle.cloudpickle import _DYNAMIC_CLASS_TRACKER_BY_ID

from blockyard.memo_code import content_of_module

_FILE: Final = 10
"""The place of the file's name among the arguments of `types.CodeType`."""
_PLACES_IN_CLASSES: Final = ("__firstlineno__", "__static_attributes__")
"""What Python 3.13 and later add to each; the second is made from the code, which counts."""
_WITHOUT_SOURCE: Final = sys.stdlib_module_names | {"cloudpickle"}
_reduce = cloudpickle.Pickler.dispatch_table[types.CodeType]


@functools.lru_cache(maxsize=1024)
def _kept_file(name: str) -> str:
    """The same object for each use of a name, so that equal code becomes equal bytes.

    Cells of notebooks are named anew each time they run, and their files are nowhere: the same code stays the same.
    """
    return name if os.path.isfile(name) else "<dynamic-code>"


def _with_file(code: types.CodeType) -> tuple[Any, ...]:
    make, arguments = _reduce(code)
    return make, (*arguments[:_FILE], _kept_file(code.co_filename), *arguments[_FILE + 1 :])


def _without_place(code: types.CodeType) -> tuple[Any, ...]:
    make, arguments = _reduce(code.replace(co_firstlineno=1, co_linetable=b""))
    return make, (*arguments[:_FILE], "", *arguments[_FILE + 1 :])


class CodePickler(cloudpickle.Pickler):  # type: ignore[misc]  # it is untyped
    """What sends code."""

    dispatch_table = ChainMap({types.CodeType: _with_file}, cloudpickle.Pickler.dispatch_table)


class ContentPickler(cloudpickle.Pickler):  # type: ignore[misc]  # it is untyped
    """What compares code: where in which file it stands does not count, nor what is another in each process.

    What it refers to by name counts by the source of its module, too.

    Its pickles are made for comparing alone; nobody can load them.
    """

    dispatch_table = ChainMap({types.CodeType: _without_place}, cloudpickle.Pickler.dispatch_table)

    def persistent_id(self, value: Any) -> object:
        """Sets have no order here, equal texts are one whichever objects they are, and random numbers do not count."""
        kind = type(value)
        if kind is str:
            return b"" if value in _DYNAMIC_CLASS_TRACKER_BY_ID else b"=" + value.encode("utf-8", "surrogatepass")
        if kind is set or kind is frozenset:
            return kind.__name__, *sorted(_content_of(part) for part in value)
        if kind is types.ModuleType and value.__name__ in sys.modules:
            return value.__name__, _source_of(value.__name__)
        return None

    def reducer_override(self, value: object) -> Any:
        """As cloudpickle does, without the place of what goes by value."""
        made = super().reducer_override(value)
        match made:
            case (_, arguments, _, *_) if isinstance(value, types.FunctionType):
                arguments[1].pop("__file__", None)
            case (_, _, (members, _), *_):
                for name in _PLACES_IN_CLASSES:
                    members.pop(name, None)
            case _ if isinstance(value, types.FunctionType | type) and value.__module__ in sys.modules:
                return getattr, (value.__module__, value.__qualname__, _source_of(value.__module__))
        return made


def _source_of(module: str) -> bytes:
    """Nothing for what is part of the interpreter, and for cloudpickle's own functions, which stand in each pickle."""
    return b"" if module.partition(".")[0] in _WITHOUT_SOURCE else content_of_module(module)


def _content_of(part: object) -> bytes:
    return dumps(ContentPickler, part, pickle.HIGHEST_PROTOCOL, lambda _: True)


CodePicklers = type[CodePickler] | type[ContentPickler]


def dumps(by: CodePicklers, value: object, protocol: int, keep: Callable[..., bool]) -> bytes:
    """As `cloudpickle.dumps`. `keep`: says of each buffer whether it stays in the pickle."""
    with io.BytesIO() as file:
        by(file, protocol=protocol, buffer_callback=keep).dump(value)
        return file.getvalue()
