"""A run as who started it sees it: how its steps stand, and their results."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from blockyard.collecting import uncollected
from blockyard.errors import BlockyardError, ConfigError
from blockyard.files.port import schemes
from blockyard.futures import TaskFuture
from blockyard.memo_code import content_of_module
from blockyard.session.questions import answered
from blockyard.wire import control, hosted
from blockyard.workflow import building
from blockyard.workflow.checking.specs import check_spec, merged
from blockyard.workflow.compiling import compile_again, compile_run
from blockyard.workflow.files import Invalid, read_run
from blockyard.workflow.nesting import expanded
from blockyard.workflow.reading import nearest
from blockyard.workflow.sources import without_cluster
from blockyard.workflow.spec import MOST_STEPS, OneOfMany, Workflow

A = TypeVar("A", bound=control.Answer)

_PATIENCE: Final = 30.0
"""Until it is asked again whether a run has ended."""
_LOOK_SECONDS: Final = 0.25
"""The same, for who wants to see how it stands meanwhile."""
_LOOK_A_STEP: Final = 20e-6
"""The same, for each step that is open: about a hundred times what it costs to look at one."""
_ANSWER_SECONDS: Final = 60.0
_MOST_STEPS: Final = 1_000_000
_OPEN: Final = ("Waiting", "Queued", "Running", "Stopped")
"""States of steps that have not ended."""
GOES_ON: Final = frozenset({"Running", "Suspended"})


class Engine(Protocol):
    """What a run needs of a client's engine."""

    def ask(self, question: control.Question, expected: type[A], timeout: float = 10.0) -> A:
        """Ask the interchange."""

    def begin(self, question: control.Question) -> Future[control.Answer]:
        """Ask without waiting."""

    def follow(self, run: str) -> dict[str, TaskFuture[Any]]:
        """Futures of the tasks of a hosted run, by name."""


class RunFailed(BlockyardError):
    """A run did not succeed; the message names its first steps that failed."""


class WorkflowRun:
    """A run of a workflow, known by its name. It goes on whether this object is kept or not."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name
        self._futures: dict[str, TaskFuture[Any]] = {}

    def status(self, *, states: tuple[str, ...] = (), limit: int = 100) -> hosted.RunIs:
        """How it stands: counts of all steps, and at most `limit` steps (in these states). Raises BlockyardError."""
        return self._engine.ask(hosted.Run(self.name, list(states), limit), hosted.RunIs, _ANSWER_SECONDS)

    def wait(self, timeout: float | None = None, on_look: Callable[[hosted.RunIs], None] | None = None) -> str:
        """Wait until it has ended; returns its phase. `on_look` is told how it stands now and then.

        Raises TimeoutError, naming what is still open.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        patience = _PATIENCE if on_look is None else 0.0
        while True:
            left = max(0.0, end - time.monotonic())
            question = hosted.Run(self.name, [], 0 if on_look is None else 50, min(left, patience))
            seen = self._engine.ask(question, hosted.RunIs, _ANSWER_SECONDS + question.patience)
            if on_look is not None:
                on_look(seen)
            if seen.line.phase not in GOES_ON:
                return seen.line.phase
            if not left:
                counts = ", ".join(f"{count} {state}" for state, count in sorted(seen.line.counts.items()))
                raise TimeoutError(f"run {self.name!r} is {seen.line.phase} after {timeout:g} s: {counts}")
            if on_look is not None:
                patience = next_look(seen.line)

    def succeed(self, timeout: float | None = None) -> WorkflowRun:
        """Wait until it has succeeded. Raises RunFailed with the first failures, TimeoutError."""
        phase = self.wait(timeout)
        if phase != "Succeeded":
            failed = self.status(states=("Failed", "Cancelled"), limit=5).steps
            listed = "; ".join(f"{one.name}: {one.message or one.state}" for one in failed)
            raise RunFailed(f"run {self.name!r} is {phase}: {listed}")
        return self

    def result(self, step: str, timeout: float | None = None) -> Any:
        """What a step returned; of a sweep, the list of its results. Raises what the step raised, TimeoutError."""
        return self.future(step).result(timeout)

    def future(self, step: str) -> TaskFuture[Any]:
        """The future of a step. Raises ConfigError when there is no such step."""
        if step not in self._futures:
            self._futures |= self._engine.follow(self.name)
        if step not in self._futures:
            raise ConfigError(f"run {self.name!r} has no step {step!r}{nearest(step, self._futures)}")
        return self._futures[step]

    def outputs(self) -> dict[str, dict[str, Any]]:
        """What its steps declared, by step."""
        steps = self.status(states=("Succeeded",), limit=_MOST_STEPS).steps
        return {one.name: msgspec.json.decode(one.outputs) for one in steps if one.outputs}

    def suspend(self, *, running: bool = False) -> None:
        """Start nothing more of it; what runs goes on, but with `running` for its programs, which are stopped."""
        self._engine.ask(hosted.HoldRun(self.name, held=True, running=running), control.Done)

    def resume(self) -> None:
        """Go on with it, and with its programs that were stopped."""
        self._engine.ask(hosted.HoldRun(self.name, held=False), control.Done)

    def cancel(self, *, exits: bool = False) -> None:
        """End it; its exit step still runs, unless `exits`."""
        self._engine.ask(hosted.EndRun(self.name, exits), control.Done)

    def forget(self) -> None:
        """Free it and its results; its name may be used again. Raises BlockyardError while it goes on."""
        self._engine.ask(hosted.ForgetRun(self.name), control.Done)


