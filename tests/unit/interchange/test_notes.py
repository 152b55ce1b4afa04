"""What the interchange tells the hub, and that it keeps what the hub has not confirmed.

Out of scope: how the hub stores it (`tests/unit/monitoring`, `tests/integration/monitoring`).
"""

import msgspec
import pytest

from blockyard.wire import codec, control
from blockyard.wire import hub as hub_wire
from blockyard.wire import manager as manager_wire
from blockyard.wire.monitoring import (
    VERSION,
    AnyPacket,
    Block,
    Event,
    Needs,
    Node,
    Run,
    Tasks,
    Tries,
    Try,
    TryState,
    WorkerTasks,
)
from blockyard.wire.records import Status
from blockyard_interchange.core import entries, timers
from blockyard_interchange.core.figures import figures
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, Client, Hub, a_spec, done, ended, joined, lease


@pytest.fixture
def bench() -> Bench:
    return Bench(monitoring=True)


def tries(hub: Hub) -> list[Try]:
    """All that were told, in order."""
    return [one for record in hub.records(Tries) for one in record.tries]


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
    told = tries(hub)
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
        told.append([(one.state, one.ran_us) for one in tries(hub)])
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
    assert [(one.state, one.ran_us) for one in tries(hub)] == [(TryState.LOST, 2_500_000)]


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


def test_unconfirmed_notes_are_told_again_to_the_next_hub_and_confirmed_ones_are_not(bench: Bench) -> None:
    first = bench.hub()
    bench.client(1)
    bench.turn()
    bench.turn(0.02)
    (number,) = first.packets()
    bench.client(2)
    bench.turn()
    bench.turn(0.02)
    first.say(hub_wire.Confirm(number))
    second = bench.hub(b"hub-2")
    bench.turn()
    assert [run.session for run in second.records(Run)] == [2]


def test_packets_of_managers_leave_no_gap_in_the_numbers_of_our_own(bench: Bench) -> None:
    hub, client, manager = bench.hub(), bench.client(), bench.manager()
    client.call(bodies=[b"1", b"2"])
    bench.turn()
    for number, one in enumerate(manager.assigned(), 1):
        told = AnyPacket(VERSION, "manager:m1", number, 0, [WorkerTasks("default", "m1", "b", "n", 0, 1, "", [])])
        manager.say(manager_wire.Outcomes(number, [done(one)], [codec.encode(told)]))
        bench.turn(0.02)
    bench.turn(0.02)
    packets = hub.packets()
    own = [packets[place].number for place in sorted(packets) if packets[place].source.startswith("interchange:")]
    assert len(packets) == len(own) + 2
    assert own == list(range(1, len(own) + 1))


def test_notes_survive_the_interchange_and_are_gone_when_confirmed(bench: Bench) -> None:
    client, manager = bench.client(), bench.manager()
    client.call(bodies=[b"1", b"2"])
    bench.turn()
    while assigned := manager.assigned():
        manager.report(*map(done, assigned))
        bench.turn()
    bench.compact_all()
    bench.restart()
    hub = bench.hub()
    bench.turn()
    packets = hub.packets()
    told = [one for number in sorted(packets) for one in packets[number].records if isinstance(one, Tries)]
    assert sum(len(record.tries) for record in told) == 2
    hub.say(hub_wire.Confirm(max(packets)))
    bench.turn()
    bench.compact_all()
    bench.restart()
    again = bench.hub()
    bench.turn()
    assert again.packets() == {}
    assert bench.state.notes is not None
    assert bench.state.notes.number == max(packets), "numbers go on"


def test_a_submission_keeps_its_name_when_compaction_took_some_of_its_tasks(bench: Bench) -> None:
    client, manager = bench.client(), bench.manager(workers=2)
    tasks = client.call(bodies=[b"1", b"2", b"3"])
    bench.turn()
    one, *_ = manager.assigned()
    manager.report(done(one))
    bench.turn()
    client.collect([one.task])
    bench.turn()
    bench.compact_all()
    bench.restart()
    bench.turn()
    assert {bench.task(task).order.first for task in tasks[1:]} == {0}


def test_a_confirmation_of_what_was_not_sent_confirms_nothing(bench: Bench) -> None:
    hub = bench.hub()
    bench.client(1)
    hub.say(hub_wire.Confirm(99))
    bench.turn()
    bench.turn(0.02)
    assert len(hub.packets()) == 1


def test_a_hub_that_is_not_known_is_asked_who_it_is(bench: Bench) -> None:
    hub = bench.hub()
    bench.restart()
    hub.say(hub_wire.Confirm(0))
    bench.turn()
    assert hub.heard(hub_wire.WhoAreYou)


def test_a_hub_of_another_version_is_refused_in_words(bench: Bench) -> None:
    hub = bench.hub()
    hub.say(hub_wire.Follow(VERSION + 1))
    bench.turn()
    (refused,) = hub.heard(hub_wire.Refused)
    assert str(VERSION + 1) in refused.message


