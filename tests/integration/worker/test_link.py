"""The link to the interchange: it goes away and comes back, refuses, drops leases; the manager holds what it has."""

import os
import signal
from pathlib import Path

from blockyard.payload import dump_function
from blockyard.transport import KeyPair
from blockyard.wire.manager import Refused
from blockyard.wire.records import Lease, Status
from tests.integration.processes import WITHIN
from tests.integration.worker import jobs
from tests.integration.worker.peer import Peer, values


def test_a_manager_says_what_it_has(peer: Peer) -> None:
    peer.start(workers=3, cores=6.0, memory_bytes=2**30, accelerators=2, node="here", index=4)
    peer.wait_joined()
    join = peer.joins[0]
    assert (join.workers, join.cores, join.memory_bytes, join.accelerators) == (3, 6.0, 2**30, 2)
    assert (join.node, join.index, join.pool, join.holds) == ("here", 4, "default", [])


def test_outcomes_that_were_never_recorded_are_sent_again_after_the_interchange_returned(peer: Peer) -> None:
    peer.records = False
    peer.start(workers=1)
    peer.wait_joined()
    tasks = peer.assign(jobs.add, [(n,) for n in range(100)])
    peer.wait_for(tasks)
    peer.close()
    peer.outcomes.clear()
    peer.history.clear()
    peer.open()
    peer.records = True
    peer.wait(lambda: len(peer.joins) > 1, "the manager to join again")
    assert {lease.task for lease in peer.joins[-1].holds} == set(tasks)
    assert values(peer.wait_for(tasks)) == list(range(100))
    assert len(peer.history) == 100


def test_what_runs_while_the_interchange_is_away_goes_on_and_is_reported_later(peer: Peer, tmp_path: Path) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    gate, log = tmp_path / "gate", tmp_path / "log"
    (running,) = peer.assign(jobs.wait_for, [(str(gate),)], 1)
    waiting = peer.assign(jobs.note, [(str(log), "once")] * 3, 2)
    peer.wait_running(running)
    peer.close()
    gate.touch()
    peer.open()
    outcomes = peer.wait_for([running, *waiting])
    assert {outcome.status for outcome in outcomes} == {Status.DONE}
    assert log.read_text().split() == ["once"] * 3


def test_leases_that_ended_meanwhile_are_dropped_running_ones_too(peer: Peer, tmp_path: Path) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    log = tmp_path / "log"
    (running,) = peer.assign(jobs.with_cleanup, [(str(log),)], 1)
    (waiting,) = peer.assign(jobs.note, [(str(log), "never")], 2)
    peer.wait(log.exists, "the task to start")
    peer.dropped = [Lease(running, 1), Lease(waiting, 1)]
    peer.close()
    peer.open()
    peer.wait(lambda: len(peer.joins) > 1, "the manager to join again")
    assert values(peer.wait_for(peer.assign(jobs.add, [(3,)], 9))) == [3]
    assert log.read_text().split() == ["started", "cleaned"]
    assert set(peer.outcomes) == {9}


def test_a_try_sent_twice_around_a_reconnect_runs_once(peer: Peer, tmp_path: Path) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    log = tmp_path / "log"
    (task,) = peer.assign(jobs.note, [(str(log), "once")], 1)
    assert peer.assign(jobs.note, [(str(log), "once")], 1) == [task]
    peer.wait_for([task, *peer.assign(jobs.add, [(1,)], 2)])
    assert log.read_text() == "once\n"


def test_an_older_try_of_the_same_task_gives_way_to_the_newer(peer: Peer, tmp_path: Path) -> None:
    peer.start(workers=2)
    peer.wait_joined()
    log = tmp_path / "log"
    peer.assign(jobs.with_cleanup, [(str(log),)], 1, epoch=1)
    peer.wait(log.exists, "the first try to start")
    peer.assign(jobs.add, [(5,)], 1, epoch=2)
    (outcome,) = peer.wait_for([1])
    assert (outcome.epoch, values([outcome])) == (2, [5])
    peer.wait(lambda: "cleaned" in log.read_text(), "the old try to end")
    assert [one.epoch for one in peer.history] == [2]


def test_a_silent_interchange_is_asked_again(peer: Peer) -> None:
    peer.heartbeat = 0.1
    peer.start(workers=1)
    peer.wait_joined()
    peer.answers = False
    peer.wait(lambda: len(peer.joins) > 2, "the manager to join again and again")
    peer.answers, peer.heartbeat = True, 1.0
    peer.wait(lambda: peer.manager is not None, "it to be let in")
    assert values(peer.wait_for(peer.assign(jobs.add, [(3,)], 9))) == [3]


def test_sigterm_drains_and_then_the_manager_leaves(peer: Peer, tmp_path: Path) -> None:
    process = peer.start(workers=1, drain_grace=30.0)
    peer.wait_joined()
    gate = tmp_path / "gate"
    (running,) = peer.assign(jobs.wait_for, [(str(gate),)], 1)
    peer.wait_running(running)
    peer.assign(jobs.add, [(1,)], 2)
    process.terminate()
    peer.wait(lambda: len(peer.returned) == 1, "what waits to come back")
    gate.touch()
    peer.wait(lambda: peer.left is not None, "the manager to leave")
    assert peer.outcomes[running].status is Status.DONE
    assert process.wait(WITHIN) == 0


