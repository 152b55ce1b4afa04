"""A run as who started it sees it: how its steps stand, and their results."""

from __future__ import annotations

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

_SHORTEST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.5
_PAUSE_A_STEP: Final = 20e-6
"""About a hundred times what it costs to look at a step that is open."""
_LEAST_A_STEP: Final = 2e-6
"""The shortest pause, with what is left: a tenth of the time may go into looking."""
_GROWS: Final = 1.05
"""A pause to the one before, while nothing ends: of a sweep, however large, is only seen that it has ended. So a look
comes too late by a twentieth of the time at most."""
_SHARE: Final = 0.8
"""Of the time that a run will still take at the rate of now."""
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

    def __init__(self, engine: Engine, name: str, *, begun: int = 0) -> None:
        """`begun`: how many steps it was just started with."""
        self._engine = engine
        self.name = name
        self._begun = begun
        self._futures: dict[str, TaskFuture[Any]] = {}

    def status(self, *, states: tuple[str, ...] = (), limit: int = 100) -> hosted.RunIs:
        """How it stands: counts of all steps, and at most `limit` steps (in these states). Raises BlockyardError."""
        return self._engine.ask(hosted.Run(self.name, list(states), limit), hosted.RunIs, 60.0)

    def wait(self, timeout: float | None = None, on_look: Callable[[hosted.RunIs], None] | None = None) -> str:
        """Wait until it has ended; returns its phase. `on_look` is told how it stands now and then.

        Raises TimeoutError, naming what is still open.
        """
        end = None if timeout is None else time.monotonic() + timeout
        pause, left, looked_at = _SHORTEST_PAUSE, self._begun, time.monotonic()
        time.sleep(min(left * _LEAST_A_STEP, _LONGEST_PAUSE if timeout is None else max(0.0, timeout)))
        self._begun = 0
        while True:
            since, looked_at = looked_at, time.monotonic()
            seen = self.status(limit=0 if on_look is None else 50)
            if on_look is not None:
                on_look(seen)
            if seen.line.phase not in GOES_ON:
                return seen.line.phase
            if end is not None and time.monotonic() > end:
                counts = ", ".join(f"{count} {state}" for state, count in sorted(seen.line.counts.items()))
                raise TimeoutError(f"run {self.name!r} is {seen.line.phase} after {timeout:g} s: {counts}")
            before, left = left, sum(seen.line.counts.get(word, 0) for word in _OPEN)
            pause = next_pause(pause, before - left, left, looked_at - since)
            time.sleep(pause)

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


def next_pause(pause: float, ended: int, left: int, seconds: float) -> float:
    """Seconds until a run is looked at again. `pause`: before this look; `ended`: steps that have in `seconds`.

    Most of what those that are left will take at this rate, longer each time while none ends.
    """
    least = max(_SHORTEST_PAUSE, left * _LEAST_A_STEP)
    if ended > 0:
        return min(max(_LONGEST_PAUSE, left * _PAUSE_A_STEP), max(least, seconds * left / ended * _SHARE))
    return max(least, min(_LONGEST_PAUSE, pause * _GROWS))


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
    run = WorkflowRun(engine, name, begun=answered(asked, control.Done, 600.0).count)
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
