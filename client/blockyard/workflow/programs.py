"""Runs programs and managed tasks as steps: under `blockyard.managed`'s supervision, in a folder of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from blockyard.errors import ConfigError
from blockyard.workflow.plans import Plan

OUTPUTS_VARIABLE: Final = "BLOCKYARD_OUTPUTS"
"""Where a program writes its outputs: the path of a file, for one JSON object."""


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """How a program ended. Its streams are what came last on them."""

    code: int
    stdout: str
    stderr: str
    outputs: Mapping[str, Any] = field(default_factory=dict)


def run_program(plan: Plan, command: Sequence[str], environment: Mapping[str, str]) -> ProgramResult:
    """Run a command to its end. Raises ManagedTaskFailed; ConfigError when it did not write its outputs.

    Each part of a step that spans several nodes comes here; the first one, where rank 0 is, says how it went.
    """
    from blockyard.managed.parts import place  # for those steps alone
    from blockyard.managed.run import ManagedSpec, run_managed

    where = place() if plan.ranks else None
    is_first = where is None or where.index == 0
    with tempfile.TemporaryDirectory(prefix="blockyard-step-") as folder:
        written = Path(folder, "outputs.json")
        ended = run_managed(
            ManagedSpec(
                binary=tuple(command),
                fill=False,  # the step's references have been; what braces there are now are the program's
                name=plan.step,
                ranks=plan.ranks,
                environment={**environment, OUTPUTS_VARIABLE: str(written)},
                environment_mode="overwrite",
                directory=folder,
                run=plan.run,
                step=plan.step,
            ),
            check=True,
        )
        return ProgramResult(
            ended.exit_code or 0, ended.stdout, ended.stderr, _outputs(written, plan) if is_first else {}
        )


def run_task(plan: Plan, arguments: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    """Run a managed task to its end; its payload. Raises ManagedTaskFailed, ConfigError when there is none."""
    from blockyard.managed.run import ManagedSpec, run_managed  # for those steps alone

    spec = ManagedSpec(
        task=plan.task,
        parameters=dict(arguments),
        environment=dict(environment),
        environment_mode="overwrite",
        run=plan.run,
        step=plan.step,
    )
    return run_managed(spec, check=True).payload


def _outputs(path: Path, plan: Plan) -> dict[str, Any]:
    where, names = f"step {plan.step} of run {plan.run}", plan.outputs
    if not names:
        return {}
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        raise ConfigError(f"{where} declares outputs, and wrote none into ${OUTPUTS_VARIABLE}") from None
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{where}: what it wrote into ${OUTPUTS_VARIABLE} is no JSON object: {error}") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise ConfigError(f"{where} declares output {missing[0]!r}, which it did not write into ${OUTPUTS_VARIABLE}")
    return {name: found[name] for name in names}
