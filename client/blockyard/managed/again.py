"""From the record of a managed task, what it takes to run it again. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from blockyard.managed.environment import HIDDEN
from blockyard.managed.records import AnalysisConfig

_OF_THE_RUN: Final = ("BLOCKYARD_", "PYTHONPATH")
"""Variables, by how they begin, that an executor gives anew."""


def spec_again(record: AnalysisConfig) -> dict[str, Any]:
    """Fields of a `run.ManagedSpec`: those that asked for it, or for an executor that was made in code, its command.

    Variables that were secret are left out: nobody but who runs it again has them.
    """
    if record.spec:
        found = dict(record.spec)
    elif record.executor == "Executor" and len(record.command) == 1 and ":" in record.command[0]:
        found = {"function": record.command[0], "parameters": dict(record.parameters)}
    else:
        found = {"binary": list(record.command), "fill": False, "name": record.task_name}
    if not record.spec:
        own = {name: value for name, value in record.environment.items() if not name.startswith(_OF_THE_RUN)}
        found |= {"directory": record.directory, "environment": own, "environment_mode": "overwrite"}
    if "environment" in found:
        kept = {name: value for name, value in found["environment"].items() if value is None or HIDDEN not in value}
        found["environment"] = kept
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found))
    return plain


def secrets_of(record: AnalysisConfig) -> list[str]:
    """Variables whose values are in no record."""
    return [name for name, value in record.environment.items() if HIDDEN in value]


def remarks(record: AnalysisConfig) -> list[str]:
    """What else mattered, in lines for people: code, image, place, and what must be given anew."""
    code = record.code
    lines = [f"managed task {record.task_name!r}, record {record.id}: {record.status} {record.reason}".rstrip()]
    if code.git_sha:
        lines.append(f"code: {code.git_sha} of {code.folder}{', with changes' if code.git_diff else ''}")
    if record.image:
        lines.append(f"image: {record.image}")
    lines.append(f"Python {record.python} on {record.host}" + (f", block {record.block}" if record.block else ""))
    if hidden := secrets_of(record):
        lines.append(f"secret, to be given anew: {', '.join(hidden)}")
    if record.left_out:
        lines.append(f"too large for the history: {', '.join(record.left_out)}")
    return lines
