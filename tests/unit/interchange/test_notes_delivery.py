"""When the hub is told what the interchange has noted, and that it is kept until the hub confirms it.

Out of scope: what is told (`test_notes`).
"""

import pytest

from blockyard.wire import codec
from blockyard.wire import hub as hub_wire
from blockyard.wire import manager as manager_wire
from blockyard.wire.monitoring import VERSION, AnyPacket, Run, Tasks, Tries, TryState, WorkerTasks
from blockyard_interchange.core import entries, timers
from blockyard_interchange.core.figures import figures
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, Client, done


@pytest.fixture
def bench() -> Bench:
    return Bench(monitoring=True)


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
    assert [one.state for one in hub.tries()] == [TryState.DONE]
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
        told.append(len(hub.tries()))
    assert len([count for count in told if count]) <= 9
    assert max(told) >= 90
