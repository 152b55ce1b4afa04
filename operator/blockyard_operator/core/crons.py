"""When a CronWorkflowRun makes runs, and which of them are kept: as a CronJob does with Jobs.

Of times that were missed only the latest is made up for. The name of a run follows from its time, so that a time has
one run however often it is looked at; and from a run's annotation it is known again for which time it was made, though
nobody had come to write that down.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, takewhile
from typing import Any, Final

import msgspec

from blockyard.kube.times import instant, text
from blockyard.workflow.addresses import Stagers, no_others
from blockyard.workflow.checking.documents import check_cron
from blockyard.workflow.reading import Fault
from blockyard.workflow.schedules import Schedule
from blockyard.workflow.spec import Concurrency, Cron
from blockyard_operator.core import plan as do
from blockyard_operator.core.objects import CRON_LABEL, SCHEDULED_AT, CronRun, Run, owner_reference
from blockyard_operator.core.standing import Said, conditions, truth
from blockyard_operator.core.workflows import is_over
from blockyard_operator.resources.cron import CronStatus
from blockyard_operator.resources.fields import API_VERSION, MAX_ITEMS
from blockyard_operator.resources.shape import ConditionStatus

MANY: Final = 100
"""So many missed times are counted, more are 'more than'."""


class CheckedCron(msgspec.Struct, frozen=True):
    """Its spec, or what is wrong with it."""

    spec: Cron | None
    faults: tuple[Fault, ...] = ()


class CronWorld(msgspec.Struct, frozen=True, kw_only=True):
    """What a reconcile sees. `runs`: those that it owns."""

    cron: CronRun
    checked: CheckedCron
    runs: tuple[Run, ...] = ()


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """What a schedule says now. `at`: the latest time that has come and was not dealt with, None when there is none.

    `missed`: how many there are besides that one, up to `MANY`. `late`: its deadline is over. `next_at`: what is next.
    """

    at: float | None = None
    missed: int = 0
    late: bool = False
    next_at: float | None = None


def read_cron_spec(spec: dict[str, Any], stagers: Stagers = no_others) -> CheckedCron:
    """Read the spec of a CronWorkflowRun."""
    found, faults = check_cron(spec, stagers)
    return CheckedCron(found, tuple(faults))


def due(spec: Cron, since: float, now: float) -> Due:
    """What is to be started now. `since`: the time that was dealt with last, or when the object was made."""
    schedule = Schedule(spec.schedule, spec.time_zone)
    next_at = schedule.after(now)
    times = list(takewhile(lambda at: at > since, islice(schedule.back_from(now), MANY + 1)))
    if not times:
        return Due(next_at=next_at)
    deadline = spec.starting_deadline_seconds
    late = deadline is not None and now - times[0] > deadline
    return Due(at=times[0], missed=len(times) - 1, late=late, next_at=next_at)


def reconcile_cron(world: CronWorld, now: float) -> do.Plan:
    """What is to be done now, and when to look again."""
    cron, spec = world.cron, world.checked.spec
    if cron.meta.deleting:
        return do.Plan()
    if spec is None:
        reason = "; ".join(map(str, world.checked.faults))
        return _write(world, [Said("Accepted", ConditionStatus.FALSE, "Invalid", reason)], cron.status, now)
    runs = sorted(world.runs, key=lambda run: (run.scheduled_at, run.meta.name))
    active = [run for run in runs if not is_over(run)]
    last = _last(cron, runs)
    found = due(spec, last or cron.meta.created_at, now)
    blocked = bool(active) and spec.concurrency_policy is Concurrency.FORBID
    starts = found.at is not None and not (spec.suspend or found.late or blocked)
    effects: list[do.Effect] = [do.DeleteRun(run.meta) for run in _outlived(spec, runs)]
    names = [run.meta.name for run in active]
    if found.at is not None and starts:
        made = manifest(cron, found.at)
        effects.append(do.CreateRun(cron.meta, made))
        names = [*(name for name in names if name != made["metadata"]["name"]), made["metadata"]["name"]]
        last = found.at
    on_time = _on_time(found, names if blocked else [])
    if on_time.status is ConditionStatus.FALSE and not spec.suspend:
        effects.append(do.Tell(cron.meta, "CronWorkflowRun", on_time.reason, on_time.message, warning=found.late))
    said = [
        Said("Accepted", ConditionStatus.TRUE, "Accepted"),
        Said("Suspended", truth(spec.suspend), "Suspended" if spec.suspend else "Scheduled"),
        on_time if not spec.suspend else Said("OnTime", ConditionStatus.UNKNOWN, "Suspended"),
    ]
    status = CronStatus(
        active=names[:MAX_ITEMS],
        last_schedule_time=text(last) if last is not None else None,
        last_successful_time=_last_success(cron, runs),
        next_schedule_time=text(found.next_at) if found.next_at is not None and not spec.suspend else None,
    )
    plan = _write(world, said, status, now)
    return do.Plan(effects=(*effects, *plan.effects), wake_at=_wake(spec, found, now))


def manifest(cron: CronRun, at: float) -> dict[str, Any]:
    """The WorkflowRun of one time; its name has the minutes since 1970."""
    template = cron.spec["runTemplate"]
    metadata = template.get("metadata") or {}
    policy = cron.spec.get("concurrencyPolicy", Concurrency.ALLOW)
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowRun",
        "metadata": {
            "name": f"{cron.meta.name}-{int(at) // 60}",
            "namespace": cron.meta.namespace,
            "labels": {**(metadata.get("labels") or {}), CRON_LABEL: cron.meta.name},
            "annotations": {**(metadata.get("annotations") or {}), SCHEDULED_AT: text(at)},
            "ownerReferences": [owner_reference("CronWorkflowRun", cron.meta)],
        },
        "spec": {**template["spec"], "concurrencyPolicy": str(policy)},
    }


def _last(cron: CronRun, runs: Sequence[Run]) -> float | None:
    """The time for which a run was made last: as it was written down, or as the runs tell."""
    noted = instant(cron.status.last_schedule_time)
    known = [at for at in (noted, *(run.scheduled_at for run in runs)) if at]
    return max(known, default=None)


def _last_success(cron: CronRun, runs: Sequence[Run]) -> str | None:
    """RFC 3339 in UTC, whose texts follow one another as times do."""
    ended = [run.status.completed_at for run in runs if run.status.phase == "Succeeded" and run.status.completed_at]
    return max([*ended, *filter(None, [cron.status.last_successful_time])], default=None)


def _outlived(spec: Cron, runs: Sequence[Run]) -> list[Run]:
    """Runs that have ended and are more than are kept, the oldest ones."""
    over = [run for run in runs if is_over(run) and not run.meta.deleting]
    good = [run for run in over if run.status.phase == "Succeeded"]
    bad = [run for run in over if run.status.phase != "Succeeded"]
    kept = ((good, spec.successful_runs_history_limit), (bad, spec.failed_runs_history_limit))
    return [run for some, limit in kept for run in some[: max(0, len(some) - limit)]]


def _on_time(found: Due, blockers: Sequence[str]) -> Said:
    """Whether what was due is started."""
    if found.at is None:
        return Said("OnTime", ConditionStatus.TRUE, "OnTime")
    if found.late:
        return Said("OnTime", ConditionStatus.FALSE, "MissedDeadline", f"nothing was started at {text(found.at)}")
    if blockers:
        why = f"{text(found.at)} waits: {', '.join(blockers[:3])} has not ended, and spec.concurrencyPolicy is Forbid"
        return Said("OnTime", ConditionStatus.FALSE, "StillActive", why)
    count = f"more than {MANY - 1}" if found.missed >= MANY else str(found.missed)
    return Said(
        "OnTime", ConditionStatus.TRUE, "OnTime", f"{count} times before it were missed" if found.missed else ""
    )


def _wake(spec: Cron, found: Due, now: float) -> float | None:
    """When the next time comes, or the deadline of one that waits is over; a run that ends brings its key by itself."""
    if spec.suspend:
        return None
    waits = found.at is not None and not found.late and spec.starting_deadline_seconds is not None
    over = found.at + (spec.starting_deadline_seconds or 0) + 1.0 if waits and found.at is not None else None
    times = [at for at in (found.next_at, over) if at is not None and at > now]
    return min(times, default=None)


def _write(world: CronWorld, said: Sequence[Said], status: CronStatus, now: float) -> do.Plan:
    cron = world.cron
    status = msgspec.structs.replace(
        status,
        observed_generation=cron.meta.generation,
        conditions=conditions(cron.status.conditions, said, cron.meta.generation, now),
    )
    return do.Plan(effects=() if status == cron.status else (do.WriteCronStatus(cron.meta, status),))