def test_what_still_runs_when_a_drain_is_over_is_lost(peer: Peer, tmp_path: Path) -> None:
    process = peer.start(workers=1, drain_grace=0.3)
    peer.wait_joined()
    (running,) = peer.assign(jobs.ignore_everything, [(str(tmp_path / "log"),)])
    peer.wait((tmp_path / "log").exists, "the task to start")
    process.terminate()
    peer.wait(lambda: peer.left is not None, "the manager to leave")
    assert peer.outcomes[running].status is Status.LOST
    assert process.wait(WITHIN) == 0


def test_ctrl_c_in_the_clients_terminal_harms_neither_manager_nor_worker(peer: Peer, tmp_path: Path) -> None:
    process = peer.start(workers=1)
    peer.wait_joined()
    gate = tmp_path / "gate"
    (worker,) = values(peer.wait_for(peer.assign(jobs.pid, [()], 1)))
    (running,) = peer.assign(jobs.wait_for, [(str(gate),)], 2)
    peer.wait_running(running)
    for pid in (process.pid, worker):
        os.kill(pid, signal.SIGINT)
    gate.touch()
    assert peer.wait_for([running])[0].status is Status.DONE


def test_a_refused_manager_ends_and_says_why(peer: Peer) -> None:
    peer.greeting = Refused("pool", "there is no such pool")
    process = peer.start()
    peer.wait(lambda: process.poll() is not None, "the manager to end")
    assert process.returncode == 4


def test_a_worker_init_that_fails_ends_the_block_with_the_reason(peer: Peer, tmp_path: Path) -> None:
    init = tmp_path / "init"
    init.write_bytes(dump_function(fail_init))
    process = peer.start(worker_init=str(init))
    peer.wait(lambda: peer.left is not None, "the manager to leave")
    assert peer.left is not None
    assert "no model here" in peer.left
    assert process.wait(WITHIN) == 3


def test_worker_init_runs_once_in_each_worker_before_its_first_task(peer: Peer, tmp_path: Path) -> None:
    init = tmp_path / "init"
    init.write_bytes(dump_function(set_up))
    peer.start(worker_init=str(init), workers=1)
    peer.wait_joined()
    assert values(peer.wait_for(peer.assign(jobs.environment, [("TEST_SET_UP",)] * 3))) == ["1"] * 3


def test_worker_init_can_be_named(peer: Peer) -> None:
    peer.start(worker_init=f"{__name__}:set_up", workers=1)
    peer.wait_joined()
    assert values(peer.wait_for(peer.assign(jobs.environment, [("TEST_SET_UP",)]))) == ["1"]


def test_a_worker_init_that_is_not_there_ends_the_block_with_the_reason(peer: Peer) -> None:
    process = peer.start(worker_init="tests.no_such_module:anything")
    peer.wait(lambda: peer.left is not None, "the manager to leave")
    assert "no_such_module" in (peer.left or "")
    assert process.wait(WITHIN) == 3


def test_a_module_to_preload_that_does_not_import_ends_the_block_with_the_reason(peer: Peer) -> None:
    process = peer.start(preload=["no_such_module_anywhere"])
    peer.wait(lambda: peer.left is not None, "the manager to leave")
    assert peer.left is not None
    assert "no_such_module_anywhere" in peer.left
    assert process.wait(WITHIN) == 3


def test_a_key_file_that_others_can_read_is_refused(peer: Peer) -> None:
    peer.key_file.chmod(0o644)
    assert peer.start().wait(WITHIN) == 5


def test_a_key_through_a_pipe_leaves_no_file(peer: Peer) -> None:
    keys = KeyPair.load(peer.key_file)
    peer.key_file.unlink()
    read, write = os.pipe()
    os.write(write, f"public-key = {keys.public.decode()}\nsecret-key = {keys.secret.decode()}\n".encode())
    os.close(write)
    peer.start(key_file="", key_fd=read, pass_fds=[read])
    os.close(read)
    peer.wait_joined()


def test_tasks_find_no_key_in_their_environment_and_descriptors(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    (found,) = values(peer.wait_for(peer.assign(jobs.secrets_in_reach, [()])))
    assert not [name for name in found if "KEY" in name or name.endswith(".key")]
    assert len([name for name in found if name.startswith("socket:")]) <= 1, "only the worker's own link"


def fail_init() -> None:
    raise RuntimeError("no model here")


def set_up() -> None:
    os.environ["TEST_SET_UP"] = str(int(os.environ.get("TEST_SET_UP", "0")) + 1)


def test_a_manager_whose_interchange_has_another_key_reads_its_settings_again(peer: Peer, tmp_path: Path) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    gate = tmp_path / "gate"
    (running,) = peer.assign(jobs.wait_for, [(str(gate),)], 1)
    peer.wait_running(running)
    peer.rotate()
    peer.wait(lambda: len(peer.joins) > 1, "the manager to join again")
    assert [lease.task for lease in peer.joins[-1].holds] == [running]
    gate.touch()
    assert [outcome.status for outcome in peer.wait_for([running])] == [Status.DONE]


def test_while_the_settings_name_a_key_that_is_not_there_yet_the_one_that_answered_is_good(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    peer.name_server_key(KeyPair.new())
    for times in range(1, 3):
        peer.close()
        peer.open()
        peer.wait(lambda n=times: len(peer.joins) > n, "the manager to join again")  # type: ignore[misc]
    assert values(peer.wait_for(peer.assign(jobs.add, [(1,)], 1))) == [1]
