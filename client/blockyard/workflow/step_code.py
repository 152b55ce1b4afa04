"""Code that a run brings along, as wheels: here while its functions run, and nothing of another run's.

A wheel is staged as files are, by its hash where it has one, so that a node has it once. Python imports from it as it
is, so it holds no compiled code. One process imports from the wheels of one run at a time: when others are asked for,
what was imported from them, or stands in the way of what is in the new ones, is forgotten and imported anew.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from blockyard.errors import ConfigError
from blockyard.files import File
from blockyard.files.urls import shown
from blockyard.workflow.plans import Code

T = TypeVar("T")
_Wheel = tuple[str, int, int]
"""Path, time of change and size: another of these is other code."""


class _Here:
    """What this process imports from."""

    wheels: tuple[_Wheel, ...] = ()


def has_code() -> bool:
    """Whether this process imports from wheels now."""
    return bool(_Here.wheels)


def with_code(code: Sequence[Code], call: Callable[[], T], on_change: Callable[[], None]) -> T:
    """Make a call that imports from these wheels. `on_change`: what was imported before may not be used any more.

    Raises StagingError; ConfigError for what is no wheel.
    """
    if not code:
        if _Here.wheels:
            _use((), on_change)
        return call()
    from blockyard.files.staging import stage  # for those runs alone

    files = [File(one.file, sha256=one.sha256) for one in code]
    with contextlib.closing(stage(files)):
        _use(tuple(_looked_at(file) for file in files), on_change)
        return call()


def _looked_at(file: File) -> _Wheel:
    path = os.fspath(file)
    found = os.stat(path)
    return path, found.st_mtime_ns, found.st_size


def _use(wheels: tuple[_Wheel, ...], on_change: Callable[[], None]) -> None:
    if wheels == _Here.wheels:
        return
    on_change()
    before, _Here.wheels = [path for path, _, _ in _Here.wheels], ()
    now = [path for path, _, _ in wheels]
    names = {name for path in now for name in _top_names(path)}
    if "blockyard" in names:
        raise ConfigError("code: a wheel brings the package 'blockyard'; workers have their own")
    for path in {*before, *now}:
        sys.path_importer_cache.pop(path, None)
    sys.path[:] = [*now, *(one for one in sys.path if one not in before)]
    _forget(before, names)
    importlib.invalidate_caches()
    _Here.wheels = wheels


def _forget(paths: Iterable[str], names: set[str]) -> None:
    """Modules that came from these paths, or are called as what is to come."""
    begins = tuple(f"{path}{os.sep}" for path in paths)
    for name, module in list(sys.modules.items()):
        origin = getattr(getattr(module, "__spec__", None), "origin", None) or ""
        if name.partition(".")[0] in names or (begins and str(origin).startswith(begins)):
            del sys.modules[name]


def _top_names(path: str) -> set[str]:
    """Of the modules that a wheel brings."""
    try:
        with zipfile.ZipFile(path) as wheel:
            entries = [name for name in wheel.namelist() if name.endswith(".py")]
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigError(f"code: {shown(path)} is no wheel: {error}") from error
    return {name.partition("/")[0].removesuffix(".py") for name in entries}
