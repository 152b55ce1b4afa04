"""What a step's task carries to its worker, and how it is packed. The interchange passes it on unread."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import msgspec

from blockyard.payload import dump_call, dump_function, dump_items, function_id, packed_bytes, reduce_dependency
from blockyard.wire.records import Function


class Code(msgspec.Struct, frozen=True):
    """A wheel that functions are imported from."""

    file: str
    sha256: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step, its parameters filled in; what refers to other steps and to items is still to be."""

    step: str
    run: str
    function: str = ""
    source: str = ""
    binary: list[str] = []
    task: str = ""
    ranks: int = 0
    """Of MPI, for `binary`; 0: without MPI."""
    arguments: dict[str, Any] = {}
    environment: dict[str, str] = {}
    outputs: list[str] = []
    inputs: list[str] = []
    """Steps whose results are given, in this order."""
    code: list[Code] = []
    """For `function` and `source`."""
    sweep: dict[str, Any] = {}
    """One of list, product, zip, range, from; empty: it runs once."""


class _Marker:
    """Stands for the result of a step that is not here yet."""

    home = None

    def embedded(self) -> None:
        """There is no value."""

    def __reduce_ex__(self, _: object) -> Any:
        return reduce_dependency(self)


def packed_plans(plans: Sequence[Plan]) -> list[bytes]:
    """For each plan the arguments of `steps.run_step`: itself, and a place for each input."""
    encoded = [msgspec.json.encode(plan) for plan in plans]
    if not any(plan.inputs for plan in plans):
        return list(map(packed_bytes, dump_items(encoded)[0]))
    calls = [(one, *(_Marker() for _ in plan.inputs)) for one, plan in zip(encoded, plans, strict=True)]
    return [packed_bytes(dump_call(call, {})[0]) for call in calls]


def packed_arguments(encoded: Sequence[bytes]) -> list[bytes]:
    """The same for steps that a runner of their own knows everything else of: their arguments, as JSON."""
    return list(map(packed_bytes, dump_items(encoded)[0]))


def runner(shared: Plan | None = None) -> Function:
    """`steps.run_step`, by reference, so that it runs on any version of Python.

    `shared`: what is the same for many steps; then it is `steps.run_with`, which is given their arguments alone.
    """
    from blockyard.workflow.steps import run_step, run_with

    name = "blockyard.workflow.run_step"
    if shared is None:
        body = dump_function(run_step)
    else:
        body, name = dump_function(functools.partial(run_with, msgspec.json.encode(shared))), shared.function or name
    return Function(function_id(body), name, body, "")
