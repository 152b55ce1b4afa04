"""Whether the Python of a step defines a function `main`, and whether that takes the arguments of the step.

Nothing is run: what a decorator makes of `main`, or a later line puts in its place, is not seen.
"""

from __future__ import annotations

import ast
import functools
import warnings
from collections.abc import Collection, Iterator
from typing import NamedTuple

from blockyard.workflow.reading import Fault, nearest


@functools.lru_cache(maxsize=1024)
def source_fault(source: str) -> str:
    """Why this is no Python that defines `main`; '' when it is."""
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(source, "<source>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"is no Python: {error}"
    tree = ast.parse(source)
    if mains := _mains(tree):
        unnamed = mains[-1].args.posonlyargs
        return f"main takes {unnamed[0].arg!r} by place only; arguments are given by name" if unnamed else ""
    if any(isinstance(node, ast.AsyncFunctionDef) and node.name == "main" for node in tree.body):
        return "main is async, and nobody would await it; let it call asyncio.run"
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return f"defines no function main{nearest('main', names)}"


def _mains(tree: ast.Module) -> list[ast.FunctionDef]:
    """Each `def main`; the last one counts."""
    return [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]


class Taken(NamedTuple):
    """The names of the arguments that a function takes."""

    needed: frozenset[str]
    optional: frozenset[str]
    any_other: bool


@functools.lru_cache(maxsize=1024)
def taken(source: str) -> Taken:
    """What `main` of this Python takes, as far as that can be seen."""
    tree = None if source_fault(source) else ast.parse(source)
    if tree is None or any(_is_main_made(node) for node in ast.walk(tree)):
        return Taken(frozenset(), frozenset(), any_other=True)
    given = _mains(tree)[-1].args
    names = [*given.args, *given.kwonlyargs]
    defaults = [*(None for _ in given.args[len(given.defaults) :]), *given.defaults, *given.kw_defaults]
    needed = frozenset(one.arg for one, default in zip(names, defaults, strict=True) if default is None)
    return Taken(needed, frozenset(one.arg for one in names) - needed, any_other=given.kwarg is not None)


def _is_main_made(node: ast.AST) -> bool:
    """Whether `main` may be another function than its `def` says."""
    match node:
        case ast.FunctionDef(name="main", decorator_list=[_, *_]) | ast.Name(id="main", ctx=ast.Store()):
            return True
    return False


def argument_faults(path: str, source: str, given: Collection[str]) -> Iterator[Fault]:
    """What `main` does not take of the arguments that are given, and what it wants besides. `path`: of the step."""
    main = taken(source)
    known = main.needed | main.optional
    for name in given if not main.any_other else ():
        if name not in known:
            yield Fault(f"{path}.arguments.{name}", f"main takes no such argument{nearest(name, known)}")
    for name in sorted(main.needed.difference(given)):
        yield Fault(f"{path}.arguments.{name}", "is required: main has no default for it")


def takes(source: str, given: Collection[str]) -> bool:
    """Whether `main` can be called with these arguments."""
    main = taken(source)
    return main.needed <= set(given) and (main.any_other or main.needed | main.optional >= set(given))
