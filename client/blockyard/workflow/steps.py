"""Runs one step on a worker: fills in its references, calls what it names, declares its outputs.

A sweep returns `join`: its items become tasks of their own, and its slot is free.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import itertools
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from blockyard.declaring import declare
from blockyard.errors import ConfigError
from blockyard.joining import Call, Join
from blockyard.workflow import programs
from blockyard.workflow.addresses import is_all_own
from blockyard.workflow.plans import Plan
from blockyard.workflow.references import OPENING, Reference, as_text, filled, found_in, walk, whole
from blockyard.workflow.step_code import has_code, with_code
from blockyard.workflow.step_files import as_paths, with_arguments, with_files

_BEFORE_FILES: Final = frozenset({"steps", "item"})
_read = msgspec.json.Decoder(Plan).decode
_read_again = functools.lru_cache(maxsize=64)(_read)
"""For a plan that many tasks share: the items of a sweep, or steps of one function."""
_read_arguments = msgspec.json.Decoder(dict[str, Any]).decode

Given = Mapping[str, Any]
"""By reference to another step, what it comes to."""


def run_step(encoded: bytes, *inputs: Any) -> Any:
    """Run a step. `inputs`: the results of the steps that the plan names; None for one that did not succeed."""
    plan = _read(encoded)
    results = dict(zip(plan.inputs, inputs, strict=True))
    given = _given(plan, results) if results else {}
    if not plan.sweep:
        return _called(plan, _filled(plan, given, None) if OPENING in encoded else _texts(plan))
    part = msgspec.json.encode(msgspec.structs.replace(plan, sweep={}, inputs=[]))
    run_part, rest = functools.partial(run_item, part), (given,) if given else ()
    return Join(tuple(Call(run_part, (item, *rest), {}) for item in _items(plan, results)), whole=True)


def run_with(encoded: bytes, arguments: bytes) -> Any:
    """Run a step that is a function with arguments of its own. `encoded`: the plan that it shares with others."""
    plan, given = _read_again(encoded), _read_arguments(arguments)
    if not plan.code and not has_code():  # as nearly always
        return _function(plan)(**given)
    return with_code(plan.code, lambda: _function(plan)(**given), _import_anew)


def run_item(encoded: bytes, item: Any, given: Given = MappingProxyType({})) -> Any:
    """Run a step for one item of its sweep."""
    simple = _simple(encoded)
    if simple is not None and not has_code():
        arguments = {name: walk(item, path, "item") for name, path in simple.places}
        if not any(type(value) in _CONTAINERS for value in arguments.values()):
            return _function(simple.plan)(**simple.constants, **arguments)
    plan = _read_again(encoded)
    return _called(plan, _filled(plan, given, item))


class _Simple(NamedTuple):
    """A call of a function whose arguments are constants and parts of the item: most sweeps, and the largest."""

    plan: Plan
    constants: dict[str, Any]
    places: list[tuple[str, tuple[str, ...]]]
    """Of an argument to its path in the item."""


_CONTAINERS: Final = {dict, list, tuple}
"""May hold files; and each call has its own, which it may change."""


@functools.lru_cache(maxsize=64)
def _simple(encoded: bytes) -> _Simple | None:
    """The same as `_called` and `_filled` come to, worked out once; None for what takes more."""
    plan = _read(encoded)
    if plan.binary or plan.task or plan.outputs or plan.code:
        return None
    found = {name: whole(value) if type(value) is str else None for name, value in plan.arguments.items()}
    places = [(name, one.path) for name, one in found.items() if one is not None and one.root == "item"]
    constants = {name: plan.arguments[name] for name in plan.arguments.keys() - dict(places).keys()}
    is_simple = is_all_own(constants) and not any(type(value) in _CONTAINERS for value in constants.values())
    return _Simple(plan, constants, places) if is_simple else None


def _texts(plan: Plan) -> dict[str, Any]:
    return {"arguments": plan.arguments, "binary": plan.binary, "environment": plan.environment}


def _given(plan: Plan, results: Mapping[str, Any]) -> dict[str, Any]:
    """What the references to other steps come to, which is the same for all items of a sweep."""
    return {str(one): _looked_up(one, results) for one in found_in(_texts(plan)) if one.root == "steps"}


def _looked_up(reference: Reference, results: Mapping[str, Any]) -> Any:
    step, what, *path = reference.path
    return walk(_of(results[step], what), tuple(path), f"steps.{step}.{what}")


def _filled(plan: Plan, given: Given, item: Any) -> dict[str, Any]:
    """What the plan's texts come to for one item."""

    def look_up(reference: Reference) -> Any:
        return walk(item, reference.path, "item") if reference.root == "item" else given[str(reference)]

    found: dict[str, Any] = filled(_texts(plan), look_up, _BEFORE_FILES)
    return found


