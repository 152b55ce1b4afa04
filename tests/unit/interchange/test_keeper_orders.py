"""Pools and clients that a keeper's orders make and unmake while the interchange runs."""

import itertools

import msgspec
import pytest

from blockyard.wire import client as client_wire
from blockyard.wire import control
from blockyard.wire import manager as manager_wire
from blockyard.wire.keeping import AllowClient, ForbidClient, KeeperOrder, RemovePool, SetPool
from blockyard.wire.records import Group, Status
from blockyard_interchange.core import entries, keeping
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, Client, a_spec, done

KEY, OTHER_KEY = b"a" * 40, b"b" * 40
SET = SetPool("ns.gpu", [KEY], workers=2)


def a_keeper(bench: Bench, session: int = 99) -> Client:
    return bench.client(session, user="keeper:operator")


def test_a_pool_that_was_set_takes_tasks_and_managers() -> None:
    bench = Bench(pools={})
    keeper = a_keeper(bench)
    assert keeper.ask(SET, control.Done).count == 1
    (task,) = bench.client().call(a_spec(pool="ns.gpu"))
    manager = bench.manager(pool="ns.gpu", workers=2)
    bench.turn()
    (one,) = manager.assigned()
    manager.report(done(one))
    bench.turn()
    assert one.task == task
    assert [outcome.status for outcome in bench.recorded(task)] == [Status.DONE]
    assert keeping.keys(bench.state) == ({}, {KEY: "pool:ns.gpu"})


def test_a_submission_that_was_refused_stays_so_when_its_pool_has_come_meanwhile() -> None:
    """Its client was told, and says it again only because it has not heard that yet."""
    bench = Bench(pools={})
    client = bench.client()
    group = Group(a_spec(pool="ns.gpu"), 0, [b"x"])
    client.submit(group)
    bench.turn()
    assert a_keeper(bench).ask(SET, control.Done).count == 1
    client.submit(group, number=1)
    bench.turn()
    assert [(one.number, one.kind) for one in client.heard(client_wire.Refused)] == [(1, "pool")] * 2
    assert not bench.state.tasks


def test_who_is_told_that_a_pool_is_there_finds_its_key_let_in() -> None:
    """The key counts from the commit on, and the answer comes after it."""
    bench = Bench(pools={})
    keeper = a_keeper(bench)
    keeper.say(client_wire.Ask(1, msgspec.Raw(msgspec.msgpack.encode(SET))))
    effects = bench.turn()
    assert effects.keys_changed
    assert effects.is_urgent
    assert [entry for entry in effects.entries if isinstance(entry, entries.PoolSet)]


def test_a_repeated_order_changes_nothing_and_writes_nothing() -> None:
    bench = Bench(pools={})
    keeper = a_keeper(bench)
    allow = AllowClient("anna", [OTHER_KEY], ["ns.gpu"])
    orders: list[KeeperOrder] = [SET, allow]
    for order in orders:
        assert keeper.ask(order, control.Done).count == 1
    written = len(bench.entries)
    for order in [*orders, ForbidClient("nobody"), RemovePool("nothing")]:
        assert keeper.ask(order, control.Done).count == 0
    assert len(bench.entries) == written


@pytest.mark.parametrize("order", [SET, RemovePool("default"), AllowClient("anna", [KEY]), ForbidClient("anna")])
def test_only_a_keeper_may_order(order: KeeperOrder) -> None:
    bench = Bench()
    refused = bench.client().is_refused(order)
    assert refused.kind == "key"
    assert "client:me" in refused.message
    assert type(order).__name__ in refused.message
    assert list(bench.state.pools) == ["default"]
    assert not bench.state.clients


