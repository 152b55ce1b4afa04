"""Each row of the table of evidence, by a pod as the API server shows it when the cause happened."""

from typing import Any

import pytest
from msgspec.structs import replace

from blockyard.blocks.states import JobState
from blockyard.kube.ends import UNREACHABLE_GRACE
from blockyard.kube.evidence import ROWS, status_of
from blockyard.kube.pods import read_pod
from blockyard.kube.times import instant

NOW = instant("2026-01-31T12:00:00Z") or 0.0
START, END = "2026-01-31T11:00:00Z", "2026-01-31T11:30:00Z"

Raw = dict[str, Any]


def seen(
    status: Raw, *, deleted: str = "", gone: bool = False, sidecars: tuple[str, ...] = ()
) -> tuple[JobState, str, str]:
    """State, reason and message that a pod with this status reads as."""
    status = {"phase": "Failed", **status}
    spec = {"nodeName": "node-1", "initContainers": [{"name": name, "restartPolicy": "Always"} for name in sidecars]}
    meta = {"name": "b-0", "uid": "u", **({"deletionTimestamp": deleted} if deleted else {})}
    pod = replace(read_pod({"metadata": meta, "spec": spec, "status": status}), gone=gone)
    found = status_of(pod, NOW)
    assert found.node == "node-1"
    assert found.terminal == (found.ended_at is not None)
    return found.state, found.reason, found.message


def ended(code: int, reason: str = "Error", message: str = "", name: str = "worker") -> Raw:
    detail = {"exitCode": code, "reason": reason, "message": message, "startedAt": START, "finishedAt": END}
    return {"name": name, "state": {"terminated": detail}}


def waits(reason: str, message: str = "", name: str = "worker") -> Raw:
    return {"name": name, "state": {"waiting": {"reason": reason, "message": message}}}


RUNS: Raw = {"name": "worker", "state": {"running": {"startedAt": START}}}


def holds(kind: str, reason: str = "", status: str = "True", message: str = "said") -> Raw:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": START}


def disrupted(reason: str) -> Raw:
    return {"containerStatuses": [ended(143)], "conditions": [holds("DisruptionTarget", reason)]}


S = JobState
CASES: list[tuple[str, Raw, JobState, str]] = [
    ("preempted by a pod of higher priority", disrupted("PreemptionByScheduler"), S.TIMEOUT, "Preempted"),
    ("preempted by the node for a critical pod", {"reason": "Preempting"}, S.TIMEOUT, "Preempted"),
    ("its queue took the pods back", disrupted("WorkloadEvictedDueToPreempted"), S.TIMEOUT, "Preempted"),
    ("evicted by API, as `kubectl drain` does", disrupted("EvictionByEvictionAPI"), S.CANCELLED, "EvictedByAPI"),
    (
        "a taint of its node drove it out, and the node saw to it",
        disrupted("DeletionByTaintManager"),
        S.CANCELLED,
        "NodeTainted",
    ),
    ("its node was removed from the cluster", disrupted("DeletionByPodGC"), S.MISSING, "NodeLost"),
    ("its node shuts down", {"reason": "Terminated", **disrupted("TerminationByKubelet")}, S.MISSING, "NodeShutdown"),
    ("its node was lost (older clusters)", {"reason": "NodeLost"}, S.MISSING, "NodeLost"),
    (
        "evicted by the kubelet: node pressure, or a volume beyond its sizeLimit",
        {"reason": "Evicted", "message": 'Usage of EmptyDir volume "tmp" exceeds the limit "1Mi".'},
        S.FAILED,
        "Evicted",
    ),
    ("reached its walltime", {"reason": "DeadlineExceeded", "containerStatuses": [ended(143)]}, S.TIMEOUT, "Walltime"),
    (
        "the node refused it: resources, affinity, devices",
        {"reason": "OutOfmemory", "message": "Node didn't have enough resource: memory"},
        S.FAILED,
        "OutOfmemory",
    ),
    (
        "the first process of a container ran out of memory",
        {"containerStatuses": [ended(137, "OOMKilled")]},
        S.FAILED,
        "OOMKilled",
    ),
    (
        "wrong command, or the runtime could not start it",
        {"containerStatuses": [ended(128, "StartError", 'exec: "nonsense": not found')]},
        S.FAILED,
        "StartError",
    ),
    (
        "an init container failed",
        {"initContainerStatuses": [ended(1, name="blockyard-install")]},
        S.FAILED,
        "InitFailed",
    ),
    ("the manager said why it cannot work", {"containerStatuses": [ended(64)]}, S.FAILED, "PythonUnsupported"),
    ("killed by a signal, by itself or from outside", {"containerStatuses": [ended(139)]}, S.FAILED, "SIGSEGV"),
    ("ended with another code", {"containerStatuses": [ended(7)]}, S.FAILED, "ExitCode"),
    (
        "ended in order; OOMKilled with exit code 0 is this",
        {"phase": "Succeeded", "containerStatuses": [ended(0, "OOMKilled")]},
        S.COMPLETED,
        "Completed",
    ),
    ("failed without a trace", {}, S.FAILED, "PodFailed"),
    ("its node does not answer", {"phase": "Unknown"}, S.UNKNOWN, "NodeUnreachable"),
    (
        "its node does not answer for a while",
        {
            "phase": "Running",
            "containerStatuses": [RUNS],
            "conditions": [holds("Ready", status="False"), holds("ContainersReady")],
        },
        S.UNKNOWN,
        "NodeUnreachable",
    ),
    (
        "waits in a queue (Kueue)",
        {"phase": "Pending", "conditions": [holds("PodScheduled", "SchedulingGated", "False")]},
        S.HELD,
        "SchedulingGated",
    ),
    (
        "no node has room for it",
        {"phase": "Pending", "conditions": [holds("PodScheduled", "Unschedulable", "False", "0/2 nodes")]},
        S.PENDING,
        "Unschedulable",
    ),
    (
        "its image cannot be had",
        {"phase": "Pending", "containerStatuses": [waits("ImagePullBackOff", "back-off")]},
        S.PENDING,
        "ImagePullBackOff",
    ),
    (
        "its container cannot be made: a missing Secret, a bad mount",
        {"phase": "Pending", "containerStatuses": [waits("CreateContainerConfigError", 'secret "x" not found')]},
        S.PENDING,
        "CreateContainerConfigError",
    ),
    ("its containers run", {"phase": "Running", "containerStatuses": [RUNS]}, S.RUNNING, "Started"),
    (
        "is on its way",
        {"phase": "Pending", "containerStatuses": [waits("ContainerCreating")]},
        S.PENDING,
        "ContainerCreating",
    ),
]


