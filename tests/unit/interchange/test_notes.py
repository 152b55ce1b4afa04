"""What the interchange tells the hub.

Out of scope: when, and how often (`test_notes_delivery`); how the hub stores it (`tests/unit/monitoring`,
`tests/integration/monitoring`).
"""

import msgspec
import pytest

from blockyard.wire import codec, control
from blockyard.wire import hub as hub_wire
from blockyard.wire.monitoring import Block, Event, Needs, Node, Run, Tasks, Tries, Try, TryState
from blockyard.wire.records import Status
from tests.unit.interchange.builders import Bench, a_spec, done, ended, joined, lease


@pytest.fixture
def bench() -> Bench:
    return Bench(monitoring=True)


def test_a_task_that_succeeds_is_one_row_with_all_its_times(bench: Bench) -> None:
    hub, client, manager = bench.hub(), bench.client(), bench.manager()
    client.call(bodies=[b"a"])
    bench.turn(1.0)
    (one,) = manager.assigned()
    bench.now += 2.0
    manager.report(done(one, seconds=0.5))
    bench.turn()
    bench.turn(0.02)
    packets = hub.packets()
    records = [record for number in sorted(packets) for record in packets[number].records]
    (tasks,) = [record for record in records if isinstance(record, Tasks)]
    (found,) = [record for record in records if isinstance(record, Tries)]
    assert (tasks.first, tasks.count, tasks.function, tasks.pool) == (one.task, 1, "module.f", "default")
    assert (found.submission, found.manager, found.at_us) == (one.task, "m1", 6_003_000_000)
    assert found.tries == [Try(one.task, one.epoch, TryState.DONE, True, tasks.submitted_us, 6_001_000_000, 500_000)]


def test_a_retry_is_a_row_for_each_try(bench: Bench) -> None:
    hub, client, manager = bench.hub(), bench.client(), bench.manager()
    client.call(a_spec(retries=1))
    bench.turn()
    (first,) = manager.assigned()
    manager.report(ended(first, Status.RAISED, "module.Oops", message="no"))
    bench.turn()
    (second,) = manager.assigned()
    manager.report(done(second))
    bench.turn()
    bench.turn(0.02)
    told = hub.tries()
    assert [(one.epoch, one.state, one.is_last) for one in told] == [
        (first.epoch, TryState.RAISED, False),
        (second.epoch, TryState.DONE, True),
    ]
    assert (told[0].kind, told[0].message) == ("module.Oops", "no")


def test_a_lost_manager_shows_in_its_tries(bench: Bench) -> None:
    hub, client, manager = bench.hub(), bench.client(), bench.manager()
    client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.beat(lease(one))
    for _ in range(10):
        bench.turn(0.5)
    packets = hub.packets()
    records = [record for number in sorted(packets) for record in packets[number].records]
    told = [(one.state, one.kind) for record in records if isinstance(record, Tries) for one in record.tries]
    assert told == [(TryState.RUNNING, ""), (TryState.LOST, "silent")]
    assert [node.state for node in records if isinstance(node, Node)] == ["joined", "gone"]


def test_a_try_is_told_as_running_once_and_not_when_it_has_hardly_begun(bench: Bench) -> None:
    """Of short tries some run at each heartbeat, and a row that is told twice costs the database as much as ten."""
    hub, client, manager = bench.hub(), bench.client(), bench.manager()
    client.call()
    bench.turn()
    (one,) = manager.assigned()
    told = []
    for seconds in (0.01, 1.01, 2.01):
        manager.beat(lease(one), seconds=seconds)
        bench.turn(1.0)
        bench.turn(0.02)
        told.append([(one.state, one.ran_us) for one in hub.tries()])
    assert told == [[], [(TryState.RUNNING, 1_010_000)], []]


def test_states_of_a_block_that_come_together_have_instants_of_their_own(bench: Bench) -> None:
    hub, client = bench.hub(), bench.client()
    client.ask(control.ReportBlocks("default", [control.BlockReport("b", "PENDING")]), control.Done)
    client.ask(control.ReportBlocks("default", [control.BlockReport("b", "RUNNING")]), control.Done)
    bench.turn()
    bench.turn(0.02)
    told = hub.records(Block)
    assert [one.state for one in told] == ["PENDING", "RUNNING"]
    assert told[0].at_us < told[1].at_us