def next_look(line: hosted.RunLine) -> float:
    """Seconds until a run that stands so is looked at again."""
    return max(_LOOK_SECONDS, _LOOK_A_STEP * sum(line.counts.get(word, 0) for word in _OPEN))


def of(
    workflow: building.Workflow | Workflow | Mapping[str, Any] | Path | str,
) -> tuple[Workflow | Mapping[str, Any], str]:
    """The spec, and its name where it has one. Raises Invalid, ConfigError for a file that is not in order."""
    match workflow:
        case building.Workflow():
            return workflow.spec, workflow.name
        case Path() | str():
            document = read_run(Path(workflow))
            return document.spec, document.metadata.name
        case Workflow() | Mapping():
            return workflow, ""
    raise ConfigError(
        f"run: a {type(workflow).__name__} is no workflow; give a Workflow, the path of a file, or a spec"
    )


def checked(spec: Workflow | Mapping[str, Any], name: str, arguments: Mapping[str, Any] | None) -> Workflow:
    """A spec that is in order, with these arguments. Raises Invalid."""
    plain = _plain(spec)
    if arguments:
        plain["arguments"] = {**plain.get("arguments", {}), **arguments}
    found, faults = check_spec(plain, schemes)
    if found is not None and found.template_ref is not None:
        found, faults = merged(found, {}, schemes)  # there are templates in files and clusters only
    if found is not None:
        found, faults = expanded(found, {}, schemes, without_cluster)
    if found is None:
        raise Invalid(f"workflow {name!r}", faults)
    return found


def _plain(spec: Workflow | Mapping[str, Any]) -> dict[str, Any]:
    """A spec as a file would say it, but for steps of very many that need not be looked at again."""
    if isinstance(spec, Workflow) and len(spec.steps) > MOST_STEPS and set(map(type, spec.steps)) == {OneOfMany}:
        return {**msgspec.to_builtins(msgspec.structs.replace(spec, steps=[])), "steps": spec.steps}
    return dict(msgspec.to_builtins(spec))


def start(
    engine: Engine,
    spec: Workflow | Mapping[str, Any],
    name: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    pool: str = "default",
) -> WorkflowRun:
    """Start a run, or find it as it is if it was started before from the same. Raises Invalid, BlockyardError.

    `pool`: what a workflow calls 'default'.
    """
    with uncollected():  # until all that was made of the spec is gone: the collector would look at it, too
        asked = engine.begin(_order(spec, name, arguments, pool))
    answered(asked, control.Done, 600.0)
    run = WorkflowRun(engine, name)
    if spec.cancel if isinstance(spec, Workflow) else spec.get("cancel"):
        run.cancel()  # as the operator does: it is known, and has ended
    return run


def _order(
    spec: Workflow | Mapping[str, Any], name: str, arguments: Mapping[str, Any] | None, pool: str
) -> hosted.StartRun:
    found = checked(spec, name, arguments)
    return compile_run(found, name, queue_of=_queues(pool), content_of=content_of_module)


def _queues(pool: str) -> Callable[[str], str]:
    return lambda named: pool if named == "default" else named


def retry(engine: Engine, spec: Workflow | Mapping[str, Any], name: str, *, pool: str = "default") -> WorkflowRun:
    """Run again what has not succeeded of a run that has ended, on the results of what has. Raises BlockyardError."""
    with uncollected():
        found = checked(spec, name, None)
    seen = engine.ask(hosted.Run(name, ["Succeeded"], _MOST_STEPS), hosted.RunIs, 60.0)
    if seen.line.phase in GOES_ON:
        raise ConfigError(f"run {name!r} is {seen.line.phase}; wait for its end, or cancel it")
    with uncollected():
        order = compile_again(found, seen, queue_of=_queues(pool), content_of=content_of_module)
    if order is not None:
        engine.ask(order, control.Done, 600.0)
    return WorkflowRun(engine, name)
