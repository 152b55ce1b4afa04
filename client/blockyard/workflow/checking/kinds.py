"""What is wrong with one step by itself: with its kind, of which it has exactly one, and with how much it asks for.

Sweeps are left to `sweeps`, a step that is a template to `templates`, and its references to `references`.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from typing import Final

from blockyard.kube.quantities import amount
from blockyard.workflow import graph
from blockyard.workflow.addresses import files_in
from blockyard.workflow.reading import Fault, nearest
from blockyard.workflow.spec import Source, Step

FUNCTION: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
KINDS: Final = ("function", "source", "binary", "mpi", "task", "template")


def kind_faults(path: str, step: Step) -> Iterator[Fault]:
    """What is wrong with what it runs, and with what is said for that kind alone."""
    said = [name for name in KINDS if getattr(step, name) is not None]
    if len(said) != 1:
        found = " and ".join(said) or "none of them"
        yield Fault(path, f"has {found}; say exactly one of {', '.join(KINDS)}")
    if step.function is not None and not is_import_path(step.function):
        yield Fault(f"{path}.function", f"{step.function!r} is no import path; write package.module:name")
    if step.source is not None:
        yield from _source_faults(f"{path}.source", step.source)
    for name in ("binary",) if step.binary is not None else ():
        if not step.binary or not step.binary[0].strip():
            yield Fault(f"{path}.{name}[0]", "names no program")
    if step.arguments and said and said[0] in ("binary", "mpi"):
        used = {one.path[0] for one in graph.references_of(step) if one.root == "arguments"}
        for name in step.arguments.keys() - used:
            yield Fault(f"{path}.arguments.{name}", f"stands in no word of its command: ${{{{ arguments.{name} }}}}")
    if step.environment and said and said[0] in ("function", "source"):
        yield Fault(f"{path}.environment", "is for programs; give a function arguments")
    for name in step.arguments if said and said[0] in ("function", "source") else ():
        if not str(name).isidentifier():
            yield Fault(f"{path}.arguments.{name}", "is no name of a function's argument")


@functools.lru_cache(maxsize=1024)
def is_import_path(text: str) -> bool:
    """Whether it has the form of package.module:name; whether there is one is the worker's to say."""
    return FUNCTION.fullmatch(text) is not None


def _source_faults(path: str, source: str | Source) -> Iterator[Fault]:
    if isinstance(source, Source):
        if (source.inline is None) == (source.config_map is None):
            found = "neither" if source.inline is None else "both"
            yield Fault(path, f"has {found}; say exactly one of inline, configMap")
        if source.inline is None:
            return
        path, source = f"{path}.inline", source.inline
    if reason := source_fault(source):
        yield Fault(path, reason)


@functools.lru_cache(maxsize=1024)
def source_fault(source: str) -> str:
    """Why this is no Python that defines `main`; '' when it is."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"is no Python: {error}"
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return "" if "main" in names else f"defines no function main{nearest('main', names)}"


def amount_faults(path: str, step: Step) -> Iterator[Fault]:
    """What is wrong with its resources, and with the ranks of a program over nodes."""
    for name, value in (("cpu", step.resources.cpu), ("memory", step.resources.memory)):
        if value is None:
            continue
        try:
            wrong = amount(value) <= 0
        except ValueError as error:
            yield Fault(f"{path}.resources.{name}", str(error))
        else:
            if wrong:
                yield Fault(f"{path}.resources.{name}", f"{value!r} is not more than nothing")
    if step.mpi is not None:
        if step.mpi.nodes and step.mpi.ranks_per_node and step.mpi.ranks > step.mpi.nodes * step.mpi.ranks_per_node:
            room = step.mpi.nodes * step.mpi.ranks_per_node
            yield Fault(f"{path}.mpi.ranks", f"{step.mpi.ranks} do not fit: nodes × ranksPerNode is {room}")
        if step.mpi.nodes > step.mpi.ranks:
            yield Fault(f"{path}.mpi.nodes", f"is {step.mpi.nodes}, more than there are ranks ({step.mpi.ranks})")
        for where, _ in files_in(step.arguments, f"{path}.arguments") if step.mpi.spread > 1 else ():
            yield Fault(
                where, f"is staged on one node, and the ranks are on {step.mpi.spread}; name a path that all see"
            )
