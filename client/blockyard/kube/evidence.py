"""What a pod's state says about its block: a table of causes, read from the top; the first row that fits, speaks.

`docs/states.md` is generated from `ROWS`; a test holds each row by its cause. What is known only to the operator (it
ended the block itself, no manager ever registered) is added by `blocks` with `blockyard.blocks.states.read_end`.

"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from blockyard.blocks.states import JobState, JobStatus
from blockyard.kube import ends, living
from blockyard.kube.ends import Reader
from blockyard.kube.pods import Pod


class Row(msgspec.Struct, frozen=True):
    """One cause: what is seen, what it reads as, and how it is told apart. `reason` '…' stands for Kubernetes' own."""

    cause: str
    seen: str
    state: JobState
    reason: str
    read: Reader


def status_of(pod: Pod, now: float) -> JobStatus:
    """Read a pod as the status of its block. `now` in epoch seconds."""
    for row in ROWS:
        found = row.read(pod, now)
        if found is not None:
            return msgspec.structs.replace(
                found, started_at=found.started_at or _started(pod), node=pod.node, ended_at=_ended(pod, found, now)
            )
    raise AssertionError(f"the last row fits everything, pod {pod.name} in phase {pod.phase!r} it did not")


def _started(pod: Pod) -> float | None:
    """When the first container of the main ones started."""
    return min((one.started_at for one in pod.containers if not one.init and one.started_at is not None), default=None)


def _ended(pod: Pod, status: JobStatus, now: float) -> float | None:
    if not status.terminal:
        return None
    ends = [one.ended_at for one in pod.containers if one.ended_at is not None]
    return max(ends, default=now)


_S = JobState
_IMAGE = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
)
_CREATE = (
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PreCreateHookError",
    "PostStartHookError",
)

