"""What tasks print: kept as a bounded tail, shown with failures, and never a danger to memory."""

from pathlib import Path

from tests.integration.worker import jobs
from tests.integration.worker.peer import Peer


def evidence(peer: Peer, task: int) -> str:
    failure = peer.wait_for([task])[0].failure
    assert failure is not None
    return failure.evidence


def test_a_failure_shows_what_its_task_printed_and_only_that(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    quiet = peer.assign(jobs.print_then, [("before",)], 1)
    (task,) = peer.assign(jobs.print_then, [("mine", "oh")], 2)
    (silent,) = peer.assign(jobs.fail, [("ValueError",)], 3)
    peer.wait_for(quiet)
    shown = evidence(peer, task)
    assert shown.splitlines() == ["mine", "mine in error", "mine by a child"]
    assert evidence(peer, silent) == ""


def test_the_output_of_many_short_tasks_is_told_apart(peer: Peer) -> None:
    peer.start(workers=2)
    peer.wait_joined()
    peer.wait_for(peer.assign(jobs.say_and_fail, [("warm",)] * 100, 1000))
    tasks = peer.assign(jobs.say_and_fail, [(f"task {n}",) for n in range(100)], 1)
    assert [evidence(peer, task) for task in tasks] == [f"task {n}\n" for n in range(100)]


def test_a_task_may_print_far_more_than_its_manager_takes(peer: Peer) -> None:
    process = peer.start(workers=1)
    peer.wait_joined()
    (task,) = peer.assign(jobs.print_much, [(256,)])
    peak = 0

    def is_done() -> bool:
        nonlocal peak
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = max(peak, int(status.split("VmHWM:")[1].split()[0]))
        return task in peer.outcomes

    peer.wait(is_done, "the task to end")
    shown = evidence(peer, task)
    assert shown.endswith("the end\n")
    assert "dropped" in shown
    assert len(shown) < 5000
    assert peak < 100 * 1024, f"the manager took {peak} KiB"


def test_what_a_dying_worker_printed_is_shown(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    (task,) = peer.assign(jobs.say_and_die, [("last words",)])
    assert "last words" in evidence(peer, task)
