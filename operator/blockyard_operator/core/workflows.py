"""What is to be done about a WorkflowRun: start it once, show how it stands, suspend, cancel, and at last delete it.

What runs when is the interchange's business; it goes on while nobody looks. Which runs of one group may go on at the
same time is decided here (`concurrencyPolicy`), by nothing but what the runs of the group show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from blockyard.kube.kinds import LABEL
from blockyard.kube.times import instant, text
from blockyard.workflow.addresses import Stagers, no_others
from blockyard.workflow.checking.documents import concurrency_faults
from blockyard.workflow.checking.specs import check_spec, merged
from blockyard.workflow.nesting import expanded
from blockyard.workflow.reading import Fault
from blockyard.workflow.sources import Look, to_read, unread
from blockyard.workflow.spec import Concurrency, Workflow
from blockyard_operator.core import plan as do
from blockyard_operator.core.objects import Run
from blockyard_operator.core.standing import Said, conditions, truth
from blockyard_operator.core.view import MapsRead, RunView
from blockyard_operator.resources.run import MOST_FAILURES, RunStatus, StepCounts, StepFailure
from blockyard_operator.resources.shape import Condition

LOOK_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 5.0
"""Until a run that was refused is started again: its pool may come."""
LONGEST_AGAIN_SECONDS: Final = 300.0
"""Until ConfigMaps are read again that were missing, the first time after `AGAIN_SECONDS`."""
ENDED: Final = frozenset({"Succeeded", "Failed", "Cancelled", "Skipped"})


class Checked(msgspec.Struct, frozen=True):
    """A run's spec with its template's steps, or what is wrong with it. `unread`: ConfigMaps that are to be read."""

    spec: Workflow | None
    faults: tuple[Fault, ...] = ()
    unread: tuple[str, ...] = ()


class Rival(msgspec.Struct, frozen=True, kw_only=True):
    """Another run of the same group that is in order and has not ended. `started`: it was given to the interchange."""

    name: str
    created_at: float
    policy: Concurrency = Concurrency.ALLOW
    started: bool = False


class RunWorld(msgspec.Struct, frozen=True, kw_only=True):
    """What a reconcile sees. `view`: what the interchange said last; None while it has not. `maps`: what was read."""

    run: Run
    checked: Checked
    connected: bool
    view: RunView | None = None
    maps: MapsRead | None = None
    rivals: tuple[Rival, ...] = ()


def is_over(run: Run) -> bool:
    """Whether a run has ended, or will never begin."""
    return run.status.phase in ENDED or run.status.phase == "Invalid"


def has_started(run: Run, view: RunView | None) -> bool:
    """Whether a run was given to the interchange, by what is written or by what that has said."""
    return run.status.phase in ("Running", "Suspended") or (view is not None and view.line is not None)


def check(
    spec: Mapping[str, Any],
    templates: Mapping[str, Mapping[str, Any]],
    stagers: Stagers = no_others,
    look: Look = unread,
    *,
    owned: bool = False,
) -> Checked:
    """Read a WorkflowRun's spec. `templates`: specs of the WorkflowTemplates of its namespace, by name.

    `look`: its ConfigMaps, as far as they were read.
    """
    found, faults = check_spec(dict(spec), stagers)
    if found is not None:
        faults = concurrency_faults(found, owned=owned)
    if found is not None and not faults and found.template_ref is not None:
        found, faults = merged(found, templates, stagers)
    if found is not None and not faults:
        found, faults = expanded(found, templates, stagers, look, _strange_pools)
    if faults or found is None:
        return Checked(None, tuple(faults))
    return Checked(found, unread=to_read(found))


def _strange_pools(spec: Workflow) -> list[Fault]:
    """Pools that cannot be of the namespace."""
    pools = [("spec.pool", spec.pool), *((f"spec.steps[{n}].pool", one.pool) for n, one in enumerate(spec.steps))]
    if spec.on_exit is not None:
        pools.append(("spec.onExit.pool", spec.on_exit.pool))
    return [
        Fault(path, f"{pool!r} is none of this namespace; name a WorkerPool that stands beside the run")
        for path, pool in pools
        if pool and not re.fullmatch(LABEL, pool)
    ]


def reconcile_run(world: RunWorld, now: float) -> do.Plan:
    """What is to be done now, and when to look again."""
    run, status = world.run, world.run.status
    if run.meta.deleting:
        return do.Plan()
    attempt, spec, view = attempt_wanted(run), world.checked.spec, world.view
    if attempt and spec is None and world.maps is not None:
        return _read_again(world.maps, run, now)
    if status.phase in ENDED and (not attempt or spec is None or (view is not None and view.line is None)):
        return _after(world, now)
    is_known = view is not None and view.line is not None
    if spec is None and not is_known:
        return _invalid(world, now)
    if not world.connected:
        return _write(world, _Seen(status.phase or "Pending", "InterchangeSilent", "the interchange is silent"), now)
    if view is None:
        return do.Plan(effects=(do.AskRun(run.meta, run.name),))
    if view.line is None:
        assert spec is not None
        return _begin(world, spec, view, now)
    if attempt and spec is not None and view.line.phase in ENDED and view.attempt < attempt:
        return _begin_again(world, spec, view, attempt, now)
    return _follow(world, view, now)


def _invalid(world: RunWorld, now: float) -> do.Plan:
    """It cannot start as it is: say why, look at ConfigMaps again that may be the reason, delete it at its time."""
    reason = "; ".join(map(str, world.checked.faults))
    written = _write(world, _Seen("Invalid", "Invalid", reason), now)
    again = do.Plan() if world.maps is None else _read_again(world.maps, world.run, now)
    at_last = _after(world, now)
    times = [one.wake_at for one in (again, at_last) if one.wake_at is not None]
    effects = (*written.effects, *again.effects, *at_last.effects)
    return do.Plan(effects=effects, wake_at=min(times, default=None))


def _begin(world: RunWorld, spec: Workflow, view: RunView, now: float) -> do.Plan:
    """The interchange does not know it: start it, unless something is to be waited for."""
    run = world.run
    if (held := _held_back(world, spec.concurrency_policy)) is not None:
        return _write(world, held, now)
    if world.checked.unread:
        return do.Plan(effects=(do.ReadConfigMaps(run.meta, world.checked.unread),))
    if view.refusal and now - view.at < AGAIN_SECONDS:
        return _write(world, _Seen("Pending", "Refused", view.refusal), now, wake_at=view.at + AGAIN_SECONDS)
    return do.Plan(effects=(do.StartRun(run.meta, run.name, spec),))


def _begin_again(world: RunWorld, spec: Workflow, view: RunView, attempt: int, now: float) -> do.Plan:
    """It has ended, and is to run again."""
    run = world.run
    if world.checked.unread:
        return do.Plan(effects=(do.ReadConfigMaps(run.meta, world.checked.unread),))
    if view.refusal and now - view.at < AGAIN_SECONDS:
        return do.Plan(wake_at=view.at + AGAIN_SECONDS)
    return do.Plan(effects=(do.RetryRun(run.meta, run.name, spec, attempt),))


def _read_again(maps: MapsRead, run: Run, now: float) -> do.Plan:
    """What a run's ConfigMaps held is not in order, and nobody tells when it is: read them again, ever more seldom."""
    due = maps.at + min(LONGEST_AGAIN_SECONDS, AGAIN_SECONDS * 2.0 ** min(maps.tries - 1, 30))
    if now < due:
        return do.Plan(wake_at=due)
    return do.Plan(effects=(do.ReadConfigMaps(run.meta, tuple(sorted(maps.maps))),))


