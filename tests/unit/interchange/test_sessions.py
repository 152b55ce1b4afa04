"""Clients come, submit, collect and cancel; runs and who owns them; what a restart owes to each."""

from typing import Any

import msgspec
import pytest

from blockyard.wire import client as wire
from blockyard.wire.records import Outcome, Status, body_bytes
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, Client, Manager, a_function, a_spec, done


def finish(bench: Bench, manager: Manager) -> list[Outcome]:
    """Let a manager run all it has been given."""
    bench.turn()
    outcomes = [done(one) for one in manager.assigned()]
    manager.report(*outcomes)
    bench.turn()
    return outcomes


def come_back(client: Client) -> None:
    client.bench.rename(client, client.peer + b"'")
    client.say(client.hello)


# ------------------------------------------------------------------------------------------------------ submissions


def test_a_submission_is_accepted_after_its_commit() -> None:
    bench = Bench()
    client = bench.client()
    client.call()
    assert client.heard(wire.Accepted) == []
    bench.turn(1.0)
    assert [accepted.number for accepted in client.heard(wire.Accepted)] == [1]


def test_a_submission_sent_again_changes_nothing() -> None:
    bench = Bench()
    client = bench.client()
    client.call()
    client.next, client.number = 0, 0
    client.call()
    bench.turn()
    assert len(bench.state.tasks) == 1
    assert bench.state.counters.duplicates == 1


@pytest.mark.parametrize(
    "fields, kind, sentence",
    [
        ({"pool": "defualt"}, "pool", "unknown pool 'defualt'; did you mean 'default'?"),
        ({"pool": "gpus"}, "pool", "unknown pool 'gpus'; did you mean 'gpu'?"),
        ({"cores": 8.0}, "request", "cores=8 was asked for; the largest that fits in pool 'default' is cores=4"),
        (
            {"memory_bytes": 2**40},
            "request",
            "memory=1048576Mi was asked for; the largest that fits in pool 'default' is memory=1024Mi",
        ),
        ({"accelerators": 1}, "request", "the largest that fits in pool 'default' is accelerators=0"),
        ({"nodes": 3}, "request", "the largest that fits in pool 'default' is nodes=2"),
        ({"nodes": 1, "ranks": 9, "ranks_per_node": 4}, "request", "hold 4"),
        ({"ranks_per_node": 2}, "request", "ranks_per_node=2 says nothing without ranks or nodes"),
        ({"cores": float("nan")}, "request", "cores=nan"),
        ({"deadline": float("inf")}, "request", "deadline=inf"),
        ({"backoff": -1.0}, "request", "backoff=-1.0"),
        ({"nodes": -1}, "request", "nodes=-1"),
        ({"priority": 2**40}, "request", "priority="),
    ],
)
def test_a_submission_that_no_pool_could_meet_is_refused_naming_field_and_limit(
    fields: dict[str, Any], kind: str, sentence: str
) -> None:
    bench = Bench(
        pools={
            "default": PoolSettings(workers=4, memory_bytes=2**30, nodes_per_block=2),
            "gpu": PoolSettings(accelerators=1),
        }
    )
    client = bench.client()
    client.call(a_spec(**fields))
    bench.turn()
    (refused,) = client.heard(wire.Refused)
    assert refused.kind == kind
    assert sentence in refused.message
    assert not bench.state.tasks


def test_a_task_that_needs_itself_is_refused() -> None:
    bench = Bench()
    client = bench.client()
    client.call(bodies=[b"1", b"2"], needs=[[client.task(1)], []])
    bench.turn()
    (refused,) = client.heard(wire.Refused)
    assert "needs itself or a later one" in refused.message


def test_a_function_under_a_false_name_is_refused() -> None:
    bench = Bench()
    client = bench.client()
    client.say(wire.Register([msgspec.structs.replace(a_function("g"), id=b"0123456789abcdef")]))
    bench.turn()
    (refused,) = client.heard(wire.Refused)
    assert "is not the hash of its body" in refused.message


@pytest.mark.parametrize("restarts", [False, True])
def test_a_refusal_is_said_again_before_the_welcome(*, restarts: bool) -> None:
    bench = Bench()
    client = bench.client()
    client.call(a_spec(pool="nowhere"))
    client.call()
    bench.turn()
    client.inbox.clear()
    if restarts:
        bench.restart()
    come_back(client)
    bench.turn()
    kinds = [type(message) for message in client.inbox if isinstance(message, wire.Refused | wire.Welcome)]
    assert kinds == [wire.Refused, wire.Welcome]
    (welcome,) = client.heard(wire.Welcome)
    assert welcome.accepted == 2


# ---------------------------------------------------------------------------------------------------------- results


def test_results_wait_for_a_client_that_is_away_and_are_sent_when_it_is_back() -> None:
    bench = Bench()
    client, manager = bench.client(keep=True), bench.manager()
    client.call()
    bench.turn()
    client.say(wire.Bye(cancel=False))
    finish(bench, manager)
    assert client.outcomes() == []
    come_back(client)
    bench.turn()
    assert len(client.outcomes()) == 1


