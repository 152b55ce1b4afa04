"""Managers come, fall silent, come back, drain and go; and what becomes of the tries in their hands."""

import msgspec
import pytest

from blockyard.ids import ManagerId
from blockyard.wire import client as client_wire
from blockyard.wire import control
from blockyard.wire import manager as manager_wire
from blockyard.wire.patience import LARGE_BYTES
from blockyard.wire.records import Lease, Status
from blockyard_interchange.core import entries, settings
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, a_spec, done, ended, joined, lease


def test_the_tasks_of_a_silent_manager_run_elsewhere_under_a_new_lease() -> None:
    bench = Bench(heartbeat=1.0)
    client, silent = bench.client(), bench.manager("silent")
    client.call()
    bench.turn()
    (one,) = silent.assigned()
    other = bench.manager("other")
    for _ in range(7):
        other.beat()
        bench.turn(0.5)
    (again,) = other.assigned()
    assert again.task == one.task
    assert again.epoch > one.epoch
    silent.report(done(one))
    bench.turn()
    assert bench.state.pools["default"].counters.late == 0, "a manager that was given up has to join again first"
    assert silent.heard(manager_wire.NotJoined)


def test_a_manager_that_comes_back_keeps_what_still_stands_and_drops_the_rest() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager(workers=2)
    client.call(bodies=[b"1", b"2"])
    bench.turn()
    first, _ = manager.assigned()
    manager.heard(manager_wire.Joined)
    manager.back(lease(first), Lease(12345, 1), peer=b"new connection")
    bench.turn()
    (joined_again,) = manager.heard(manager_wire.Joined)
    assert joined_again.dropped == [Lease(12345, 1)]
    (again,) = manager.assigned()
    assert again.body == b"2", "it was sent and never arrived, so it is sent again"
    assert bench.task(first.task).epoch == first.epoch


def test_a_try_that_may_run_once_is_not_sent_again_when_it_may_have_arrived() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call(a_spec(idempotent=False))
    bench.turn()
    assert len(manager.assigned()) == 1
    manager.back(peer=b"new connection")
    bench.turn()
    assert manager.assigned() == []
    assert [outcome.status for outcome in client.outcomes()] == [Status.LOST]


@pytest.mark.parametrize("answered, status", [(0, Status.DONE), (1, Status.LOST), (-1, Status.LOST)])
def test_what_was_given_out_behind_an_answer_that_a_join_did_not_know_of_is_on_its_way(
    answered: int, status: Status
) -> None:
    """It says `Join` until it is answered: some come after what the answer to the first brought about."""
    bench = Bench()
    client, manager = bench.client(), bench.manager(answered=0)
    client.call(a_spec(idempotent=False))
    bench.turn()
    (one,) = manager.assigned()
    manager.join = msgspec.structs.replace(manager.join, answered=answered)
    manager.back()
    manager.report(done(one))
    bench.turn()
    assert [outcome.status for outcome in client.outcomes()] == [status]


def test_a_manager_may_be_silent_behind_a_large_frame_that_it_announced() -> None:
    bench = Bench(heartbeat=1.0)
    client, manager = bench.client(), bench.manager()
    client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.say(manager_wire.Heartbeat(1, 0, 0, follows=10 * LARGE_BYTES))
    _be_silent(bench, 19)
    assert not manager.heard(manager_wire.NotJoined)
    manager.report(done(one))
    assert bench.state.pools["default"].counters.late == 0
    _be_silent(bench, 4)
    assert not bench.state.pools["default"].managers, "what was announced has come"


def test_who_is_silent_behind_a_large_frame_hears_once_a_heartbeat_that_the_interchange_is_here() -> None:
    bench = Bench(heartbeat=1.0)
    manager = bench.manager()
    manager.say(manager_wire.Heartbeat(1, 0, 0, follows=10 * LARGE_BYTES))
    bench.turn()
    manager.heard(manager_wire.Beat)
    _be_silent(bench, 18)
    assert 14 <= len(manager.heard(manager_wire.Beat)) <= 16


def test_what_is_large_is_not_sent_again_before_it_may_have_come_and_not_for_ever() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call(bodies=[bytes(10 * LARGE_BYTES)])
    for _ in range(5):
        bench.turn()
        assert len(manager.assigned()) == 1
        for _ in range(19):
            client.say(client_wire.Ping())
            manager.back()
            bench.turn(1.0)
            assert manager.assigned() == [], "it may be on its way"
        bench.turn(1.1)
        manager.back()
    bench.turn()
    assert manager.assigned() == []
    (outcome,) = client.outcomes()
    assert outcome.status is Status.LOST
    assert outcome.failure is not None
    assert "its link is slow" in outcome.failure.message