@pytest.mark.parametrize("cause, status, state, reason", CASES, ids=[case[0] for case in CASES])
def test_a_cause_reads_as_its_row_says(cause: str, status: Raw, state: JobState, reason: str) -> None:
    row = next(row for row in ROWS if row.cause == cause)
    assert seen(status)[:2] == (state, reason)
    assert row.state is state
    assert row.reason == "…" or reason in row.reason or row.reason.endswith("…")


def test_every_row_has_a_test() -> None:
    others = {
        "a taint of its node drove it out: the node does not answer",
        "deleted by somebody",
        "deleted by force",
        "its node does not carry out the pod's deletion",
        "a sidecar ends again and again",
        "is being deleted; its managers hand back what they have",
    }
    assert {row.cause for row in ROWS} == {case[0] for case in CASES} | others


@pytest.mark.parametrize(
    "message, state, reason",
    [
        ("Pod was preempted by Kubelet to accommodate a critical pod.", S.TIMEOUT, "Preempted"),
        ("Pod was terminated in response to imminent node shutdown.", S.MISSING, "NodeShutdown"),
        ('Usage of EmptyDir volume "a" exceeds the limit "1Mi". ', S.FAILED, "Evicted"),
    ],
)
def test_what_the_kubelet_did_is_told_though_all_ended_in_order(message: str, state: JobState, reason: str) -> None:
    """As Kubernetes 1.35 shows it: phase Succeeded, without a reason."""
    condition = holds("DisruptionTarget", "TerminationByKubelet", message=message)
    found = seen({"phase": "Succeeded", "containerStatuses": [ended(0)], "conditions": [condition]})
    assert found == (state, reason, message)


def test_deleted_by_somebody() -> None:
    deleted = "2026-01-31T11:59:00Z"
    assert seen({"phase": "Succeeded", "containerStatuses": [ended(0)]}, deleted=deleted)[:2] == (
        S.CANCELLED,
        "PodDeleted",
    )
    assert seen({"containerStatuses": [ended(137)]}, deleted=deleted)[:2] == (S.CANCELLED, "PodDeleted")


def test_a_taint_of_its_node_drove_it_out_and_the_node_does_not_answer() -> None:
    running = {**disrupted("DeletionByTaintManager"), "phase": "Running", "containerStatuses": [RUNS]}
    assert seen(running, deleted="2026-01-31T11:59:00Z")[:2] == (S.MISSING, "NodeLost")
    assert seen(running, gone=True)[:2] == (S.MISSING, "NodeLost")
    assert seen(running, deleted="2026-01-31T11:59:50Z")[:2] == (S.RUNNING, "Deleting")