@pytest.mark.parametrize(
    "order, words",
    [
        (SetPool("", [KEY]), "a name has 1 to 320"),
        (SetPool("a/b", [KEY]), "a name has 1 to 320"),
        (SetPool("p", [b"short"]), r"public_keys\[0\] has 5 bytes"),
        (SetPool("p", [KEY] * 9), "at most 8"),
        (SetPool("p", [KEY], durability="eternal"), "durability='eternal'; it is one of memory, journal"),
        (SetPool("p", [KEY], workers=0), "workers=0; at least 1"),
        (SetPool("p", [KEY], cores=float("nan")), "cores=nan"),
        (SetPool("p", [KEY], memory_bytes=-1), "memory_bytes=-1"),
        (SetPool("p", [KEY], nodes_per_block=0), "nodes_per_block=0"),
        (SetPool("p", [KEY], max_losses=0), "max_losses=0"),
        (SetPool("default", [KEY]), "defined by the settings file"),
        (RemovePool("default"), "defined by the settings file"),
        (AllowClient("ringed", [KEY]), "by a file of the key ring"),
        (AllowClient("a b", [KEY]), "a name has 1 to 320"),
        (SetPool("p", [OTHER_KEY]), "is client:anna's"),
        (AllowClient("bert", [OTHER_KEY]), "is client:anna's"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_whole(order: KeeperOrder, words: str) -> None:
    bench = Bench()
    keeping.on_ring(bench.state, {"client:ringed": None, "keeper:operator": None})
    keeper = a_keeper(bench)
    keeper.ask(AllowClient("anna", [OTHER_KEY]), control.Done)
    before = keeping.keys(bench.state), list(bench.state.pools)
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(keeper.is_refused(order).message)
    assert (keeping.keys(bench.state), list(bench.state.pools)) == before


def test_a_removed_pool_sends_its_managers_away_and_keeps_its_tasks() -> None:
    bench = Bench(pools={})
    keeper, client = a_keeper(bench), bench.client()
    keeper.ask(SET, control.Done)
    manager = bench.manager(pool="ns.gpu", workers=2)
    running, waiting, more = client.call(a_spec(pool="ns.gpu"), [b"1", b"2", b"3"])
    bench.turn()
    assert keeper.ask(RemovePool("ns.gpu", "by hand"), control.Done).count == 1
    (refused,) = manager.heard(manager_wire.Refused)
    assert (refused.kind, refused.message) == ("pool", "pool 'ns.gpu' was removed: by hand")
    assert keeping.keys(bench.state) == ({}, {})
    assert client.outcomes() == []
    client.call(a_spec(pool="ns.gpu"))
    bench.turn()
    assert [one.kind for one in client.heard(client_wire.Refused)] == ["pool"]
    (line,) = keeper.ask(control.Status(), control.StatusIs).pools
    assert (line.pool, line.defined, line.queued) == ("ns.gpu", False, 3)
    manager.back()
    bench.turn()
    assert manager.heard(manager_wire.Refused)
    assert not bench.state.manager_peers

    keeper.ask(SET, control.Done)
    manager.back()
    for _ in range(3):
        bench.turn()
        manager.report(*[done(one) for one in manager.assigned()])
    bench.turn()
    assert {one.task for one in client.outcomes()} == {running, waiting, more}


def test_a_removed_pool_may_take_its_tasks_along() -> None:
    bench = Bench(pools={})
    keeper, client = a_keeper(bench), bench.client()
    keeper.ask(SET, control.Done)
    bench.manager(pool="ns.gpu")
    client.call(a_spec(pool="ns.gpu", idempotent=False), [b"1", b"2"])
    client.call(a_spec(pool="ns.gpu"), [b"3", b"4"])
    bench.turn()
    bench.turn()
    keeper.ask(RemovePool("ns.gpu", cancel_tasks=True), control.Done)
    bench.turn()
    assert {one.status for one in client.outcomes()} == {Status.CANCELLED}


def test_a_removed_pool_is_forgotten_with_its_last_task_and_counts_anew() -> None:
    bench = Bench(pools={})
    keeper, client = a_keeper(bench), bench.client()
    keeper.ask(SET, control.Done)
    tasks = client.call(a_spec(pool="ns.gpu"), [b"1", b"2"])
    keeper.ask(RemovePool("ns.gpu"), control.Done)
    client.say(client_wire.Cancel(tasks))
    bench.turn(1.0)
    assert "ns.gpu" in bench.state.pools
    client.collect(tasks)
    bench.turn(1.0)
    bench.turn(1.0)
    assert "ns.gpu" not in bench.state.pools
    keeper.ask(SET, control.Done)
    client.call(a_spec(pool="ns.gpu"))
    bench.turn()
    assert bench.state.pools["ns.gpu"].counters.submitted == 1
    bench.restart()
    assert bench.state.pools["ns.gpu"].counters.submitted == 1


def test_pools_clients_and_their_tasks_are_there_again_after_a_restart() -> None:
    bench = Bench(pools={})
    keeper, client = a_keeper(bench), bench.client()
    keeper.ask(SET, control.Done)
    keeper.ask(msgspec.structs.replace(SET, workers=3, public_keys=[OTHER_KEY, KEY], durability="fsync"), control.Done)
    keeper.ask(SetPool("ns.gone", [b"c" * 40]), control.Done)
    keeper.ask(RemovePool("ns.gone"), control.Done)
    keeper.ask(AllowClient("anna", [b"d" * 40], ["ns.gpu"]), control.Done)
    keeper.ask(AllowClient("bert", [b"e" * 40]), control.Done)
    keeper.ask(ForbidClient("bert"), control.Done)
    client.call(a_spec(pool="ns.gpu"), [b"1", b"2"])
    bench.turn()
    for times in range(3):
        for _ in range(times):
            bench.compact_all()
        bench.restart()
        pool = bench.state.pools["ns.gpu"]
        assert pool.settings == PoolSettings("fsync", 3)
        assert pool.queue.size == 2
        assert keeping.keys(bench.state) == (
            {b"d" * 40: "client:anna"}, {OTHER_KEY: "pool:ns.gpu", KEY: "pool:ns.gpu"}
        )  # fmt: skip
        assert bench.state.limits == {"client:anna": frozenset({"ns.gpu"})}
        assert "ns.gone" not in bench.state.pools


def test_tasks_of_a_pool_that_nobody_defines_any_more_wait_for_it() -> None:
    """The settings file named it, and does not any more; then a keeper does."""
    bench = Bench(pools={"default": PoolSettings(), "old": PoolSettings()})
    client = bench.client()
    (task,) = client.call(a_spec(pool="old"))
    bench.turn()
    bench.settings = msgspec.structs.replace(bench.settings, pools={})
    bench.restart()
    assert not bench.state.pools["old"].is_defined
    keeper = a_keeper(bench)
    told = keeper.ask(control.Task(task), control.TaskIs)
    assert "is not defined" in " ".join(told.sentences)
    assert "'old': there is none" in keeper.ask(control.Watch("old"), control.Unknown).message
    assert keeper.ask(control.Tasks(pool="old"), control.TasksAre).total == 1
    for question in (control.Tasks(pool="odl"), control.CancelMatching("odl")):
        assert "'odl': there is none" in keeper.ask(question, control.Unknown).message
    keeper.ask(SetPool("old", [KEY]), control.Done)
    manager = bench.manager(pool="old")
    bench.turn(10.0)
    assert [one.task for one in manager.assigned()] == [task]


def test_durability_cannot_turn_volatile_under_unfinished_tasks() -> None:
    bench = Bench(pools={})
    keeper, client = a_keeper(bench), bench.client()
    keeper.ask(SET, control.Done)
    tasks = client.call(a_spec(pool="ns.gpu"))
    bench.turn()
    volatile = msgspec.structs.replace(SET, durability="memory")
    assert "1 unfinished tasks" in keeper.is_refused(volatile).message
    client.say(client_wire.Cancel(tasks))
    bench.turn()
    assert keeper.ask(volatile, control.Done).count == 1
    client.call(a_spec(pool="ns.gpu"))
    bench.turn()
    bench.restart()
    assert bench.state.pools["ns.gpu"].settings.durability == "memory"


def test_demand_is_told_in_workers_whatever_tasks_ask_for() -> None:
    """The largest share of a block's cores, memory or accelerators: that is how many of them find room in one."""
    bench = Bench(pools={"default": PoolSettings(workers=4, cores=8.0, memory_bytes=1 << 30, accelerators=2)})
    client, sessions = bench.client(), itertools.count(99)

    def told() -> control.Demand:
        return a_keeper(bench, next(sessions)).ask(control.Watch("default"), control.Demand)

    client.call(a_spec(), [b""] * 3)
    assert told().queued_slots == 3
    tasks = client.call(a_spec(cores=4.0), [b""] * 2)
    assert told().queued_slots == 3 + 2 * 2
    client.call(a_spec(memory_bytes=1 << 30))
    client.call(a_spec(accelerators=1))
    assert told().queued_slots == 3 + 2 * 2 + 4 + 2
    client.say(client_wire.Cancel([tasks[0]]))
    bench.turn()
    assert told().queued_slots == 3 + 2 + 4 + 2
    bench.manager(workers=4, cores=8.0)
    bench.turn()
    assert told().running_slots > 0
    assert told().queued_slots + told().running_slots == 3 + 2 + 4 + 2


def test_watching_ends_with_the_pool_and_begins_anew() -> None:
    bench = Bench(pools={})
    keeper = a_keeper(bench)
    keeper.ask(SET, control.Done)
    assert keeper.ask(control.Watch("ns.gpu"), control.Demand).queued_slots == 0
    keeper.ask(RemovePool("ns.gpu"), control.Done)
    bench.turn(1.0)
    bench.turn(1.0)
    assert "ns.gpu" not in bench.state.watched
    keeper.ask(SET, control.Done)
    assert keeper.ask(control.Watch("ns.gpu"), control.Demand).pool == "ns.gpu"


def test_demand_is_told_when_something_happened_in_a_pool_and_not_for_a_heartbeat() -> None:
    bench = Bench(pools={"default": PoolSettings()})
    keeper, manager = a_keeper(bench), bench.manager()
    (first,) = keeper.ask(control.Watch("default"), control.Demand).blocks
    assert not first.draining
    manager.beat()
    bench.turn(1.0)
    assert keeper.heard(client_wire.Reply) == []
    manager.say(manager_wire.Heartbeat(busy=0, idle=1, queued=0, draining=True))
    bench.turn(1.0)
    (told,) = keeper.heard(client_wire.Reply)
    demand = msgspec.msgpack.decode(told.answer, type=control.Answer)
    assert isinstance(demand, control.Demand)
    assert demand.blocks[0].draining
