"""How the end of a pod is told from what the API server shows: the readers of the table in `evidence`.

Each returns None when it does not apply. Two facts about containers: one whose child once ran out of memory is stamped
OOMKilled whatever ended it, so that only reason and exit code 137 together mean that its first process was killed for
memory; and a code above 128 is a signal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from blockyard.blocks.exits import CODE_HINTS, SIGNAL_HINTS, signal_name
from blockyard.blocks.states import JobState, JobStatus
from blockyard.kube.pods import Container, Pod

UNREACHABLE_GRACE: Final = 30.0
"""Seconds beyond a deletion's own grace after which a pod that is still there is on a lost node."""

_LINE: Final = 300
"""Characters of the manager's last words that are told with its exit code."""

MANAGER_CODES: Final[Mapping[int, tuple[str, str]]] = {
    2: ("WorkerConfig", "the manager's settings are wrong"),
    3: ("WorkerUnfit", "no worker could be set up: a module to preload, or workerInit, fails"),
    4: ("Refused", "the interchange does not want this manager, for example for its Python version"),
    5: ("WorkerKey", "the manager's key cannot be read"),
    64: ("PythonUnsupported", "the worker is not built for the image's Python"),
}
"""Exit codes of the program in the container 'worker' (`blockyard_worker.exits`, and the start script's own 64)."""

Reader: TypeAlias = Callable[[Pod, float], JobStatus | None]


def says(state: JobState, reason: str, message: str, **more: object) -> JobStatus:
    return JobStatus(state=state, reason=reason, message=message, **more)  # type: ignore[arg-type]  # evidence, by name


# --- ends that the cluster brought about ------------------------------------------------------------------------------


def disrupted(reason: str, state: JobState, word: str) -> Reader:
    def read(pod: Pod, now: float) -> JobStatus | None:
        if not pod.holds("DisruptionTarget", "True", reason) or not _is_over(pod, now):
            return None
        return says(state, word, pod.conditions["DisruptionTarget"].message or pod.message, log_tail=_tail(pod))

    return read


def _is_over(pod: Pod, now: float) -> bool:
    """Its containers have ended, or can no longer be asked."""
    return pod.ended or pod.gone or (pod.deleting_by is not None and now > pod.deleting_by + UNREACHABLE_GRACE)


def tainted(pod: Pod, now: float) -> JobStatus | None:
    """A node that carries the deletion out is there: somebody, or the cluster, wanted it empty."""
    if not pod.holds("DisruptionTarget", "True", "DeletionByTaintManager") or not pod.ended:
        return None
    message = f"node {pod.node or '?'}: {pod.conditions['DisruptionTarget'].message}"
    return says(JobState.CANCELLED, "NodeTainted", message, log_tail=_tail(pod))


def pod_reason(state: JobState, word: str, *reasons: str) -> Reader:
    def read(pod: Pod, now: float) -> JobStatus | None:
        if pod.phase != "Failed" or pod.reason not in reasons:
            return None
        return says(state, word or pod.reason, pod.message, log_tail=_tail(pod))

    return read


def by_kubelet(state: JobState, word: str, *reasons: str, said: str = "") -> Reader:
    """The kubelet ended it. Its reason is lost when the programs then end in order, all with code 0: what is left is
    the condition, whose message, with `said` in it, tells which case it was."""
    by_reason = pod_reason(state, word, *reasons)

    def read(pod: Pod, now: float) -> JobStatus | None:
        found = by_reason(pod, now)
        if found is not None or not (pod.ended and pod.holds("DisruptionTarget", "True", "TerminationByKubelet")):
            return found
        message = pod.conditions["DisruptionTarget"].message
        return says(state, word, message, log_tail=_tail(pod)) if said in message else None

    return read


def stuck(pod: Pod, now: float) -> JobStatus | None:
    if pod.deleting_by is None or pod.ended or now <= pod.deleting_by + UNREACHABLE_GRACE:
        return None
    return says(JobState.MISSING, "NodeLost", f"node {pod.node or '?'} does not carry out the deletion of {pod.name}")


def deleted(pod: Pod, now: float) -> JobStatus | None:
    """Whoever deletes a pod ends its block, however its programs took it."""
    if pod.deleting_by is None or not (pod.ended or pod.gone):
        return None
    worst = _worst(pod)
    how = describe_end(worst) if worst is not None else "exit code 0" if pod.phase == "Succeeded" else "not seen to end"
    return says(JobState.CANCELLED, "PodDeleted", f"pod {pod.name} was deleted ({how})", log_tail=_tail(pod))


def vanished(pod: Pod, now: float) -> JobStatus | None:
    if not pod.gone or pod.ended:
        return None
    return says(JobState.CANCELLED, "PodDeleted", f"pod {pod.name} was deleted without grace")


def kubelet_refused(pod: Pod, now: float) -> JobStatus | None:
    if (
        pod.phase != "Failed"
        or not pod.reason
        or (pod.containers and any(one.exit_code is not None for one in pod.containers))
    ):
        return None
    return says(JobState.FAILED, pod.reason, pod.message or f"the node refused the pod: {pod.reason}")