def test_a_manager_that_is_given_up_behind_a_large_frame_has_a_slow_link() -> None:
    bench = Bench(pools={"default": PoolSettings(max_losses=1)}, heartbeat=1.0)
    client, manager = bench.client(), bench.manager()
    client.call()
    bench.turn()
    manager.say(manager_wire.Heartbeat(1, 0, 0, follows=10 * LARGE_BYTES))
    for _ in range(44):
        client.say(client_wire.Ping())
        bench.turn(0.5)
    (outcome,) = client.outcomes()
    assert outcome.failure is not None
    assert "behind a large frame that it was about to send: its link is slow" in outcome.failure.message


def test_nobody_may_announce_that_it_is_silent_for_ever() -> None:
    bench = Bench(heartbeat=1.0)
    bench.manager().say(manager_wire.Heartbeat(1, 0, 0, follows=1 << 60))
    _be_silent(bench, 610)
    assert not bench.state.pools["default"].managers


def _be_silent(bench: Bench, seconds: int) -> None:
    for _ in range(2 * seconds):
        bench.turn(0.5)


def test_two_joins_in_one_poll_leave_no_full_manager_among_the_idle() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call()
    bench.turn()
    (one,) = manager.assigned()
    bench.restart()
    manager.say(manager.join)
    manager.back(lease(one))
    assert bench.state.pools["default"].managers[ManagerId("m1")].load == 1


@pytest.mark.parametrize(
    "fields, kind",
    [({"version": 99}, "version"), ({"workers": 0}, "workers"), ({"python": "2.7"}, "python")],
)
def test_a_manager_that_does_not_fit_is_refused_alone(fields: dict[str, object], kind: str) -> None:
    bench = Bench()
    good = bench.manager("good")
    bad = bench.manager("bad")
    bad.inbox.clear()
    bench.restart()
    good.say(good.join)
    bad.say(msgspec.structs.replace(bad.join, **fields))
    bench.turn()
    (refused,) = bad.heard(manager_wire.Refused)
    assert refused.kind == kind
    assert list(bench.state.pools["default"].managers) == ["good"]


def test_a_key_of_one_pool_opens_no_other() -> None:
    bench = Bench(pools={"default": PoolSettings(), "gpu": PoolSettings()})
    thief = bench.manager("thief")
    thief.say(msgspec.structs.replace(thief.join, pool="gpu"))
    bench.turn()
    (refused,) = thief.heard(manager_wire.Refused)
    assert refused.kind == "key"


def test_tries_handed_back_run_elsewhere_and_count_for_nothing() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.say(manager_wire.Returned([lease(one)]))
    bench.turn()
    (again,) = manager.assigned()
    assert again.epoch > one.epoch
    assert bench.task(task).losses == 0


def test_a_draining_manager_gets_nothing_more() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager(block="b1")
    assert client.ask(control.Drain(["b1"], 5.0), control.Done).count == 1
    assert [drain.grace for drain in manager.heard(manager_wire.Drain)] == [5.0]
    client.call()
    bench.turn()
    assert manager.assigned() == []
    manager.say(manager_wire.Leave("drained"))
    bench.turn()
    assert not bench.state.pools["default"].managers


def test_a_manager_that_leaves_gives_back_what_it_holds() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager("one")
    client.call()
    bench.turn()
    (one,) = manager.assigned()
    other = bench.manager("two")
    manager.say(manager_wire.Leave("terminated"))
    bench.turn()
    (again,) = other.assigned()
    assert again.task == one.task


def test_only_what_ran_is_suspected_when_a_manager_dies() -> None:
    bench = Bench(prefetch_tasks=8)
    client, manager = bench.client(), bench.manager()
    client.call(bodies=[b"1", b"2"])
    bench.turn()
    first, second = manager.assigned()
    client.ask(control.BlockGone(["m1"], "node lost"), control.Done)
    assert bench.task(first.task).losses == 1
    assert bench.task(second.task).losses == 0


def test_functions_are_sent_once_and_again_when_they_are_wanted() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager(workers=2)
    client.call(bodies=[b"1", b"2"])
    bench.turn()
    (functions,) = manager.heard(manager_wire.Functions)
    assert len(functions.functions) == 1
    manager.say(manager_wire.Wanted([functions.functions[0].id]))
    bench.turn()
    assert manager.heard(manager_wire.Functions) == [functions]


# ------------------------------------------------------------------------------------- an interchange that slept