def _of(result: Any, what: str) -> Any:
    """The outputs of a program are in its record; those of a function are keys of what it returned."""
    return result.outputs if what == "outputs" and hasattr(result, "outputs") else result


def _called(plan: Plan, given: Mapping[str, Any]) -> Any:
    """`given`: the plan's texts, filled in."""
    call = functools.partial(with_files, functools.partial(_with_arguments, plan, given), given["arguments"])
    value = with_code(plan.code, call, _import_anew)
    if not plan.outputs:
        return value
    if isinstance(value, programs.ProgramResult):
        return declare(value, dict(value.outputs))
    if not isinstance(value, Mapping):
        raise ConfigError(f"step {plan.step} declares outputs, so it returns an object; found a {type(value).__name__}")
    missing = [name for name in plan.outputs if name not in value]
    if missing:
        raise ConfigError(f"step {plan.step} declares output {missing[0]!r}, which is not in what it returned")
    return declare(value, {name: value[name] for name in plan.outputs})


def _with_arguments(plan: Plan, given: Mapping[str, Any], arguments: dict[str, Any]) -> Any:
    """Do what the step says. `arguments`: those that are given, with their files here."""
    if not (plan.binary or plan.task):
        return _function(plan)(**arguments)
    environment = {name: with_arguments(as_text(one), arguments) for name, one in given["environment"].items()}
    if plan.task:
        return programs.run_task(plan, as_paths(arguments), environment)
    return programs.run_program(plan, [with_arguments(as_text(one), arguments) for one in given["binary"]], environment)


def _function(plan: Plan) -> Callable[..., Any]:
    return _imported(plan.function) if plan.function else _compiled(plan.source)


@functools.lru_cache(maxsize=256)
def _imported(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{path}: {getattr(found, '__name__', found)} has no {part!r}")
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(f"{path} is a {type(found).__name__}, and no function")
    return found  # type: ignore[no-any-return]  # callable() narrows Any to Any


@functools.lru_cache(maxsize=256)
def _compiled(source: str) -> Callable[..., Any]:
    """The function `main` of a step's source, in a module of its own: the same source is the same module."""
    name = f"blockyard_step_{hashlib.blake2b(source.encode(), digest_size=8).hexdigest()}"
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)  # noqa: S102 - it is what the user has us run
    main = module.__dict__["main"]
    if not callable(main):
        raise ConfigError(f"source: main is a {type(main).__name__}, and no function")
    return main  # type: ignore[no-any-return]  # as above


def _import_anew() -> None:
    _imported.cache_clear()
    _compiled.cache_clear()


def _items(plan: Plan, results: Mapping[str, Any]) -> Iterator[Any]:
    ((kind, given),) = filled(plan.sweep, functools.partial(_looked_up, results=results)).items()
    match kind:
        case "range":
            yield from range(given)
        case "product":
            yield from (dict(zip(given, row, strict=True)) for row in itertools.product(*given.values()))
        case "zip":
            yield from (dict(zip(given, row, strict=True)) for row in zip(*given.values(), strict=True))
        case _ if isinstance(given, str | bytes | Mapping):
            raise ConfigError(f"step {plan.step}: its sweep is over a {type(given).__name__}, expected a list")
        case _:
            yield from given