def test_deleted_by_force() -> None:
    assert seen({"phase": "Running", "containerStatuses": [RUNS]}, gone=True)[:2] == (S.CANCELLED, "PodDeleted")


def test_a_pod_that_was_seen_to_end_and_then_removed_keeps_its_end() -> None:
    assert seen({"containerStatuses": [ended(137, "OOMKilled")]}, gone=True)[:2] == (S.FAILED, "OOMKilled")


def test_its_node_does_not_carry_out_the_deletion() -> None:
    running = {"phase": "Running", "containerStatuses": [RUNS]}
    late = "2026-01-31T11:59:00Z"
    assert NOW - (instant(late) or 0) > UNREACHABLE_GRACE
    assert seen(running, deleted=late)[:2] == (S.MISSING, "NodeLost")
    assert seen(running, deleted="2026-01-31T11:59:50Z")[:2] == (S.RUNNING, "Deleting")


def test_a_sidecar_ends_again_and_again() -> None:
    loop = {**waits("CrashLoopBackOff", name="logs"), "restartCount": 4, "lastState": ended(3)["state"]}
    status = {"phase": "Running", "containerStatuses": [RUNS], "initContainerStatuses": [loop]}
    state, reason, message = seen(status, sidecars=("logs",))
    assert (state, reason) == (S.RUNNING, "CrashLoopBackOff")
    assert "container logs ended 4 times: exit code 3" in message


def test_a_sidecar_between_two_lives_is_shown_as_ended() -> None:
    between = {**ended(3, name="logs"), "restartCount": 4}
    alive = {"phase": "Running", "containerStatuses": [RUNS], "initContainerStatuses": [between]}
    assert seen(alive, sidecars=("logs",))[1] == "CrashLoopBackOff"
    assert seen({**alive, "containerStatuses": [ended(0)]}, sidecars=("logs",))[1] == "Started", "it goes with the pod"


def test_a_manager_that_ended_beside_a_container_that_goes_on_has_ended_the_pod() -> None:
    beside = {**RUNS, "name": "proxy"}
    assert seen({"phase": "Running", "containerStatuses": [beside, ended(0)]})[:2] == (S.COMPLETED, "Completed")
    assert seen({"phase": "Running", "containerStatuses": [beside, ended(139)]})[:2] == (S.FAILED, "SIGSEGV")


def test_a_manager_that_ended_alone_says_nothing_before_the_kubelet_does() -> None:
    """An eviction's reason comes with the phase, after the containers' ends."""
    assert seen({"phase": "Running", "containerStatuses": [ended(0)]})[:2] == (S.RUNNING, "Started")
    evicting = {"conditions": [holds("DisruptionTarget", "TerminationByKubelet")]}
    both = {"containerStatuses": [{**RUNS, "name": "proxy"}, ended(0)]}
    assert seen({"phase": "Running", **both, **evicting})[:2] == (S.RUNNING, "Started")
    assert seen({"reason": "Evicted", **both, **evicting})[:2] == (S.FAILED, "Evicted")


@pytest.mark.parametrize("code, reason", [(2, "WorkerConfig"), (3, "WorkerUnfit"), (4, "Refused"), (5, "WorkerKey")])
def test_the_manager_tells_by_its_exit_code(code: int, reason: str) -> None:
    found = seen({"containerStatuses": [ended(code, message="first\nbecause of this\n")]})
    assert found[1] == reason
    assert found[2].endswith(": because of this")


def test_another_container_with_such_a_code_says_nothing_of_the_kind() -> None:
    assert seen({"containerStatuses": [ended(64, name="proxy"), ended(0)]})[1] == "ExitCode"


def test_a_child_that_ran_out_of_memory_is_named_beside_the_programs_own_end() -> None:
    state, reason, message = seen({"containerStatuses": [ended(1, "OOMKilled")]})
    assert (state, reason) == (S.FAILED, "ExitCode")
    assert "killed for memory" in message


def test_the_end_of_the_log_travels_with_the_end_of_the_pod() -> None:
    raw = {
        "metadata": {"name": "b-0", "uid": "u"},
        "status": {"phase": "Failed", "containerStatuses": [ended(1, message="Traceback: no module named x")]},
    }
    found = status_of(read_pod(raw), NOW)
    assert found.log_tail == "Traceback: no module named x"
    assert (found.exit_code, found.started_at, found.ended_at) == (1, instant(START), instant(END))