def test_an_interchange_that_was_stopped_takes_nobody_for_dead() -> None:
    bench = Bench(heartbeat=1.0)
    client, manager = bench.client(), bench.manager()
    (task,) = client.call(a_spec(idempotent=False))
    bench.turn()
    (one,) = manager.assigned()
    bench.turn(60.0)
    assert bench.task(task).manager is not None
    manager.report(done(one))
    bench.turn()
    assert [outcome.status for outcome in client.outcomes()] == [Status.DONE]


# ---------------------------------------------------------------------------------------------------------- restarts


def test_after_a_restart_managers_that_were_there_are_waited_for_and_keep_their_tasks() -> None:
    bench = Bench(rejoin_grace=3.0)
    client, manager = bench.client(), bench.manager("old")
    (task,) = client.call()
    bench.turn()
    (one,) = manager.assigned()
    bench.restart()
    stranger = bench.manager("new")
    bench.turn(1.0)
    assert stranger.assigned() == [], "the old one may run it"
    manager.back(lease(one))
    bench.turn()
    assert stranger.assigned() == []
    manager.report(done(one, b"once"))
    bench.turn()
    assert [outcome.body for outcome in bench.recorded(task)] == [b"once"]


def test_managers_that_do_not_come_back_are_given_up_and_said_to_be_gone() -> None:
    bench = Bench(rejoin_grace=3.0)
    client, manager = bench.client(), bench.manager("old")
    client.call()
    bench.turn()
    manager.assigned()
    bench.restart()
    other = bench.manager("new")
    for _ in range(8):
        other.beat()
        bench.turn(0.5)
    assert len(other.assigned()) == 1
    assert entries.ManagerLeft("old") in bench.entries
    bench.restart()
    assert set(bench.state.awaited) == {"new"}


def test_what_may_run_once_is_held_back_after_a_restart_and_lost_with_its_manager() -> None:
    bench = Bench(rejoin_grace=3.0)
    client, manager = bench.client(), bench.manager("old")
    client.call(a_spec(idempotent=False))
    bench.turn()
    assert len(manager.assigned()) == 1
    bench.restart()
    client.say(client.hello)
    other = bench.manager("new")
    for _ in range(8):
        other.beat()
        client.say(client.hello)
        bench.turn(0.5)
    assert other.assigned() == []
    assert {outcome.status for outcome in client.outcomes()} == {Status.LOST}


def test_a_raised_try_counts_once_though_it_is_told_again_after_a_restart() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call(a_spec(retries=1))
    bench.turn()
    (one,) = manager.assigned()
    manager.report(ended(one, Status.RAISED))
    bench.turn()
    bench.restart()
    manager.heard(manager_wire.Joined)
    manager.back(lease(one))
    bench.turn()
    (again,) = manager.heard(manager_wire.Joined)
    assert again.dropped == [lease(one)]
    assert bench.task(task).failures == 1


def test_what_was_handed_back_unstarted_is_not_lost_at_a_restart() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call(a_spec(idempotent=False))
    bench.turn()
    (one,) = manager.assigned()
    client.ask(control.Drain(["m1"], 5.0), control.Done)
    manager.say(manager_wire.Returned([lease(one)]))
    bench.turn()
    bench.restart()
    assert not bench.state.orphans
    assert bench.task(task).outcome is None


def test_a_join_survives_a_restart_with_the_children_it_has() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.report(joined(one, b"1", b"2"))
    bench.turn()
    first, second = manager.assigned()
    manager.report(done(first, b"one"))
    bench.turn()
    bench.restart()
    client.say(client.hello)
    manager.back(lease(second))
    manager.report(done(second, b"two"))
    bench.turn()
    (outcome,) = client.outcomes()
    assert outcome.task == task
    assert [entry for entry in bench.entries if isinstance(entry, entries.Submitted) and entry.parent == task]


def test_of_many_managers_each_is_heard_more_rarely_and_given_up_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_CROWD", 2)
    bench = Bench()
    first, *_ = (bench.manager(name) for name in ("a", "b", "c"))
    bench.turn()
    first.beat()
    bench.turn()
    assert [beat.heartbeat for beat in first.heard(manager_wire.Beat)] == [2.0], "two for two, and one too many"
    first.beat()
    bench.turn()
    assert [beat.heartbeat for beat in first.heard(manager_wire.Beat)] == [0.0], "it was told"
    for _ in range(5):
        bench.turn(1.0)
    assert "a" in bench.state.pools["default"].managers
    for _ in range(2):
        bench.turn(1.0)
    assert "a" not in bench.state.pools["default"].managers


def test_thousands_of_managers_say_a_thousand_heartbeats_a_second() -> None:
    beat = settings.Settings().beat
    assert [beat(count) for count in (0, 1, 1000, 1001, 10_000)] == [1.0, 1.0, 1.0, 2.0, 10.0]