def test_a_slow_client_has_so_many_frames_on_their_way_and_delays_nobody() -> None:
    bench = Bench(max_frames=2, max_frame_tasks=1)
    slow, quick, manager = bench.client(1), bench.client(2), bench.manager(workers=4)
    slow.call(bodies=[b""] * 5)
    quick.call()
    for _ in range(3):
        finish(bench, manager)
    assert len(slow.heard(wire.Outcomes)) == 2
    assert len(quick.heard(wire.Outcomes)) == 1
    slow.collect([], frames=1)
    bench.turn()
    assert len(slow.heard(wire.Outcomes)) == 1
    slow.collect([], frames=2)
    bench.turn()
    assert len(slow.heard(wire.Outcomes)) == 2


def test_only_the_owner_frees_results() -> None:
    bench = Bench()
    owner, guest, manager = bench.client(1, run="r"), bench.client(2, run="r"), bench.manager()
    (task,) = owner.call()
    finish(bench, manager)
    guest.collect([task])
    bench.turn()
    assert bench.task(task).outcome is not None
    owner.collect([task])
    bench.turn()
    assert not bench.state.tasks


def test_an_owner_does_not_free_what_its_submitter_has_not_seen() -> None:
    bench = Bench()
    owner, guest, manager = bench.client(1, run="r"), bench.client(2, run="r"), bench.manager()
    (task,) = guest.call()
    finish(bench, manager)
    owner.collect([task])
    bench.turn()
    come_back(guest)
    bench.turn()
    assert len(guest.outcomes()) >= 1
    guest.collect([task])
    bench.turn()
    assert not bench.state.tasks


def test_all_clients_of_a_run_see_all_results_once_they_asked() -> None:
    bench = Bench()
    owner, guest, manager = bench.client(1, run="r"), bench.client(2, run="r"), bench.manager()
    (before,) = owner.call()
    finish(bench, manager)
    guest.say(wire.Reattach(5))
    (later,) = owner.call()
    bench.turn()
    (attached,) = guest.heard(wire.Attached)
    assert attached.tasks == [before]
    assert attached.names == ["module.f"]
    finish(bench, manager)
    assert {outcome.task for outcome in guest.outcomes()} == {before, later}


# --------------------------------------------------------------------------------------------------- runs and owners


def test_taking_over_tells_the_old_owner_and_frees_for_the_new_one() -> None:
    bench = Bench()
    old, manager = bench.client(1, run="r"), bench.manager()
    (task,) = old.call()
    new = bench.client(2, run="r", take_over=True)
    bench.turn()
    (told,) = old.heard(wire.TakenOver)
    assert "taken over" in told.message
    finish(bench, manager)
    new.collect([task])
    bench.turn()
    assert not bench.state.tasks, "the old owner has no claims any more"


def test_a_guest_is_no_owner_while_the_owner_is_there_or_only_just_away() -> None:
    bench = Bench(heartbeat=1.0)
    owner = bench.client(1, run="r")
    bench.turn()
    bench.restart()
    guest = bench.client(2, run="r")
    bench.turn()
    assert [welcome.owner for welcome in guest.heard(wire.Welcome)] == [False]
    owner.inbox.clear()
    owner.say(owner.hello)
    bench.turn()
    assert [welcome.owner for welcome in owner.heard(wire.Welcome)] == [True]


def test_whoever_attaches_owns_a_run_whose_owner_is_gone() -> None:
    bench = Bench(heartbeat=1.0)
    bench.client(1, run="r", keep=True)
    for _ in range(40):
        bench.turn(0.2)
    heir = bench.client(2, run="r")
    bench.turn()
    assert [welcome.owner for welcome in heir.heard(wire.Welcome)] == [True]


def test_a_session_belongs_to_who_knows_its_token() -> None:
    bench = Bench()
    bench.client(1)
    bench.turn()
    thief = Client(bench, 1)
    bench.rename(thief, b"thief")
    thief.say(msgspec.structs.replace(thief.hello, token=b"x" * 16))
    bench.turn()
    (refused,) = thief.heard(wire.Refused)
    assert "belongs to another client" in refused.message


# -------------------------------------------------------------------------------------------------------- cancelling


def test_cancelling_what_waits_ends_it_at_once() -> None:
    bench = Bench()
    client = bench.client()
    (task,) = client.call()
    client.say(wire.Cancel([task]))
    bench.turn()
    assert [outcome.status for outcome in client.outcomes()] == [Status.CANCELLED]


def test_nobody_cancels_tasks_of_another_run() -> None:
    bench = Bench()
    client, other = bench.client(1), bench.client(2)
    (task,) = client.call()
    other.say(wire.Cancel([task]))
    bench.turn()
    assert bench.task(task).outcome is None


def test_frames_of_outcomes_are_bounded_in_bytes_and_hold_one_at_least() -> None:
    bench = Bench(max_frame_bytes=1000)
    client, manager = bench.client(), bench.manager(workers=4)
    client.call(bodies=[b""] * 4)
    bench.turn()
    sizes = (400, 500, 5000, 10)
    manager.report(*(done(one, b"x" * size) for one, size in zip(manager.assigned(), sizes, strict=True)))
    bench.turn()
    frames = [[body_bytes(outcome.body) for outcome in frame.outcomes] for frame in client.heard(wire.Outcomes)]
    assert frames == [[400, 500], [5000], [10]]
