"""Workers that die, are killed, run out of time or memory: what becomes of their tries; that nothing stays behind."""

import os
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from blockyard.wire.manager import Stop
from blockyard.wire.records import Lease, Outcome, Status
from tests.integration.processes import WITHIN, wait_until
from tests.integration.worker import jobs
from tests.integration.worker.measure_cpu import children
from tests.integration.worker.peer import Peer, marked_processes, values

LONG_ENOUGH = 2.0
"""Seconds in which a try begins, or does what it is told, on a machine that stands still for one of them."""


@pytest.mark.parametrize(
    "how, evidence",
    [("exit", "exit code 7"), ("segfault", "SIGSEGV"), ("SIGKILL", "SIGKILL"), ("SIGTERM", "SIGTERM")],
)
def test_a_try_that_ends_its_worker_is_lost_with_evidence_and_the_others_go_on(
    peer: Peer, tmp_path: Path, how: str, evidence: str
) -> None:
    peer.start(workers=2)
    peer.wait_joined()
    log = tmp_path / "log"
    before = peer.assign(jobs.add, [(n,) for n in range(50)], 100)
    (lost,) = peer.assign(jobs.note_and_die, [(str(log), "died", how)], 1)
    after = peer.assign(jobs.add, [(n,) for n in range(50)], 200)
    (outcome,) = peer.wait_for([lost])
    assert outcome.status is Status.LOST
    assert outcome.failure is not None
    assert evidence in outcome.failure.message
    assert values(peer.wait_for([*before, *after])) == [*range(50), *range(50)]
    assert log.read_text() == "died\n"