ROWS: Final[Sequence[Row]] = (
    Row(
        "preempted by a pod of higher priority",
        "DisruptionTarget: PreemptionByScheduler",
        _S.TIMEOUT,
        "Preempted",
        ends.disrupted("PreemptionByScheduler", _S.TIMEOUT, "Preempted"),
    ),
    Row(
        "preempted by the node for a critical pod",
        "reason Preempting, or TerminationByKubelet that says so",
        _S.TIMEOUT,
        "Preempted",
        ends.by_kubelet(_S.TIMEOUT, "Preempted", "Preempting", said="preempted"),
    ),
    Row(
        "its queue took the pods back",
        "DisruptionTarget: WorkloadEvictedDueTo…",
        _S.TIMEOUT,
        "Preempted",
        ends.queue_evicted,
    ),
    Row(
        "evicted by API, as `kubectl drain` does",
        "DisruptionTarget: EvictionByEvictionAPI",
        _S.CANCELLED,
        "EvictedByAPI",
        ends.disrupted("EvictionByEvictionAPI", _S.CANCELLED, "EvictedByAPI"),
    ),
    Row(
        "a taint of its node drove it out, and the node saw to it",
        "DisruptionTarget: DeletionByTaintManager, and it has ended",
        _S.CANCELLED,
        "NodeTainted",
        ends.tainted,
    ),
    Row(
        "a taint of its node drove it out: the node does not answer",
        "DisruptionTarget: DeletionByTaintManager",
        _S.MISSING,
        "NodeLost",
        ends.disrupted("DeletionByTaintManager", _S.MISSING, "NodeLost"),
    ),
    Row(
        "its node was removed from the cluster",
        "DisruptionTarget: DeletionByPodGC",
        _S.MISSING,
        "NodeLost",
        ends.disrupted("DeletionByPodGC", _S.MISSING, "NodeLost"),
    ),
    Row(
        "its node shuts down",
        "reason Terminated, NodeShutdown, Shutdown, or TerminationByKubelet that says so",
        _S.MISSING,
        "NodeShutdown",
        ends.by_kubelet(_S.MISSING, "NodeShutdown", "Terminated", "NodeShutdown", "Shutdown", said="shutdown"),
    ),
    Row(
        "its node was lost (older clusters)",
        "reason NodeLost",
        _S.MISSING,
        "NodeLost",
        ends.pod_reason(_S.MISSING, "NodeLost", "NodeLost"),
    ),
    Row(
        "evicted by the kubelet: node pressure, or a volume beyond its sizeLimit",
        "reason Evicted, or another TerminationByKubelet",
        _S.FAILED,
        "Evicted",
        ends.by_kubelet(_S.FAILED, "Evicted", "Evicted"),
    ),
    Row(
        "reached its walltime",
        "reason DeadlineExceeded",
        _S.TIMEOUT,
        "Walltime",
        ends.pod_reason(_S.TIMEOUT, "Walltime", "DeadlineExceeded"),
    ),
    Row("deleted by somebody", "deletionTimestamp, and it has ended", _S.CANCELLED, "PodDeleted", ends.deleted),
    Row("deleted by force", "gone while it was not seen to end", _S.CANCELLED, "PodDeleted", ends.vanished),
    Row(
        "its node does not carry out the pod's deletion",
        "deleted, grace over, still there",
        _S.MISSING,
        "NodeLost",
        ends.stuck,
    ),
    Row(
        "the node refused it: resources, affinity, devices",
        "Failed with a reason, no container ran",
        _S.FAILED,
        "…",
        ends.kubelet_refused,
    ),
    Row(
        "the first process of a container ran out of memory",
        "OOMKilled and exit code 137",
        _S.FAILED,
        "OOMKilled",
        ends.out_of_memory,
    ),
    Row(
        "wrong command, or the runtime could not start it",
        "StartError, ContainerCannotRun",
        _S.FAILED,
        "…",
        ends.not_started,
    ),
    Row("an init container failed", "its exit code is not 0", _S.FAILED, "InitFailed", ends.init_failed),
    Row(
        "the manager said why it cannot work",
        "container worker, exit code 2, 3, 4, 5, 64",
        _S.FAILED,
        "WorkerConfig, WorkerUnfit, Refused, WorkerKey, PythonUnsupported",
        ends.manager_said,
    ),
    Row(
        "killed by a signal, by itself or from outside",
        "exit code 129 to 192",
        _S.FAILED,
        "SIGSEGV, SIGKILL, …",
        ends.signalled,
    ),
    Row("ended with another code", "exit code 1 to 255", _S.FAILED, "ExitCode", ends.exit_code),
    Row(
        "ended in order; OOMKilled with exit code 0 is this",
        "phase Succeeded",
        _S.COMPLETED,
        "Completed",
        ends.completed,
    ),
    Row("failed without a trace", "phase Failed, nothing else", _S.FAILED, "PodFailed", ends.failed),
    Row("its node does not answer", "phase Unknown", _S.UNKNOWN, "NodeUnreachable", living.unknown),
    Row(
        "its node does not answer for a while",
        "unready, its containers ready",
        _S.UNKNOWN,
        "NodeUnreachable",
        living.unreachable,
    ),
    Row("waits in a queue (Kueue)", "PodScheduled: SchedulingGated", _S.HELD, "SchedulingGated", living.gated),
    Row("no node has room for it", "PodScheduled: Unschedulable", _S.PENDING, "Unschedulable", living.unschedulable),
    Row("its image cannot be had", "waiting: " + ", ".join(_IMAGE[:3]), _S.PENDING, "…", living.waiting(*_IMAGE)),
    Row(
        "its container cannot be made: a missing Secret, a bad mount",
        "waiting: " + ", ".join(_CREATE[:2]),
        _S.PENDING,
        "…",
        living.waiting(*_CREATE),
    ),
    Row(
        "a sidecar ends again and again",
        "waiting: CrashLoopBackOff, or ended while the others go on",
        _S.RUNNING,
        "CrashLoopBackOff",
        living.crash_loop,
    ),
    Row(
        "is being deleted; its managers hand back what they have",
        "deletionTimestamp",
        _S.RUNNING,
        "Deleting",
        living.deleting,
    ),
    Row("its containers run", "phase Running", _S.RUNNING, "Started", living.running),
    Row("is on its way", "phase Pending", _S.PENDING, "Created, Scheduled, ContainerCreating, …", living.pending),
)
"""Read from the top. What the pod can't say is added by the block's reconcile, see `blocks`."""
