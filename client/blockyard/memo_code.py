"""The content of code that goes to workers by name: the source of the module that it is in.

A worker imports its own copy, which is taken to be the same as this one. What the module imports from others does not
count: `cache_version` is for that.
"""

from __future__ import annotations

import functools
import importlib.util
import platform
import sys
from pathlib import Path
from typing import Final

from blockyard.memo_digest import digest

_PYTHON: Final = platform.python_version().encode()
"""What stands for the content of a module that is part of the interpreter."""


@functools.lru_cache(maxsize=4096)
def content_of_module(name: str) -> bytes:
    """A digest of the file of a module; of the interpreter's version when it has none. Nothing is imported.

    Looked at once in the life of a client, whose workers do not see a change of what they have imported either.
    """
    found = _file_of(name)
    content = found.read_bytes() if found is not None else _PYTHON
    return digest("module", content)


def _file_of(name: str) -> Path | None:
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        return _existing(Path(file)) if file else None
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    if not rest:
        return _existing(Path(spec.origin))
    folders = [Path(folder, *rest) for folder in spec.submodule_search_locations or ()]
    candidates = [path for folder in folders for path in (folder / "__init__.py", folder.with_suffix(".py"))]
    return next((path for path in candidates if path.is_file()), None)


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None
