"""What a pod that has not ended is up to: the readers of the table in `evidence`. None when one does not apply."""

from __future__ import annotations

from blockyard.blocks.states import JobState, JobStatus
from blockyard.kube.ends import Reader, describe_end, says
from blockyard.kube.pods import Pod

# --- living -----------------------------------------------------------------------------------------------------------


def unknown(pod: Pod, now: float) -> JobStatus | None:
    if pod.phase != "Unknown":
        return None
    return says(JobState.UNKNOWN, "NodeUnreachable", pod.message or f"node {pod.node} does not answer")


def unreachable(pod: Pod, now: float) -> JobStatus | None:
    """The control plane marks pods of a silent node unready; their containers it cannot ask."""
    if pod.phase != "Running" or not (pod.holds("Ready", "False") and pod.holds("ContainersReady", "True")):
        return None
    if any(one.state != "running" for one in pod.containers if not one.init):
        return None
    return says(JobState.UNKNOWN, "NodeUnreachable", f"node {pod.node} does not answer")


def gated(pod: Pod, now: float) -> JobStatus | None:
    if not pod.holds("PodScheduled", "False", "SchedulingGated"):
        return None
    return says(JobState.HELD, "SchedulingGated", pod.conditions["PodScheduled"].message or "waits in a queue")


def unschedulable(pod: Pod, now: float) -> JobStatus | None:
    if pod.phase != "Pending" or not pod.holds("PodScheduled", "False"):
        return None
    found = pod.conditions["PodScheduled"]
    return says(JobState.PENDING, found.reason or "Unschedulable", found.message)


def waiting(*reasons: str) -> Reader:
    def read(pod: Pod, now: float) -> JobStatus | None:
        if pod.phase != "Pending":
            return None
        held = next((one for one in pod.containers if one.state == "waiting" and one.reason in reasons), None)
        if held is None:
            return None
        return says(JobState.PENDING, held.reason, f"container {held.name}: {held.message or held.reason}")

    return read


def crash_loop(pod: Pod, now: float) -> JobStatus | None:
    """Between its lives a sidecar is shown as ended rather than as waiting."""
    held = next((one for one in pod.containers if one.state == "waiting" and one.reason == "CrashLoopBackOff"), None)
    if held is None and not any(one.state == "terminated" for one in pod.containers if not one.init):
        held = next((one for one in pod.containers if one.sidecar and one.state == "terminated"), None)
    if held is None or pod.ended:
        return None
    state = JobState.RUNNING if pod.phase == "Running" else JobState.PENDING
    return says(state, "CrashLoopBackOff", f"container {held.name} ended {held.restarts} times: {describe_end(held)}")


def deleting(pod: Pod, now: float) -> JobStatus | None:
    if pod.deleting_by is None or pod.ended:
        return None
    state = JobState.RUNNING if pod.phase == "Running" else JobState.PENDING
    return says(state, "Deleting", f"pod {pod.name} is being deleted")


def running(pod: Pod, now: float) -> JobStatus | None:
    return says(JobState.RUNNING, "Started", "its containers run") if pod.phase == "Running" else None


def pending(pod: Pod, now: float) -> JobStatus | None:
    held = next((one for one in pod.containers if one.state == "waiting" and one.reason), None)
    if held is not None:
        return says(JobState.PENDING, held.reason, f"container {held.name}: {held.message or held.reason}")
    return says(JobState.PENDING, "Scheduled" if pod.node else "Created", f"pod {pod.name}")