def attempt_wanted(run: Run) -> int:
    """The attempt that `spec.attempt` asks for and that has not begun; 0 for none. What succeeded needs no other."""
    wanted = run.spec.get("attempt")
    is_open = run.status.phase in ("Failed", "Cancelled") and not run.spec.get("cancel")
    return wanted if is_open and isinstance(wanted, int) and wanted > max(run.status.attempt, 1) else 0


def _follow(world: RunWorld, view: RunView, now: float) -> do.Plan:
    """It is known: have it as the spec says, and write down how it stands."""
    assert view.line is not None
    run, phase = world.run, view.line.phase
    effects: list[do.Effect] = []
    replaced = _replaced_by(world, started=True)
    wants_hold, wants_end = bool(run.spec.get("suspend")), bool(run.spec.get("cancel") or replaced)
    wants_stop = wants_hold and bool(run.spec.get("suspendRunning"))
    if phase not in ENDED:
        if wants_end:
            effects.append(do.EndRun(run.name))
        elif (wants_hold, wants_stop) != (phase == "Suspended", view.line.stops):
            effects.append(do.HoldRun(run.name, wants_hold, wants_stop))
        if now - view.at >= LOOK_SECONDS:
            effects.append(do.AskRun(run.meta, run.name))
    said = "; ".join(f"{one.step}: {one.message}" for one in view.failures[:3])
    if replaced and phase == "Cancelled":
        said = f"replaced by {replaced}"
    written = _write(world, _Seen(phase, phase, said if phase != "Succeeded" else "", view), now)
    wake_at = None if phase in ENDED else max(now, view.at) + LOOK_SECONDS
    if phase in ENDED:
        ttl = _kept_seconds(world)
        wake_at = now + ttl if ttl is not None else None
        note = said or f"{view.line.counts.get('Succeeded', 0)} steps succeeded"
        effects.append(do.Tell(run.meta, "WorkflowRun", phase, note, warning=phase != "Succeeded"))
    return do.Plan(effects=(*effects, *written.effects), wake_at=wake_at)


