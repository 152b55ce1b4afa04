"""From the record of a managed task, what it takes to run it again. Pure."""

from __future__ import annotations

import os.path
from typing import Any, Final

import msgspec

from blockyard.managed.environment import HIDDEN
from blockyard.managed.records import AnalysisConfig
from blockyard.wire.monitoring import clipped
from blockyard.workflow.programs import OUTPUTS_VARIABLE

_OF_THE_RUN: Final = "BLOCKYARD_"
"""How variables begin that an executor gives anew."""
_MOST_MESSAGE: Final = 300
_SHIM: Final = "blockyard_shim.py"


def spec_again(record: AnalysisConfig) -> dict[str, Any]:
    """Fields of a `run.ManagedSpec`: those that asked for it, or for an executor that was made in code, its command.

    Variables that were secret are left out: nobody but who runs it again has them. What worked in a step's own folder,
    which ends with the step, works where it is run again, and leaves its outputs there.
    """
    if record.spec:
        found = dict(record.spec)
    elif function := function_of(record):
        found = {"function": function, "parameters": dict(record.parameters), **_way(record.command)}
    else:
        found = {"binary": list(record.command), "fill": False, "name": record.task_name}
    if not record.spec:
        own = {name: value for name, value in record.environment.items() if not name.startswith(_OF_THE_RUN)}
        found |= {"directory": record.directory, "environment": own, "environment_mode": "overwrite"}
    if "environment" in found:
        kept = {name: value for name, value in found["environment"].items() if value is None or HIDDEN not in value}
        found["environment"] = kept
    if is_in_own_folder(record):
        del found["directory"]
        found["environment"] |= {OUTPUTS_VARIABLE: os.path.basename(record.spec["environment"][OUTPUTS_VARIABLE])}
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found))
    return plain


def function_of(record: AnalysisConfig) -> str:
    """That an executor made in code ran: ``module:name``, or its bare name when it can't be imported; '' for none."""
    if record.executor == "Executor" and len(record.command) == 1:
        return record.command[0]
    place = _shim_in(record.command)
    return record.command[place + 1] if place else ""


def _shim_in(command: list[str]) -> int:
    """Where the words have it, behind an interpreter and its ``-u``; 0 when they don't."""
    return next((place for place, word in enumerate(command[:-1]) if os.path.basename(word) == _SHIM), 0)


def _way(command: list[str]) -> dict[str, Any]:
    """On how many ranks, or by which interpreter."""
    front = command[: _shim_in(command)]
    if "-np" in front:
        return {"ranks": int(front[front.index("-np") + 1]), "oversubscribe": "--oversubscribe" in front}
    return {"python": front[0]} if front else {}


def is_in_own_folder(record: AnalysisConfig) -> bool:
    """Whether it was the program of a workflow's step, in the folder that was made for it."""
    written = str((record.spec.get("environment") or {}).get(OUTPUTS_VARIABLE, ""))
    return bool(written) and os.path.dirname(written) == record.spec.get("directory")


def secrets_of(record: AnalysisConfig) -> list[str]:
    """Variables whose values are in no record, nor where to find them."""
    referred = record.spec.get("secrets") or {}
    hidden = (name for name, value in record.environment.items() if HIDDEN in value and name not in referred)
    return [name for name in hidden if not name.startswith(_OF_THE_RUN)]


def remarks(record: AnalysisConfig) -> list[str]:
    """What else mattered, in lines for people: code, image, place, and what must be given anew."""
    code = record.code
    lines = [f"managed task {record.task_name!r}, record {record.id}: {record.status} {record.reason}".rstrip()]
    if record.message:
        lines[0] += f": {clipped(' '.join(record.message.split()), _MOST_MESSAGE)}"
    if code.git_sha:
        lines.append(f"code: {code.git_sha} of {code.folder}{', with changes' if code.git_diff else ''}")
    if record.image:
        lines.append(f"image: {record.image}")
    lines.append(f"Python {record.python} on {record.host}" + (f", block {record.block}" if record.block else ""))
    if not record.spec and (function := function_of(record)) and ":" not in function:
        lines.append(f"its function {function!r} has no name to be imported by: run again what made it")
    if is_in_own_folder(record):
        lines.append(
            "it had a folder of its own, which is gone: it runs in the current one, and leaves its files there"
        )
    if hidden := secrets_of(record):
        lines.append(f"secret, to be given anew: {', '.join(hidden)}")
    if HIDDEN in str(spec_again(record)):
        lines.append(f"{HIDDEN} below stands for a secret, to be written anew")
    if record.left_out:
        lines.append(f"too large for the history: {', '.join(record.left_out)}")
    return lines
