"""What is written down of a run that `blockyard run` made with workers of its own, when these end.

How it stood, for `runs`, and what its steps printed, which managers keep and which ends with them, for `logs`. All else
is in the run's journal.
"""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Final

import msgspec

from blockyard.errors import BlockyardError, BrokenBlockyard
from blockyard.ids import TaskId, parse_task_name
from blockyard.private_files import write_private
from blockyard.session.questions import answered
from blockyard.wire import control, hosted
from blockyard.wire.records import Printed
from blockyard.workflow.running import Engine

_STOOD: Final = "stood.json"
_PRINTED: Final = "printed.json"
_MOST_STEPS: Final = 1000
"""Whose output is written, those that failed first."""
_SECONDS: Final = 10.0
_MOST_LETTERS: Final = 300
"""Of a message in which a part of a sweep is looked for."""


def write(engine: Engine, run: str, folder: Path) -> bool:
    """Write both of a run, as far as they can be had. What a step printed before stays where it has not run again.

    False when there is no such run.
    """
    try:
        write_line(engine, run, folder)
        seen = engine.ask(hosted.Run(run, [], 100 * _MOST_STEPS), hosted.RunIs, _SECONDS)
        found = printed(folder) | dict(_printed_now(engine, seen.steps))
        write_private(folder / _PRINTED, msgspec.json.encode(found))
    except (BrokenBlockyard, TimeoutError):
        return True  # who knows: the interchange has come to an end
    except BlockyardError:
        return False
    return True


def write_line(engine: Engine, run: str, folder: Path) -> None:
    """Write how it stands. Raises BlockyardError, TimeoutError."""
    seen = engine.ask(hosted.Run(run, [], 0), hosted.RunIs, _SECONDS)
    write_private(folder / _STOOD, msgspec.json.encode(seen.line))


def _printed_now(engine: Engine, steps: list[hosted.StepLine]) -> list[tuple[str, list[Printed]]]:
    chosen = sorted(steps, key=lambda one: one.state != "Failed")[:_MOST_STEPS]
    asked: list[tuple[str, Future[control.Answer]]] = [
        (one.name, engine.begin(control.Output(printer_of(one)))) for one in chosen
    ]
    answers = ((name, answered(one, control.OutputIs, _SECONDS).tries) for name, one in asked)
    return [(name, tries) for name, tries in answers if tries]


def printer_of(step: hosted.StepLine) -> TaskId:
    """The task whose output is the step's: of a sweep that failed the part that it failed with."""
    task, begins, rest = step.message[:_MOST_LETTERS].partition("task ")
    name, _, said = rest.partition(" ")
    if begins and not task and said.startswith(f"({step.name}["):
        return parse_task_name(name)
    return TaskId(step.task)


def forget(folder: Path) -> None:
    """Another run begins in this folder, or goes on."""
    (folder / _PRINTED).unlink(missing_ok=True)
    unsettle(folder)


def unsettle(folder: Path) -> None:
    """It goes on, so how it stood means nothing."""
    (folder / _STOOD).unlink(missing_ok=True)


def stood(folder: Path) -> hosted.RunLine | None:
    """How a run stood in the end; None when that was not written."""
    try:
        return msgspec.json.decode((folder / _STOOD).read_bytes(), type=hosted.RunLine)
    except (OSError, msgspec.DecodeError):
        return None


def printed(folder: Path) -> dict[str, list[Printed]]:
    """What its steps printed, as far as that was written."""
    try:
        return msgspec.json.decode((folder / _PRINTED).read_bytes(), type=dict[str, list[Printed]])
    except (OSError, msgspec.DecodeError):
        return {}
