"""WfCommons' WfFormat: traces of workflows of the research community, as workflows to be run here.

Versions since 1.4 have tasks below ``workflow.specification`` and their times below ``workflow.execution``, older
ones both below ``workflow.tasks``. A trace is replayed: each task takes the time that it took there, times a scale.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from blockyard.errors import ConfigError
from blockyard.workflow.spec import Step, Workflow


def replay(seconds: float) -> float:
    """Take so long."""
    time.sleep(max(0.0, seconds))
    return seconds


def read(path: Path, *, scale: float = 1.0, execute: bool = False) -> tuple[str, Workflow]:
    """Name and workflow of a trace. `execute`: run the programs that it names instead. Raises ConfigError."""
    try:
        document = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    workflow = document.get("workflow") if isinstance(document, dict) else None
    if not isinstance(workflow, dict):
        raise ConfigError(f"{path}: no WfFormat: it has no object 'workflow'")
    tasks, executions = _tasks(path, workflow)
    keys = [_key(path, place, task) for place, task in enumerate(tasks)]
    twice = next((key for key, count in Counter(keys).items() if count > 1), None)
    if twice is not None:
        raise ConfigError(f"{path}: several tasks are called {twice!r}; give each an id of its own")
    names = _names(keys)
    steps = [
        _step(path, task, names, executions.get(key, task), scale=scale, execute=execute)
        for key, task in zip(names, tasks, strict=True)
    ]
    return _slug(str(document.get("name") or path.stem)), Workflow(steps=steps)


def _tasks(path: Path, workflow: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    specification, execution = workflow.get("specification"), workflow.get("execution")
    holder = specification if isinstance(specification, dict) else workflow
    tasks = holder.get("tasks") or holder.get("jobs")
    if not isinstance(tasks, list) or not tasks or not all(isinstance(one, dict) for one in tasks):
        raise ConfigError(f"{path}: workflow.specification.tasks (or workflow.tasks) is no list of objects")
    ran = execution.get("tasks") if isinstance(execution, dict) else []
    return tasks, {str(one.get("id") or one.get("name")): one for one in ran or [] if isinstance(one, dict)}


def _key(path: Path, place: int, task: Mapping[str, Any]) -> str:
    found = task.get("id") or task.get("name")
    if not isinstance(found, str):
        raise ConfigError(f"{path}: task {place} has neither id nor name")
    return found


def _names(keys: list[str]) -> dict[str, str]:
    """Identifier there to step name here: as near as our letters allow, and no two the same."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for key in keys:
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", key)
        plain = (plain if re.match(r"[A-Za-z_]", plain) else f"t{plain}")[:50]
        name, number = plain, 2
        while name in taken:
            name, number = f"{plain}-{number}", number + 1
        taken.add(name)
        found[key] = name
    return found


def _step(
    path: Path,
    task: Mapping[str, Any],
    names: Mapping[str, str],
    ran: Mapping[str, Any],
    *,
    scale: float,
    execute: bool,
) -> Step:
    key = str(task.get("id") or task.get("name"))
    parents = [str(one) for one in task.get("parents") or ()]
    unknown = [one for one in parents if one not in names]
    if unknown:
        raise ConfigError(f"{path}: task {key!r} has a parent {unknown[0]!r} that is no task")
    needs = [names[one] for one in dict.fromkeys(parents)]
    if execute:
        command = ran.get("command") or task.get("command") or {}
        program = command.get("program") if isinstance(command, dict) else None
        if not program:
            raise ConfigError(f"{path}: task {key!r} names no program; replay it instead")
        words = [str(program), *map(str, command.get("arguments") or ())]
        return Step(name=names[key], binary=words, needs=needs)
    seconds = ran.get("runtimeInSeconds", ran.get("runtime", 0.0))
    if not isinstance(seconds, int | float) or seconds < 0:
        raise ConfigError(f"{path}: task {key!r} took {seconds!r} seconds")
    function = f"{replay.__module__}:{replay.__name__}"
    return Step(name=names[key], function=function, arguments={"seconds": float(seconds) * scale}, needs=needs)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50].strip("-") or "trace"
