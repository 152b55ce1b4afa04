"""The shim is one file for Python 3.8 with nothing but its standard library, and does nothing without an executor."""

import ast
import sys
from pathlib import Path

from blockyard.managed.shim import blockyard_shim

SOURCE = Path(str(blockyard_shim.__file__)).read_text()


def test_it_is_python_3_8() -> None:
    ast.parse(SOURCE, feature_version=(3, 8))


def test_it_imports_the_standard_library_only() -> None:
    found = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(SOURCE))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert found <= sys.stdlib_module_names


def test_without_an_executor_nothing_is_said() -> None:
    silent = blockyard_shim.Reporter("")
    silent.progress(0.5)
    silent.result({"n": 1})
    assert silent.request("name?") is None