def test_the_traceback_of_a_segfault_is_part_of_the_evidence(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    (outcome,) = peer.wait_for(peer.assign(jobs.die, [("segfault",)]))
    assert outcome.failure is not None
    assert "Segmentation fault" in outcome.failure.evidence
    assert "in die" in outcome.failure.evidence


def test_what_waited_behind_a_try_that_killed_its_worker_runs_once(peer: Peer, tmp_path: Path) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    log = tmp_path / "log"
    peer.wait_for(peer.assign(jobs.note, [(str(log), "warm")] * 300, 1000))
    log.unlink()
    first = peer.assign(jobs.note, [(str(log), f"a{n}") for n in range(100)], 1, idempotent=False)
    lost = peer.assign(jobs.die, [("SIGKILL",)], 500, idempotent=False)
    rest = peer.assign(jobs.note, [(str(log), f"b{n}") for n in range(100)], 201, idempotent=False)
    outcomes = peer.wait_for([*first, *lost, *rest])
    assert [outcome.task for outcome in outcomes if outcome.status is not Status.DONE] == lost
    assert sorted(log.read_text().split()) == sorted([f"a{n}" for n in range(100)] + [f"b{n}" for n in range(100)])


def test_a_killed_worker_is_noticed_at_once_and_replaced(peer: Peer, tmp_path: Path) -> None:
    log = tmp_path / "log"
    peer.heartbeat = 30.0
    peer.start(workers=1)
    peer.wait_joined()
    (worker,) = values(peer.wait_for(peer.assign(jobs.pid, [()], 1)))
    (running,) = peer.assign(jobs.with_cleanup, [(str(log),)], 2)
    peer.wait(log.exists, "the task to start")
    (waiting,) = peer.assign(jobs.pid, [()], 3)
    os.kill(worker, signal.SIGKILL)
    assert peer.wait_for([running])[0].status is Status.LOST
    (other,) = values(peer.wait_for([waiting]))
    assert other != worker


def test_poison_tasks_do_not_keep_a_worker_from_being_started_again(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    outcomes = peer.wait_for(peer.assign(jobs.die, [("SIGKILL",)] * 4, 1))
    assert {outcome.status for outcome in outcomes} == {Status.LOST}
    assert values(peer.wait_for(peer.assign(jobs.add, [(1,)], 100))) == [1]


def test_a_task_that_comes_back_twice_by_fork_has_one_outcome(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    tasks = peer.assign(jobs.come_back_from_fork, [()] * 3)
    assert all(result > 0 for result in values(peer.wait_for(tasks)))
    assert values(peer.wait_for(peer.assign(jobs.add, [(5,)], 10))) == [5]
    assert len(peer.history) == 4


def test_a_try_over_its_time_ends_as_timeout_and_the_worker_lives_when_it_listens(peer: Peer, tmp_path: Path) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    log = tmp_path / "log"
    (worker,) = values(peer.wait_for(peer.assign(jobs.pid, [()], 1)))
    (outcome,) = peer.wait_for(peer.assign(jobs.with_cleanup, [(str(log),)], 2, timeout=LONG_ENOUGH))
    assert outcome.status is Status.TIMEOUT
    assert outcome.failure is not None
    assert f"{LONG_ENOUGH:g} s" in outcome.failure.message
    assert log.read_text() == "started\ncleaned\n"
    assert values(peer.wait_for(peer.assign(jobs.pid, [()], 3))) == [worker]


def test_a_try_that_swallows_its_timeout_is_killed(peer: Peer, tmp_path: Path) -> None:
    peer.start(workers=1, stop_grace=LONG_ENOUGH)
    peer.wait_joined()
    log = tmp_path / "log"
    (outcome,) = peer.wait_for(peer.assign(jobs.ignore_everything, [(str(log),)], timeout=LONG_ENOUGH))
    assert outcome.status is Status.TIMEOUT
    assert log.read_text().split() == ["started", "swallowed"]


def test_timeouts_count_from_the_start_of_each_try_in_a_frame(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    warm = peer.assign(jobs.sleep, [(0.0,)] * 300, 1000, timeout=LONG_ENOUGH)
    peer.wait_for(warm)  # known to be short, so it gets many at once
    tasks = peer.assign(jobs.sleep, [(0.1,)] * 30, timeout=LONG_ENOUGH)
    assert [outcome.status for outcome in peer.wait_for(tasks)] == [Status.DONE] * 30


def stop(peer: Peer, task: int, grace: float = 2.0) -> Outcome:
    peer.send(Stop([Lease(task, 1)], grace))
    return peer.wait_for([task])[0]


def test_a_running_task_is_cancelled_cooperatively(peer: Peer, tmp_path: Path) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    log = tmp_path / "log"
    (worker,) = values(peer.wait_for(peer.assign(jobs.pid, [()], 1)))
    (task,) = peer.assign(jobs.with_cleanup, [(str(log),)], 2)
    peer.wait(log.exists, "the task to start")
    assert stop(peer, task, 30.0).status is Status.CANCELLED
    assert log.read_text() == "started\ncleaned\n"
    assert values(peer.wait_for(peer.assign(jobs.pid, [()], 3))) == [worker]


@pytest.mark.parametrize("job", [jobs.swallow_cancel, jobs.ignore_everything])
def test_a_stubborn_task_is_killed_after_its_grace(peer: Peer, tmp_path: Path, job: object) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    log = tmp_path / "log"
    (task,) = peer.assign(job, [(str(log),)])  # type: ignore[arg-type]  # one of the two above
    peer.wait(log.exists, "the task to start")
    assert stop(peer, task, 0.2).status is Status.CANCELLED
    assert values(peer.wait_for(peer.assign(jobs.add, [(1,)], 3))) == [1]


def test_a_waiting_task_is_cancelled_without_a_trace_also_behind_a_running_one(peer: Peer, tmp_path: Path) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    gate, log = tmp_path / "gate", tmp_path / "log"
    peer.wait_for(peer.assign(jobs.note, [(str(log), "warm")] * 100, 1000))
    (first,) = peer.assign(jobs.wait_for, [(str(gate),)], 1)
    waiting = peer.assign(jobs.note, [(str(log), f"n{n}") for n in range(20)], 2)
    for task in (3, 21):
        assert stop(peer, task).status is Status.CANCELLED
    gate.touch()
    peer.wait_for([first, *waiting])
    words = log.read_text().split()
    assert "n1" not in words
    assert "n19" not in words
    assert sum(word != "warm" for word in words) == 18


def test_a_cancelled_task_takes_its_processes_with_it_daemons_too(peer: Peer, tmp_path: Path) -> None:
    peer.start(workers=2, block="tree")
    peer.wait_joined()
    log, quiet = tmp_path / "log", tmp_path / "gate"
    workers = set(values(peer.wait_for(peer.assign(jobs.pid, [()] * 50, 100))))
    bystander = peer.assign(jobs.wait_for, [(str(quiet),)], 1)
    (task,) = peer.assign(jobs.with_processes, [(str(log),)], 2)
    peer.wait(lambda: log.exists() and len(log.read_text().splitlines()) == 2, "the processes to start")
    wait_until("its programs run", sleepers, lambda found: len(found) == 3)
    forked = next(int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith("forked"))
    assert stop(peer, task).status is Status.CANCELLED
    wait_until("its programs have ended", sleepers, lambda left: not left)
    wait_until("its fork has ended", Path(f"/proc/{forked}/fd").exists, lambda there: not there)
    assert workers & set(marked_processes("tree"))
    quiet.touch()
    assert peer.wait_for(bystander)[0].status is Status.DONE


def test_a_task_over_its_memory_ends_as_such_and_names_peak_and_limit(peer: Peer) -> None:
    peer.start(workers=1, memory_per_worker=200 * 2**20, memory_period=0.05)
    peer.wait_joined()
    (outcome,) = peer.wait_for(peer.assign(jobs.eat, [(400,)]))
    assert outcome.status is Status.OUT_OF_MEMORY
    assert outcome.failure is not None
    assert ", 200Mi are allowed" in outcome.failure.message
    assert "memory of its worker, in all its life: at most " in outcome.failure.evidence, "which is no peak of this try"
    assert outcome.failure.limit_bytes == 200 * 2**20
    assert outcome.failure.peak_bytes > outcome.failure.limit_bytes
    assert values(peer.wait_for(peer.assign(jobs.add, [(1,)], 2))) == [1]


def test_the_memory_that_a_task_asked_for_is_its_limit(peer: Peer) -> None:
    peer.start(workers=1, memory_bytes=2**30, memory_period=0.05)
    peer.wait_joined()
    (outcome,) = peer.wait_for(peer.assign(jobs.eat, [(400,)], memory_bytes=150 * 2**20))
    assert outcome.status is Status.OUT_OF_MEMORY


def test_a_worker_is_replaced_after_so_many_tries_and_when_it_has_grown(peer: Peer) -> None:
    peer.start(workers=1, max_tasks_per_worker=5)
    peer.wait_joined()
    workers = values(peer.wait_for(peer.assign(jobs.pid, [()] * 20)))
    assert max(workers.count(worker) for worker in workers) == 5


def test_when_the_manager_is_killed_nothing_stays_behind(peer: Peer, tmp_path: Path) -> None:
    process = peer.start(workers=2, block="gone")
    peer.wait_joined()
    log = tmp_path / "log"
    peer.assign(jobs.with_processes, [(str(log),)])
    peer.assign(jobs.ignore_everything, [(str(tmp_path / "other"),)], 2)
    peer.wait(lambda: log.exists() and len(log.read_text().splitlines()) == 2, "the processes to start")
    wait_until("all of them run", lambda: marked_processes("gone"), lambda found: len(found) >= 7)
    process.kill()
    process.wait()
    wait_until("all processes of the block have ended", lambda: marked_processes("gone"), lambda left: not left)


def test_a_function_that_hangs_while_it_is_loaded_runs_out_of_time(peer: Peer) -> None:
    peer.start(workers=1, stop_grace=0.1)
    peer.wait_joined()
    (outcome,) = peer.wait_for(peer.assign(jobs.HangsOnLoad(), [()], timeout=0.2))
    assert outcome.status is Status.TIMEOUT


def test_workers_are_still_born_after_their_template_was_killed(peer: Peer) -> None:
    process = peer.start(workers=1)
    peer.wait_joined()
    (worker,) = values(peer.wait_for(peer.assign(jobs.pid, [()], 1)))
    (template,) = set(children(process.pid)) - {worker}
    os.kill(template, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    (other,) = values(peer.wait_for(peer.assign(jobs.pid, [()], 2)))
    assert other != worker
    assert values(peer.wait_for(peer.assign(jobs.scheduling, [()], 3))) == [os.SCHED_OTHER], "tasks do not give way"


def test_under_random_kills_everything_ends_and_what_may_run_once_does_not_run_twice(
    peer: Peer, tmp_path: Path
) -> None:
    process = peer.start(workers=3)
    peer.wait_joined()
    chance, count = random.Random(7), 1200
    log = tmp_path / "log"
    again = peer.assign(jobs.note, [(str(log), f"again-{n}") for n in range(count)], 1)
    once = peer.assign(jobs.note, [(str(log), f"once-{n}") for n in range(count)], 10_000, idempotent=False)
    killed = 0

    def retry(outcome: Outcome) -> None:
        epoch = outcome.epoch + 1
        peer.assign(jobs.note, [(str(log), f"again-{outcome.task - 1}")], outcome.task, epoch)

    for _ in range(15):
        workers = [pid for pid in children(process.pid) if b"template" in command(pid)]
        if workers:
            os.kill(chance.choice(workers), signal.SIGKILL)
            killed += 1
        peer.step(0.05)
        for task in again:
            outcome = peer.outcomes.get(task)
            if outcome is not None and outcome.status is Status.LOST:
                del peer.outcomes[task]
                retry(outcome)
    while lost := [one for one in peer.wait_for(again) if one.status is Status.LOST]:
        for outcome in lost:
            del peer.outcomes[outcome.task]
            retry(outcome)
    ended = peer.wait_for(once)
    runs = Counter(log.read_text().split())
    assert killed > 5
    assert all(runs[f"again-{n}"] >= 1 for n in range(count))
    for n, outcome in enumerate(ended):
        assert runs[f"once-{n}"] <= 1
        assert outcome.status in (Status.DONE, Status.LOST)
        assert runs[f"once-{n}"] == 1 or outcome.status is Status.LOST
    numbers = Counter((one.task, one.epoch) for one in peer.history)
    assert set(numbers.values()) == {1}, "an outcome was reported twice"


def test_a_manager_does_not_outlive_its_supervisor_parent_or_not(peer: Peer, tmp_path: Path) -> None:
    supervisor = subprocess.Popen(["sleep", "1000"])
    try:
        process = peer.start(workers=1, supervisor=supervisor.pid, block="orphan")
        peer.wait_joined()
        peer.assign(jobs.ignore_everything, [(str(tmp_path / "log"),)])
        peer.wait((tmp_path / "log").exists, "the task to start")
    finally:
        supervisor.kill()
        supervisor.wait()
    assert process.wait(WITHIN) == 6
    assert marked_processes("orphan") == []


def test_a_manager_ends_what_an_earlier_one_of_its_block_left(peer: Peer, tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    environment = {**os.environ, "BLOCKYARD_BLOCK": "again", "BLOCKYARD_MANAGER": f"{dead.pid}:12345"}
    stray = subprocess.Popen(["sleep", "1000"], env=environment)
    alive = subprocess.Popen(["sleep", "1000"], env={**environment, "BLOCKYARD_BLOCK": "another"})
    try:
        peer.start(block="again")
        peer.wait_joined()
        assert stray.wait(WITHIN) == -signal.SIGKILL
        assert alive.poll() is None
    finally:
        for process in (stray, alive):
            process.kill()
            process.wait()


def test_a_manager_that_leaves_ends_daemons_of_finished_tasks(peer: Peer, tmp_path: Path) -> None:
    process = peer.start(workers=1, block="left")
    peer.wait_joined()
    peer.wait_for(peer.assign(jobs.leave_daemon, [(str(tmp_path / "log"),)]))
    wait_until("the daemon runs", lambda: marked_processes("left"), lambda found: len(found) >= 3)
    process.terminate()
    peer.wait(lambda: peer.left is not None, "the manager to leave")
    assert process.wait(WITHIN) == 0
    assert marked_processes("left") == []


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def sleepers() -> list[int]:
    """Processes that run `sleep` for as long as the jobs do."""
    found = []
    for name in os.listdir("/proc"):
        try:
            command = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if command.startswith((b"sleep\x001000.0", b"sleep\x001001.0", b"sleep\x001002.0")):
            found.append(int(name))
    return found
