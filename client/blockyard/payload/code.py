"""Code by value: with the file that it is from, for tracebacks; or without its place, for what counts as the same.

cloudpickle from 3.1.3 on forgets the file, and a traceback from a worker would show neither its name nor its lines.
"""

import functools
import io
import os
import types
from collections import ChainMap
from collections.abc import Callable
from typing import Any, Final

import cloudpickle

_FILE: Final = 10
"""The place of the file's name among the arguments of `types.CodeType`."""
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
    """What compares code: where in which file it stands does not count."""

    dispatch_table = ChainMap({types.CodeType: _without_place}, cloudpickle.Pickler.dispatch_table)


CodePicklers = type[CodePickler] | type[ContentPickler]


def dumps(by: CodePicklers, value: object, protocol: int, keep: Callable[..., bool]) -> bytes:
    """As `cloudpickle.dumps`. `keep`: says of each buffer whether it stays in the pickle."""
    with io.BytesIO() as file:
        by(file, protocol=protocol, buffer_callback=keep).dump(value)
        return file.getvalue()
