"""A real manager runs tries and reports what became of them. How workers die is in its own file."""

import functools
import os
import re
from pathlib import Path
from typing import Any

import pytest

from blockyard.blobs import BlobFolder
from blockyard.payload import dump_call, load_error, load_value
from blockyard.wire.manager import Assign, AssignGroup, Drain, Functions, Retract
from blockyard.wire.records import Assigned, Blob, Bundle, Need, Part, Status, TaskSpec
from tests.integration.processes import WITHIN
from tests.integration.worker import jobs
from tests.integration.worker.peer import Peer, values

EMPTY = b"\x80\x05)."
"""A call without arguments, pickled."""


def test_a_batch_of_tries_comes_back_with_its_results(peer: Peer) -> None:
    peer.start()
    peer.wait_joined()
    tasks = peer.assign(pow, [(n, 2) for n in range(3000)])
    assert values(peer.wait_for(tasks)) == [n * n for n in range(3000)]
    assert len(peer.history) == 3000, "each outcome was reported once"


def test_a_chain_in_one_assignment_is_followed_to_its_end(peer: Peer) -> None:
    peer.start()
    peer.wait_joined()
    marker = dump_call((Marker(0), 1), {}, home=None)[0]
    assert isinstance(marker, bytes)
    spec = TaskSpec(peer.function(jobs.add))
    needs = {task: [Need(task - 1)] for task in range(2, 257)}
    tasks = peer.assign_spec(spec, [dump_first()] + [marker] * 255, 1, 1, needs)
    assert values(peer.wait_for(tasks))[-1] == 256


def test_a_result_of_an_earlier_assignment_is_found_until_it_is_recorded(peer: Peer) -> None:
    peer.records = False
    peer.start()
    peer.wait_joined()
    peer.wait_for(peer.assign(jobs.add, [(40, 2)], first=1))
    marker = dump_call((Marker(0), Marker(1)), {}, home=None)[0]
    assert isinstance(marker, bytes)
    given = dump_call((0,), {})[0]
    assert isinstance(given, bytes)
    two = b"\x80\x05K\x02."
    needs = {7: [Need(1), Need(99, Bundle([two, two]))]}
    spec = TaskSpec(peer.function(lambda first, second: (first, second)))
    (outcome,) = peer.wait_for(peer.assign_spec(spec, [marker], 7, 1, needs))
    assert values([outcome]) == [(42, [2, 2])]


def test_what_needs_a_failed_try_is_handed_back(peer: Peer) -> None:
    peer.start()
    peer.wait_joined()
    marker = dump_call((Marker(0),), {}, home=None)[0]
    assert isinstance(marker, bytes)
    peer.assign(jobs.fail, [("ValueError",)], first=1)
    spec = TaskSpec(peer.function(jobs.add))
    peer.assign_spec(spec, [marker, marker], 2, 1, {2: [Need(1)], 3: [Need(2)]})
    peer.wait(lambda: len(peer.returned) == 2, "two tries to come back")
    assert {lease.task for lease in peer.returned} == {2, 3}
    assert peer.outcomes[1].status is Status.RAISED