def test_a_backlog_that_is_full_says_so_until_it_is_confirmed() -> None:
    bench = Bench(monitoring=True, monitoring_backlog_bytes=200)
    assert bench.state.notes is not None
    for session in range(1, 4):
        bench.client(session)
        bench.turn()
    assert bench.state.notes.is_full
    hub = bench.hub()
    bench.turn()
    hub.say(hub_wire.Confirm(max(hub.packets())))
    bench.turn()
    assert not bench.state.notes.is_full


def test_without_monitoring_nothing_is_told_or_journaled() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call()
    bench.turn()
    manager.report(*map(done, manager.assigned()))
    bench.turn()
    assert bench.state.notes is None
    assert not [entry for entry in bench.entries if isinstance(entry, entries.Noted)]


def test_what_is_in_memory_only_is_told_and_not_journaled() -> None:
    bench = Bench(monitoring=True, pools={"default": PoolSettings(durability="memory", workers=4)})
    hub, client, manager = bench.hub(), bench.client(), bench.manager()
    bench.turn()
    before = sum(isinstance(entry, entries.Noted) for entry in bench.entries)
    client.call()
    bench.turn()
    manager.report(*map(done, manager.assigned()))
    bench.turn()
    bench.turn(0.02)
    assert [one.state for one in tries(hub)] == [TryState.DONE]
    assert sum(isinstance(entry, entries.Noted) for entry in bench.entries) == before


def test_what_comes_alone_is_told_at_once_and_what_follows_soon_goes_together(bench: Bench) -> None:
    hub, client = bench.hub(), bench.client()
    bench.turn(1.0)
    client.call(bodies=[b"a"])
    bench.turn(1.0)
    assert len(hub.records(Tasks)) == 1
    for _ in range(3):
        client.call(bodies=[b"b"])
        bench.turn(0.001)
    assert not hub.records(Tasks)
    assert timers.next_wake(bench.state, bench.now) <= 0.005
    bench.turn(0.005)
    assert len(hub.records(Tasks)) == 3


def test_what_nobody_keeps_waits_for_a_hub_within_a_bound_and_is_never_journaled(bench: Bench) -> None:
    manager = bench.manager()
    bench.turn()
    before = len(bench.entries)
    for number in range(40):
        manager.say(manager_wire.Told([bytes([number]) * 100_000]))
    bench.turn()
    notes = bench.state.notes
    assert notes is not None
    assert len(bench.entries) == before
    hub = bench.hub()
    bench.turn()
    (relayed,) = hub.heard(hub_wire.Relayed)
    assert [told.packet[0] for told in relayed.packets] == list(range(20, 40)), "the oldest went"
    assert {told.pool for told in relayed.packets} == {"default"}
    assert figures(bench.state, bench.now).dropped_packets == 20
    manager.say(manager_wire.Told([b"next"]))
    bench.turn()
    (relayed,) = hub.heard(hub_wire.Relayed)
    assert [told.packet for told in relayed.packets] == [b"next"]


def test_a_crowd_that_lasts_is_told_ever_more_rarely_until_it_is_over(bench: Bench) -> None:
    hub, client = bench.hub(), bench.client()
    bench.turn(1.0)
    frames = []
    for _ in range(400):
        client.call(bodies=[b"a"])
        bench.turn(0.001)
        frames.append(len(hub.records(Tasks)))
    told = [count for count in frames if count]
    assert max(told) >= 90
    assert len(told) <= 9
    bench.turn(0.3)
    client.call(bodies=[b"a"])
    bench.turn(0.3)
    hub.packets()
    for _ in range(3):
        client.call(bodies=[b"b"])
        bench.turn(0.001)
    assert timers.next_wake(bench.state, bench.now) <= 0.005


def a_crowd_that_lasts(bench: Bench, client: Client) -> None:
    """Until what comes next waits for hundreds of milliseconds."""
    for _ in range(400):
        client.call(bodies=[b"a"])
        bench.turn(0.001)


def test_the_end_of_a_crowd_that_lasted_is_told_soon(bench: Bench) -> None:
    hub, client = bench.hub(), bench.client()
    bench.turn(1.0)
    a_crowd_that_lasts(bench, client)
    hub.packets()
    bench.turn(0.09)
    assert not hub.records(Tasks)
    assert timers.next_wake(bench.state, bench.now) <= 0.01
    bench.turn(0.011)
    assert hub.records(Tasks)


def test_a_confirmation_does_not_hurry_what_waits_for_company(bench: Bench) -> None:
    hub, client = bench.hub(), bench.client()
    bench.turn(1.0)
    a_crowd_that_lasts(bench, client)
    hub.say(hub_wire.Confirm(max(hub.packets())))
    bench.turn(0.001)
    assert not hub.records(Tasks)


def test_tries_that_come_by_the_handful_are_a_crowd_though_a_packet_holds_them(bench: Bench) -> None:
    hub, client, manager = bench.hub(), bench.client(), bench.manager(workers=400)
    client.call(bodies=[b"a"] * 400)
    bench.turn(1.0)
    waiting = manager.assigned()
    hub.packets()
    told = []
    while waiting:
        for one in waiting[:8]:
            manager.report(done(one))
        del waiting[:8]
        bench.turn(0.005)
        told.append(len(tries(hub)))
    assert len([count for count in told if count]) <= 9
    assert max(told) >= 90


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