def test_a_state_of_a_block_that_is_reported_again_is_told_once(bench: Bench) -> None:
    hub, client = bench.hub(), bench.client()
    for state in ("PENDING", "RUNNING", "RUNNING", "SCALED_IN"):
        client.ask(control.ReportBlocks("default", [control.BlockReport("b", state)]), control.Done)
        bench.turn(0.02)
    bench.turn(0.02)
    assert [one.state for one in hub.records(Block)] == ["PENDING", "RUNNING", "SCALED_IN"]


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_try_lost_with_its_worker_says_how_long_it_ran(bench: Bench, *, idempotent: bool) -> None:
    hub, client, manager = bench.hub(), bench.client(), bench.manager()
    client.call(a_spec(idempotent=idempotent))
    bench.turn()
    (one,) = manager.assigned()
    manager.report(msgspec.structs.replace(ended(one, Status.LOST, message="its worker ended"), seconds=2.5))
    bench.turn(0.02)
    bench.turn(0.02)
    assert [(one.state, one.ran_us) for one in hub.tries()] == [(TryState.LOST, 2_500_000)]


def test_a_manager_is_told_with_its_process(bench: Bench) -> None:
    hub = bench.hub()
    bench.manager(pid=4321)
    bench.turn()
    bench.turn(0.02)
    assert [node.pid for node in hub.records(Node)] == [4321]


def test_a_manager_that_drains_is_told_once(bench: Bench) -> None:
    hub, client, manager = bench.hub(), bench.client(), bench.manager()
    for _ in range(2):
        client.ask(control.Drain([manager.join.block], 5.0), control.Done)
        bench.turn(0.02)
    bench.turn(0.02)
    assert [(node.state, node.reason) for node in hub.records(Node)] == [
        ("joined", ""),
        ("draining", "its block is to end"),
    ]


def test_what_a_task_needs_is_told_and_a_dependents_failure_is_no_try(bench: Bench) -> None:
    hub, client, manager = bench.hub(), bench.client(), bench.manager()
    (first,) = client.call()
    (second,) = client.call(needs=[[first]])
    bench.turn()
    one, *_ = manager.assigned()
    manager.report(ended(one, Status.RAISED, "module.Oops"))
    bench.turn()
    bench.turn(0.02)
    packets = hub.packets()
    records = [record for number in sorted(packets) for record in packets[number].records]
    assert [record for record in records if isinstance(record, Needs)] == [Needs(second, [[first]])]
    last = [one for record in records if isinstance(record, Tries) for one in record.tries if one.task == second][-1]
    assert (last.state, last.is_last) == (TryState.DEPENDENCY, True)


def test_what_join_makes_names_its_parent(bench: Bench) -> None:
    hub, client, manager = bench.hub(), bench.client(1, "f", "g"), bench.manager()
    (parent,) = client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.report(joined(one, b"1", b"2"))
    bench.turn()
    bench.turn(0.02)
    children = [record for record in hub.records(Tasks) if record.parent]
    assert [(record.parent, record.count) for record in children] == [(parent, 2)]


def test_a_session_is_told_when_it_opens(bench: Bench) -> None:
    hub = bench.hub()
    bench.client(7, run="nightly")
    bench.turn()
    bench.turn(0.02)
    (run,) = hub.records(Run)
    assert (run.session, run.run, run.user, run.began_us > 0, run.ended_us) == (7, "nightly", "client:me", True, 0)


def test_what_a_client_says_is_passed_on_with_its_run_and_not_journaled(bench: Bench) -> None:
    hub, client = bench.hub(), bench.client(run="nightly")
    bench.turn()
    before = len(bench.entries)
    assert client.ask(control.Say(77, "begun", "{}"), control.Done).count == 1
    (relayed,) = hub.heard(hub_wire.Relayed)
    (told,) = relayed.packets
    packet = codec.packet_of_interchange.decode(told.packet)
    assert (told.pool, packet.number, packet.records) == ("", 1, [Event(77, "begun", "nightly", "{}")])
    assert len(bench.entries) == before


def test_without_monitoring_what_a_client_says_is_heard_by_nobody() -> None:
    assert Bench().client().ask(control.Say(77, "begun", "{}"), control.Done).count == 0
