"""What is wrong with one step by itself: with its kind, of which it has exactly one, and with how much it asks for.

Sweeps are left to `sweeps`, a step that is a template to `templates`, and its references to `references`.
"""

from __future__ import annotations

import functools
import keyword
import re
from collections.abc import Iterator, Sequence
from typing import Final

from blockyard.kube.quantities import QUANTITY, amount
from blockyard.workflow import graph
from blockyard.workflow.addresses import files_in
from blockyard.workflow.checking.python_text import argument_faults, source_fault
from blockyard.workflow.reading import Fault
from blockyard.workflow.spec import Source, Step

FUNCTION: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
KINDS: Final = ("function", "source", "binary", "mpi", "task", "template")
_TASK: Final = re.compile(r"[^\s${}]+")
_QUANTITY: Final = re.compile(QUANTITY)
_MOST_LETTERS: Final = 32
"""Of a quantity, as `spec.Amount` has it."""


def kind_faults(path: str, step: Step) -> Iterator[Fault]:
    """What is wrong with what it runs, and with what is said for that kind alone."""
    said = [name for name in KINDS if getattr(step, name) is not None]
    if len(said) != 1:
        found = " and ".join(said) or "none of them"
        yield Fault(path, f"has {found}; say exactly one of {', '.join(KINDS)}")
    if step.function is not None and not is_import_path(step.function):
        yield Fault(f"{path}.function", f"{step.function!r} is no import path; write package.module:name")
    if step.source is not None:
        yield from _source_faults(path, step)
    if step.task is not None and not _TASK.fullmatch(step.task):
        yield Fault(f"{path}.task", f"{step.task!r} is no name of a managed task; write it as it is registered")
    yield from _program_faults(path, step)
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
    return FUNCTION.fullmatch(text) is not None and not any(map(keyword.iskeyword, re.split("[.:]", text)))


def _source_faults(path: str, step: Step) -> Iterator[Fault]:
    where, source = f"{path}.source", step.source
    if isinstance(source, Source):
        if (source.inline is None) == (source.config_map is None):
            found = "neither" if source.inline is None else "both"
            yield Fault(where, f"has {found}; say exactly one of inline, configMap")
        where, source = f"{where}.inline", source.inline
    if source is None:
        return
    if reason := source_fault(source):
        yield Fault(where, reason)
    yield from argument_faults(path, source, step.arguments)


def _program_faults(path: str, step: Step) -> Iterator[Fault]:
    """What no process can be started with."""
    command = step.mpi.command if step.mpi is not None else step.binary
    where = f"{path}.mpi.command" if step.mpi is not None else f"{path}.binary"
    if command is not None and (not command or not command[0].strip()):
        yield Fault(f"{where}[0]", "names no program")
    for place, word in enumerate(command or ()):
        if "\0" in word:
            yield Fault(f"{where}[{place}]", f"{word!r:.60} has a NUL in it, which ends a word")
    for name, value in step.environment.items():
        if not name or "=" in name or "\0" in name:
            yield Fault(f"{path}.environment.{name}", f"{name!r} is no name of a variable")
        elif "\0" in value:
            yield Fault(f"{path}.environment.{name}", f"{value!r:.60} has a NUL in it, which ends a value")


def amount_faults(path: str, step: Step) -> Iterator[Fault]:
    """What is wrong with its resources, and with the ranks of a program over nodes."""
    for name, value in (("cpu", step.resources.cpu), ("memory", step.resources.memory)):
        if value is None:
            continue
        if isinstance(value, str) and (len(value) > _MOST_LETTERS or not _QUANTITY.fullmatch(value)):
            yield Fault(
                f"{path}.resources.{name}", f"{value!r:.60} is no quantity; write for example '500m', '2Gi' or 4"
            )
        elif isinstance(value, int) and abs(value) >= 2**63:
            yield Fault(f"{path}.resources.{name}", f"{value!r:.60} is more than any node has")
        elif amount(value) <= 0:
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


_CAUSE: Final = re.compile(r"[^\W\d][\w.]*")
_CAUSES: Final = (
    "TaskTimeout", "OutOfMemory", "ExitCode", "OutputMissing",
    "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGINT", "SIGKILL", "SIGSEGV", "SIGTERM",
)  # fmt: skip
_MEANT: Final = {name.lower(): name for name in _CAUSES}


def cause_faults(path: str, causes: Sequence[str]) -> Iterator[Fault]:
    """What can be the cause of no failure. An exception may have any name but one that looks like another cause."""
    for place, cause in enumerate(causes):
        bare = cause.rstrip("0123456789")
        meant = _MEANT.get(bare.lower(), bare)
        if not _CAUSE.fullmatch(cause):
            yield Fault(
                f"{path}[{place}]", f"{cause!r} is no name of a cause; write that of an exception, or ExitCode75"
            )
        elif meant != bare:
            yield Fault(f"{path}[{place}]", f"there is no {cause!r}; did you mean {meant + cause[len(bare) :]!r}?")