def queue_evicted(pod: Pod, now: float) -> JobStatus | None:
    found = pod.condition("DisruptionTarget")
    kueue = pod.condition("TerminationTarget") or found
    if (
        kueue is None
        or kueue.status != "True"
        or not kueue.reason.startswith("WorkloadEvicted")
        or not _is_over(pod, now)
    ):
        return None
    return says(JobState.TIMEOUT, "Preempted", kueue.message)


# --- ends of programs -------------------------------------------------------------------------------------------------


def _worst(pod: Pod) -> Container | None:
    """The container to name: of those that ended badly the first to end, the initial ones before the others."""
    bad = [
        one
        for one in pod.containers
        if one.state == "terminated" and one.exit_code not in (0, None) and not one.sidecar
    ]
    return min(bad, key=lambda one: (not one.init, one.ended_at or 0.0), default=None)


def out_of_memory(pod: Pod, now: float) -> JobStatus | None:
    worst = _worst(pod) if pod.phase == "Failed" else None
    if worst is None or worst.reason != "OOMKilled" or worst.exit_code != 137:
        return None
    message = f"container {worst.name} ran out of memory and was killed; raise its memory limit, or use fewer workers"
    return says(JobState.FAILED, "OOMKilled", message, signal=9, log_tail=_tail(pod))


def not_started(pod: Pod, now: float) -> JobStatus | None:
    worst = _worst(pod) if pod.phase == "Failed" else None
    if worst is None or worst.reason not in ("StartError", "ContainerCannotRun", "ContainerStatusUnknown"):
        return None
    if worst.reason == "ContainerStatusUnknown":
        return says(
            JobState.MISSING, worst.reason, f"container {worst.name}: {worst.message}", exit_code=worst.exit_code
        )
    return says(
        JobState.FAILED,
        worst.reason,
        f"container {worst.name} could not start: {worst.message}",
        exit_code=worst.exit_code,
    )


def init_failed(pod: Pod, now: float) -> JobStatus | None:
    worst = _worst(pod) if pod.phase == "Failed" else None
    if worst is None or not worst.init:
        return None
    return says(
        JobState.FAILED,
        "InitFailed",
        f"init container {worst.name}: {describe_end(worst)}",
        exit_code=worst.exit_code,
        log_tail=_tail(pod),
    )


def manager_said(pod: Pod, now: float) -> JobStatus | None:
    worst = _worst(pod) if pod.phase == "Failed" else None
    if worst is None or worst.name != "worker" or worst.exit_code is None or worst.exit_code not in MANAGER_CODES:
        return None
    reason, meaning = MANAGER_CODES[worst.exit_code]
    lines = worst.message.strip().splitlines()
    return says(
        JobState.FAILED,
        reason,
        f"exit code {worst.exit_code}: {meaning}{': ' + lines[-1][:_LINE] if lines else ''}",
        exit_code=worst.exit_code,
        log_tail=_tail(pod),
    )


def signalled(pod: Pod, now: float) -> JobStatus | None:
    worst = _worst(pod) if pod.phase == "Failed" else None
    if worst is None or (number := _signal_of(worst)) is None:
        return None
    return says(
        JobState.FAILED,
        signal_name(number),
        f"container {worst.name}: {describe_end(worst)}",
        signal=number,
        log_tail=_tail(pod),
    )


def exit_code(pod: Pod, now: float) -> JobStatus | None:
    worst = _worst(pod) if pod.phase == "Failed" else None
    if worst is None:
        return None
    return says(
        JobState.FAILED,
        "ExitCode",
        f"container {worst.name}: {describe_end(worst)}",
        exit_code=worst.exit_code,
        log_tail=_tail(pod),
    )


def completed(pod: Pod, now: float) -> JobStatus | None:
    if pod.phase != "Succeeded":
        return None
    stamped = [one.name for one in pod.containers if one.reason == "OOMKilled"]
    note = f"; a child of {stamped[0]} was killed for memory meanwhile" if stamped else ""
    return says(JobState.COMPLETED, "Completed", f"exit code 0{note}", exit_code=0)


def failed(pod: Pod, now: float) -> JobStatus | None:
    if pod.phase != "Failed":
        return None
    return says(
        JobState.FAILED,
        pod.reason or "PodFailed",
        pod.message or "the pod failed and nothing says why",
        log_tail=_tail(pod),
    )


def _signal_of(one: Container) -> int | None:
    if one.signal is not None:
        return one.signal
    code = one.exit_code
    return code - 128 if code is not None and 128 < code <= 128 + 64 else None


def describe_end(one: Container) -> str:
    """How a container ended, in words, with a guess at who did it."""
    number = _signal_of(one)
    memory = "; a child of it was killed for memory" if one.reason == "OOMKilled" and one.exit_code != 137 else ""
    if number is not None:
        hint = next((text for known, text in SIGNAL_HINTS.items() if known == number), "")
        return f"killed by {signal_name(number)} ({number}){': ' + hint if hint else ''}{memory}"
    hint = CODE_HINTS.get(one.exit_code or 0, "")
    return f"exit code {one.exit_code}{': ' + hint if hint else ''}{memory}"


def _tail(pod: Pod) -> str:
    """The end of the log, which the kubelet puts into a failed container's message (FallbackToLogsOnError)."""
    worst = _worst(pod)
    return worst.message if worst is not None else ""