def _held_back(world: RunWorld, policy: Concurrency) -> _Seen | None:
    """How a run stands that may not start because of others of its group; None when it may.

    Of two that have not started the one that was made first has precedence, and one that has started before any other.
    """
    if replaced := _replaced_by(world, started=False):
        return _Seen("Cancelled", "Replaced", f"replaced by {replaced} before it began")
    ahead = [one.name for one in world.rivals if one.started or _made(one) < _made_run(world.run)]
    if not ahead or policy is Concurrency.ALLOW:
        return None
    names = ", ".join(sorted(ahead)[:3])
    if policy is Concurrency.FORBID:
        return _Seen("Skipped", "Skipped", f"{names} had not ended, and spec.concurrencyPolicy is Forbid")
    return _Seen("Pending", "Replacing", f"it begins when {names} has ended")


def _replaced_by(world: RunWorld, *, started: bool) -> str:
    """The run that waits to take this one's place; '' when there is none."""
    waiting = [one for one in world.rivals if one.policy is Concurrency.REPLACE and not one.started]
    later = [one for one in waiting if started or _made(one) > _made_run(world.run)]
    return max(later, key=_made).name if later else ""


def _made(rival: Rival) -> tuple[float, str]:
    return rival.created_at, rival.name


def _made_run(run: Run) -> tuple[float, str]:
    return run.meta.created_at, run.meta.name


def _after(world: RunWorld, now: float) -> do.Plan:
    """It has ended: nothing of it changes any more, but it may be deleted."""
    ttl, ended = _kept_seconds(world), instant(world.run.status.completed_at)
    if ttl is None or ended is None:
        return do.Plan()
    if now >= ended + ttl:
        return do.Plan(effects=(do.DeleteRun(world.run.meta),))
    return do.Plan(wake_at=ended + ttl)


def _kept_seconds(world: RunWorld) -> float | None:
    """How long it is kept after its end, by itself or by its template; None: for ever."""
    spec = world.checked.spec
    ttl = spec.ttl_seconds_after_finished if spec is not None else world.run.spec.get("ttlSecondsAfterFinished")
    return float(ttl) if isinstance(ttl, int) else None


class _Seen(msgspec.Struct, frozen=True):
    """How it stands now."""

    phase: str
    reason: str
    message: str = ""
    view: RunView | None = None


def _write(world: RunWorld, seen: _Seen, now: float, wake_at: float | None = None) -> do.Plan:
    run, before = world.run, world.run.status
    line = seen.view.line if seen.view is not None else None
    status = RunStatus(
        phase=seen.phase,
        run=run.name if seen.phase != "Invalid" else "",
        observed_generation=run.meta.generation,
        attempt=max(before.attempt, seen.view.attempt if seen.view is not None else 0),
        started_at=before.started_at or (text(line.at) if line is not None else None),
        completed_at=_completed_at(before, seen.phase, now),
        steps=_counts(line.counts) if line is not None else before.steps,
        failures=_failures(seen.view) if seen.view is not None else before.failures,
        conditions=_conditions(world, seen, now),
    )
    if status == before:
        return do.Plan(wake_at=wake_at)
    urgent = (status.phase, status.conditions) != (before.phase, before.conditions)
    return do.Plan(effects=(do.WriteRunStatus(run.meta, status, urgent),), wake_at=wake_at)


def _completed_at(before: RunStatus, phase: str, now: float) -> str | None:
    """One that stays Invalid has ended when it became so."""
    if phase == "Invalid" == before.phase and before.completed_at is not None:
        return before.completed_at
    return text(now) if phase in ENDED or phase == "Invalid" else None


def _counts(counts: Mapping[str, int]) -> StepCounts:
    return StepCounts(total=sum(counts.values()), **{state.lower(): count for state, count in counts.items()})


def _failures(view: RunView) -> list[StepFailure]:
    return [StepFailure(step=one.step[:63], message=one.message[:512]) for one in view.failures[:MOST_FAILURES]]


def _stopped(seen: _Seen) -> str:
    line = seen.view.line if seen.view is not None else None
    if line is None or not line.stops or seen.phase != "Suspended":
        return ""
    tasks = "1 task has its programs" if line.stopped == 1 else f"{line.stopped} tasks have their programs"
    return f"{tasks} stopped, spec.suspendRunning is set; functions go on to their end"


def _conditions(world: RunWorld, seen: _Seen, now: float) -> list[Condition]:
    """Accepted: it is in order. Complete: it has ended, however, so that a wait for this ends. Failed, Suspended."""
    is_invalid, phase = seen.phase == "Invalid", seen.phase
    said = [
        Said("Accepted", truth(not is_invalid), "Invalid" if is_invalid else "Accepted", seen.message * is_invalid),
        Said("Complete", truth(is_invalid or phase in ENDED), seen.reason, seen.message),
        Said("Failed", truth(is_invalid or phase in ENDED - {"Succeeded"}), seen.reason, seen.message),
        Said("Suspended", truth(phase == "Suspended"), seen.reason, _stopped(seen)),
    ]
    return conditions(world.run.status.conditions, said, world.run.meta.generation, now)
