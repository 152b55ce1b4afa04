"""What a reconcile wants done. Values only: the applier carries them out, one after the other, and stops at a failure.

Each can be repeated: names are deterministic, deletions and drains name the object's uid, statuses are whole.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from blockyard.blocks.states import JobStatus
from blockyard.workflow.spec import Workflow
from blockyard_operator.core.objects import Meta
from blockyard_operator.core.view import HeldRadio
from blockyard_operator.resources.block import BlockStatus
from blockyard_operator.resources.cron import CronStatus
from blockyard_operator.resources.pool import PoolStatus
from blockyard_operator.resources.run import RunStatus


class CreateBlock(msgspec.Struct, frozen=True):
    """Make a WorkerBlock from this manifest."""

    manifest: dict[str, Any]


class DrainBlock(msgspec.Struct, frozen=True):
    """Set a block's `spec.drain`, and note why."""

    block: Meta
    ending: str


class DeleteBlock(msgspec.Struct, frozen=True):
    """Delete a WorkerBlock that has ended."""

    block: Meta


class CreatePod(msgspec.Struct, frozen=True):
    """Make node `index` of a block."""

    block: Meta
    index: int


class CreateService(msgspec.Struct, frozen=True):
    """Make the headless Service of a block."""

    block: Meta


class CreatePodGroup(msgspec.Struct, frozen=True):
    """Make the PodGroup of a block, for schedulers that place its pods together."""

    block: Meta


class DeletePod(msgspec.Struct, frozen=True):
    """Delete a pod with its own grace."""

    namespace: str
    name: str
    uid: str


class MarkEvictable(msgspec.Struct, frozen=True):
    """Say on a pod whether an autoscaler may remove its node."""

    namespace: str
    name: str
    uid: str
    evictable: bool


class MakeSecret(msgspec.Struct, frozen=True):
    """See that the Secret with a pool's key and settings is there, owned by `owner`; `radio` None: with what it has."""

    owner: Meta
    kind: str
    radio: HeldRadio | None = None


class AskRadio(msgspec.Struct, frozen=True):
    """Ask the hub for a receiver of this pool; `known`: the config that it had for the same wish, '' if none."""

    queue: str
    wanted: str
    known: str

    def __repr__(self) -> str:
        return f"AskRadio({self.queue!r}, {self.wanted!r})"


class ShutRadio(msgspec.Struct, frozen=True):
    """Have the hub shut the pool's receiver."""

    queue: str


class CheckTemplate(msgspec.Struct, frozen=True):
    """Find out by a dry run whether the API server takes the pods of this pool."""

    pool: Meta
    hash: str


class DrainManagers(msgspec.Struct, frozen=True):
    """Tell the interchange to give a block nothing more; `grace` seconds for what runs."""

    queue: str
    block: str
    grace: float


class SayGone(msgspec.Struct, frozen=True):
    """Tell the interchange that a block has ended."""

    queue: str
    block: str
    reason: str


class ReportBlock(msgspec.Struct, frozen=True):
    """Tell the interchange a block's state, for those who ask it."""

    queue: str
    block: str
    status: JobStatus


class FailTasks(msgspec.Struct, frozen=True):
    """Tell the interchange to end all tasks of a pool that was given up; `reason`: why, and what is to be done."""

    queue: str
    reason: str


class WriteBlockStatus(msgspec.Struct, frozen=True):
    """Replace a block's status. `urgent`: more than counts have changed."""

    block: Meta
    status: BlockStatus
    urgent: bool = True


class WritePoolStatus(msgspec.Struct, frozen=True):
    """Replace a pool's status. `urgent`: more than counts have changed."""

    pool: Meta
    status: PoolStatus
    urgent: bool = True


class ReadConfigMaps(msgspec.Struct, frozen=True):
    """Read, for a run, ConfigMaps of its namespace."""

    run: Meta
    names: tuple[str, ...]


class StartRun(msgspec.Struct, frozen=True):
    """Have the interchange start a run, of this name there, from this spec."""

    run: Meta
    name: str
    spec: Workflow


class AskRun(msgspec.Struct, frozen=True):
    """Ask the interchange how a run stands."""

    run: Meta
    name: str


class RetryRun(msgspec.Struct, frozen=True):
    """Have the interchange run again what has not succeeded of a run that has ended."""

    run: Meta
    name: str
    spec: Workflow
    attempt: int


class HoldRun(msgspec.Struct, frozen=True):
    """Have the interchange hand out nothing more of a run, or go on with it. `running`: stop its programs, too."""

    name: str
    held: bool
    running: bool = False


class EndRun(msgspec.Struct, frozen=True):
    """Have the interchange cancel a run; its exit step still runs."""

    name: str


class DeleteRun(msgspec.Struct, frozen=True):
    """Delete a WorkflowRun whose time is over."""

    run: Meta


class WriteRunStatus(msgspec.Struct, frozen=True):
    """Replace a run's status. `urgent`: more than counts have changed."""

    run: Meta
    status: RunStatus
    urgent: bool = True


class CreateRun(msgspec.Struct, frozen=True):
    """Make the WorkflowRun of one time of a CronWorkflowRun."""

    cron: Meta
    manifest: dict[str, Any]


class WriteCronStatus(msgspec.Struct, frozen=True):
    """Replace the status of a CronWorkflowRun."""

    cron: Meta
    status: CronStatus


class Tell(msgspec.Struct, frozen=True):
    """Write an Event about an object, of one of our kinds."""

    about: Meta
    kind: str
    reason: str
    note: str
    warning: bool = False


Effect: TypeAlias = (
    CreateBlock
    | DrainBlock
    | DeleteBlock
    | CreatePod
    | CreateService
    | CreatePodGroup
    | DeletePod
    | MarkEvictable
    | MakeSecret
    | AskRadio
    | ShutRadio
    | CheckTemplate
    | DrainManagers
    | SayGone
    | ReportBlock
    | FailTasks
    | ReadConfigMaps
    | StartRun
    | AskRun
    | RetryRun
    | HoldRun
    | EndRun
    | DeleteRun
    | WriteRunStatus
    | CreateRun
    | WriteCronStatus
    | WriteBlockStatus
    | WritePoolStatus
    | Tell
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Effects in order, and when time alone may call for more (epoch seconds)."""

    effects: tuple[Effect, ...] = ()
    wake_at: float | None = None