def test_what_only_waits_for_a_failed_try_of_its_frame_is_handed_back(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    spec = TaskSpec(peer.function(lambda number: 1 // number), uses=0)
    calls = [dump_call((int(number != 100),), {})[0] for number in range(1, 201)]
    bodies = [call for call in calls if isinstance(call, bytes)]
    peer.wait_for(peer.assign_spec(spec, bodies[:99], 1001, 1, {}))  # now it is known how short they are
    peer.assign_spec(spec, bodies, 1, 1, {task: [Need(task - 1)] for task in range(2, 201)})
    peer.wait(lambda: len(peer.returned) == 100, "those behind the failed one to come back")
    assert {lease.task for lease in peer.returned} == set(range(101, 201))
    assert values(peer.wait_for(list(range(1, 100)))) == [1] * 99
    assert peer.outcomes[100].status is Status.RAISED


@pytest.mark.parametrize("kind", ["ValueError", "SystemExit", "KeyboardInterrupt"])
def test_whatever_a_task_raises_is_its_outcome_and_the_worker_lives(peer: Peer, kind: str) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    before, failed, after = peer.wait_for(
        [*peer.assign(jobs.pid, [()], 1), *peer.assign(jobs.fail, [(kind,)], 2), *peer.assign(jobs.pid, [()], 3)]
    )
    assert failed.status is Status.RAISED
    assert failed.failure is not None
    assert f"builtins.{kind}" in failed.failure.types
    assert isinstance(failed.body, bytes)
    assert type(load_error(failed.body)).__name__ == kind
    assert values([before]) == values([after])


def test_arguments_functions_and_results_that_do_not_pickle_are_failures_of_their_task_alone(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    body = dump_call((jobs.Unloadable(),), {})[0]
    assert isinstance(body, bytes)
    spec = TaskSpec(peer.function(jobs.add))
    outcomes = peer.wait_for(
        [
            *peer.assign_spec(spec, [body], 1, 1, {}),
            *peer.assign(jobs.unpicklable, [()], 2),
            *peer.assign(jobs.add, [(1,)], 3),
        ]
    )
    assert [outcome.status for outcome in outcomes] == [Status.RAISED, Status.RAISED, Status.DONE]
    messages = [outcome.failure.message for outcome in outcomes if outcome.failure is not None]
    assert "in the worker" in messages[0]
    assert "generator" in messages[1]


def test_a_function_whose_import_fails_on_the_worker_fails_its_tasks_with_the_reason(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    name = peer.function(jobs.add)
    function = peer.functions[name]
    body = function.body.replace(b"jobs", b"jabs")
    peer.functions[name] = type(function)(name, function.name, body, function.python)
    empty = dump_call((), {})[0]
    assert isinstance(empty, bytes)
    outcomes = peer.wait_for(peer.assign_spec(TaskSpec(name), [empty, empty], 1, 1, {}))
    for outcome in outcomes:
        assert outcome.failure is not None
        assert "jabs" in outcome.failure.message


def test_a_function_that_the_manager_lacks_is_asked_for(peer: Peer) -> None:
    peer.start()
    peer.wait_joined()
    spec = TaskSpec(peer.function(jobs.add))
    peer.sent_functions.add(spec.function)  # as if it had been sent to a manager that was restarted since
    assert values(peer.wait_for(peer.assign_spec(spec, [dump_first()], 1, 1, {}))) == [1]


def test_large_bodies_go_through_the_blob_folder_both_ways(peer: Peer, tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path / "blobs")
    peer.blobs = str(folder.path)
    peer.start()
    peer.wait_joined()
    packed = dump_call((b"y" * 300_000,), {})[0]
    blob = folder.create(packed)
    spec = TaskSpec(peer.function(jobs.length))
    sent = peer.assign_spec(spec, [Blob(blob.name, blob.size_bytes)], 1, 1, {})
    assert values(peer.wait_for(sent)) == [300_000]
    (big,) = peer.wait_for(peer.assign(jobs.big, [(3,)], 2))
    assert isinstance(big.body, Blob)
    assert load_value(folder.open(big.body.name)) == jobs.big(3)


def test_a_large_result_without_a_blob_folder_travels_in_the_frame(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    (outcome,) = peer.wait_for(peer.assign(jobs.big, [(20,)]))
    assert values([outcome]) == [jobs.big(20)]


def test_a_result_too_large_for_a_frame_is_refused_with_what_to_do(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    outcomes = peer.wait_for([*peer.assign(jobs.big, [(129,)], 1), *peer.assign(jobs.add, [(1,)], 2)])
    assert outcomes[0].failure is not None
    assert "storage" in outcomes[0].failure.message
    assert outcomes[1].status is Status.DONE


def test_tries_behind_a_long_one_go_to_the_other_worker(peer: Peer, tmp_path: Path) -> None:
    peer.start(workers=2)
    peer.wait_joined()
    gate = tmp_path / "gate"
    peer.wait_for(peer.assign(jobs.sleep, [(0.0,)] * 300, 1000))  # known to be short, so it gets many at once
    calls: list[tuple[object, ...]] = [(0.0,)] * 200
    first = peer.assign(jobs.sleep, calls[:50], 1)
    (long,) = peer.assign(jobs.wait_for, [(str(gate),)], 51)
    rest = peer.assign(jobs.sleep, calls, 52)
    peer.wait_for([*first, *rest])
    assert long not in peer.outcomes
    gate.touch()
    peer.wait_for([long])


def test_a_long_try_among_short_ones_of_its_own_function_holds_nobody_up(peer: Peer) -> None:
    peer.start(workers=2)
    peer.wait_joined()
    peer.wait_for(peer.assign(jobs.sleep, [(0.0,)] * 300, 1000))
    tasks = peer.assign(jobs.sleep, [(0.0,)] * 20 + [(jobs.FOR_EVER,)] + [(0.0,)] * 80, 1)
    peer.wait_for([task for task in tasks if task != 21])
    assert 21 not in peer.outcomes


def test_a_wide_task_starts_beside_endless_narrow_ones(peer: Peer) -> None:
    peer.start(workers=2, cores=2.0)
    peer.wait_joined()
    sent = 0
    narrow: list[int] = []

    def keep_busy() -> bool:
        nonlocal sent
        while sent - len([task for task in narrow if task in peer.outcomes]) < 20:
            narrow.extend(peer.assign(jobs.sleep, [(0.002,)] * 10, 1000 + sent))
            sent += 10
        return 1 in peer.outcomes

    keep_busy()
    peer.assign(jobs.environment, [("PATH",)], 1, cores=2.0)
    peer.wait(keep_busy, "the wide task to end")
    peer.wait_for(narrow)


def test_accelerators_are_given_by_number_and_only_for_the_task(peer: Peer) -> None:
    peer.start(workers=2, accelerators=3)
    peer.wait_joined()
    name = "CUDA_VISIBLE_DEVICES"
    two = peer.wait_for(peer.assign(jobs.environment, [(name,)], 1, accelerators=2))
    both = peer.wait_for(peer.assign(jobs.environment, [(name,)] * 2, 2, accelerators=1))
    none = peer.wait_for(peer.assign(jobs.environment, [(name,)] * 4, 4))
    assert values(two) == ["0,1"]
    assert set(values(both)) <= {"0", "1"}
    assert values(none) == [os.environ.get(name)] * 4


@pytest.mark.parametrize("name", ["GPUS", "BLOCKYARD_ACCELERATORS"])
def test_accelerators_that_can_be_shared_out_equally_are_their_workers_own(peer: Peer, name: str) -> None:
    init = f"{jobs.__name__}:remember_accelerators"
    names = ["gpu-a", "gpu-b", "gpu-c", "gpu-d"]
    peer.start(workers=2, accelerator_names=names, accelerator_variable="GPUS", worker_init=init)
    peer.wait_joined()
    assert peer.joins[0].accelerators == 4
    all_four = peer.wait_for(peer.assign(jobs.accelerators, [(name,)], 1, accelerators=4))
    two = peer.wait_for(peer.assign(jobs.accelerators, [(name,)] * 6, 10, accelerators=2))
    one = peer.wait_for(peer.assign(jobs.accelerators, [(name,)] * 6, 20, accelerators=1))
    none = peer.wait_for(peer.assign(jobs.accelerators, [(name,)] * 6, 30))
    (born, given) = values(all_four)[0]
    assert given.split(",")[:2] == born.split(","), "its worker's own come first"
    assert sorted(given.split(",")) == names
    assert {born for born, _ in values(two)} <= {"gpu-a,gpu-b", "gpu-c,gpu-d"}
    assert all(given == born for born, given in values(two) + values(none))
    assert all(given == born.split(",")[0] for born, given in values(one))


def test_more_functions_than_a_worker_keeps_are_sent_again_when_needed(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    for turn in range(2):
        tasks = []
        for number in range(300):
            function = functools.partial(jobs.add, number)
            tasks += peer.assign(function, [(1,)], 1 + number + 1000 * turn)
        assert values(peer.wait_for(tasks)) == list(range(1, 301))


def test_workers_get_their_share_of_the_cores_when_asked(peer: Peer) -> None:
    cores = sorted(os.sched_getaffinity(0))
    peer.start(workers=len(cores), pin_cores=True)
    peer.wait_joined()
    shares = values(peer.wait_for(peer.assign(jobs.affinity, [()] * 20 * len(cores))))
    assert {tuple(share) for share in shares} <= {(core,) for core in cores}


def test_a_part_of_a_task_that_spans_nodes_knows_its_place(peer: Peer) -> None:
    peer.start(workers=2)
    peer.wait_joined()
    spec = TaskSpec(peer.function(jobs.place), nodes=2, ranks=8)
    peer.send(Functions([peer.functions[spec.function]]))
    part = Part(1, 2, 4, 4, 8, ["one", "two"], addresses=["10.0.0.1", "10.0.0.2"])
    peer.send(Assign([AssignGroup(spec, [Assigned(1, 1, EMPTY, part=part)])]))
    assert values(peer.wait_for([1])) == [["1", "2", "4", "4", "8", "10.0.0.1,10.0.0.2"]]
    assert values(peer.wait_for(peer.assign(jobs.environment, [("BLOCKYARD_RANK",)], 2))) == [None]


def test_a_request_beyond_this_node_is_refused_naming_what_there_is(peer: Peer) -> None:
    peer.start(workers=2, cores=2.0)
    peer.wait_joined()
    too_many = peer.assign(jobs.add, [(1,)], first=1, cores=3.0)
    too_large = peer.assign(jobs.add, [(1,)], first=2, memory_bytes=1 << 50)
    outcomes = sorted(peer.wait_for(too_many + too_large), key=lambda outcome: outcome.task)
    assert [outcome.status for outcome in outcomes] == [Status.REFUSED] * 2
    cores, memory = [outcome.failure.message for outcome in outcomes if outcome.failure is not None]
    assert cores == "cores=3 was asked for, and this node has cores=2: ask for at most that"
    assert re.search(r"memory=1073741824Mi was asked for, and this node has memory=\d+Mi: ask for at most that", memory)


def test_retracted_tries_come_back_unstarted(peer: Peer, tmp_path: Path) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    gate = tmp_path / "gate"
    tasks = peer.assign(jobs.wait_for, [(str(gate),)] * 10)
    peer.send(Retract(5))
    peer.wait(lambda: len(peer.returned) == 5, "five tries to come back")
    assert {lease.task for lease in peer.returned} == {6, 7, 8, 9, 10}
    gate.touch()
    peer.wait_for(tasks[:5])


def test_a_drained_manager_hands_back_finishes_and_leaves(peer: Peer, tmp_path: Path) -> None:
    process = peer.start(workers=1)
    peer.wait_joined()
    gate = tmp_path / "gate"
    (running,) = peer.assign(jobs.wait_for, [(str(gate),)], 1)
    peer.wait_running(running)
    peer.assign(jobs.add, [(1,)] * 5, 2)
    peer.send(Drain(10.0))
    peer.wait(lambda: len(peer.returned) == 5, "what waits to come back")
    gate.touch()
    peer.wait(lambda: peer.left is not None, "the manager to leave")
    assert peer.outcomes[running].status is Status.DONE
    assert process.wait(WITHIN) == 0


def test_a_task_may_leave_calls_to_be_done_in_its_place(peer: Peer) -> None:
    peer.start(workers=1)
    peer.wait_joined()
    (outcome,) = peer.wait_for(peer.assign(jobs.hand_over, [(3,)], priority=7, cores=1.0))
    assert outcome.status is Status.JOIN
    assert outcome.calls is not None
    first, second = outcome.calls.groups
    assert (len(first.bodies), second.first, len(second.bodies)) == (3, 3, 1)
    assert (first.spec.priority, first.spec.cores) == (7, 0.0)
    assert {first.spec.function, second.spec.function} == {function.id for function in outcome.calls.functions}
    for function in outcome.calls.functions:
        peer.functions[function.id] = function
    again = peer.assign_spec(first.spec, first.bodies, 10, 1, {})
    assert values(peer.wait_for(again)) == [0, 1, 4]


def dump_first() -> bytes:
    body = dump_call((1,), {})[0]
    assert isinstance(body, bytes)
    return body


class Marker:
    """Stands for a future in an argument; it becomes a numbered marker."""

    def __init__(self, number: int) -> None:
        self.number = number

    home = None

    def embedded(self) -> None:
        return None

    def __reduce_ex__(self, _protocol: object) -> tuple[Any, ...]:
        from blockyard.payload import reduce_dependency

        return reduce_dependency(self)
