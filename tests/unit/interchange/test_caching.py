"""Results that are found instead of computed."""

import itertools

from blockyard.ids import hosted_session
from blockyard.wire import control, hosted
from blockyard.wire.client import Cancel, Refused
from blockyard.wire.records import Blob, Bundle, Group, Status, Trigger
from blockyard_interchange.core import caching, entries, keeping
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, Client, Manager, a_function, a_spec, done, ended, joined, lease
from tests.unit.interchange.test_replay import WAYS, read_again

MEMO, OTHER = b"m" * 16, b"o" * 16


def ask(client: Client, *memos: bytes, **call: object) -> list[int]:
    """Tasks that are known by these."""
    return client.call(bodies=[b"x"] * len(memos), memos=[[memo] for memo in memos], **call)  # type: ignore[arg-type]


def work(bench: Bench, manager: Manager, body: object = b"y") -> int:
    """Let what can run succeed; returns how many tries there were."""
    bench.turn()
    tries = manager.assigned()
    if tries:
        manager.report(*(done(one, body) for one in tries))  # type: ignore[arg-type]
    bench.turn()
    return len(tries)


def ends(client: Client) -> list[tuple[int, Status, object]]:
    return [(one.task, one.status, one.body) for one in client.outcomes()]


def counted(bench: Bench, pool: str = "default") -> tuple[int, int, int]:
    counters = bench.state.pools[pool].counters
    return counters.cache_hits, counters.cache_misses, counters.cache_evicted


def test_the_same_call_of_another_client_ends_at_once_without_a_worker() -> None:
    bench = Bench()
    anna, bert, manager = bench.client(1), bench.client(2), bench.manager()
    ask(anna, MEMO)
    assert work(bench, manager, b"result") == 1
    (second,) = ask(bert, MEMO)
    bench.turn()
    assert not manager.assigned()
    assert ends(bert) == [(second, Status.DONE, b"result")]
    assert [len(bench.recorded(second)), counted(bench)] == [1, (1, 1, 0)]


def test_it_is_found_after_the_first_one_was_collected_and_its_client_left() -> None:
    bench = Bench()
    anna, manager = bench.client(1), bench.manager()
    (first,) = ask(anna, MEMO)
    work(bench, manager)
    anna.collect([first])
    bench.turn()
    assert not bench.state.tasks
    (second,) = ask(anna, MEMO)
    bench.turn()
    assert ends(anna)[-1] == (second, Status.DONE, b"y")


def test_another_pool_finds_nothing() -> None:
    bench = Bench(pools={"default": PoolSettings(), "other": PoolSettings()})
    client, manager = bench.client(), bench.manager()
    other = bench.manager("m2", pool="other")
    ask(client, MEMO)
    work(bench, manager)
    ask(client, MEMO, spec=a_spec(pool="other"))
    assert work(bench, other) == 1


def test_who_comes_while_it_runs_waits_for_it_and_costs_nothing() -> None:
    bench = Bench()
    anna, bert, manager = bench.client(1), bench.client(2), bench.manager(workers=4)
    tasks = ask(anna, MEMO, MEMO)
    bench.turn()
    tasks += ask(bert, MEMO)
    assert work(bench, manager, b"once") == 1
    assert sorted(ends(anna) + ends(bert)) == [(task, Status.DONE, b"once") for task in tasks]
    assert counted(bench) == (2, 1, 0)


def test_a_failure_is_not_kept_and_who_waited_runs() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager(workers=4)
    first, second = ask(client, MEMO, MEMO)
    bench.turn()
    manager.report(*(ended(one, Status.RAISED) for one in manager.assigned()))
    assert work(bench, manager) == 1
    assert [(task, status) for task, status, _ in ends(client)] == [(first, Status.RAISED), (second, Status.DONE)]
    assert counted(bench) == (0, 2, 0)


def test_who_waits_goes_on_when_the_one_that_runs_is_cancelled() -> None:
    bench = Bench()
    anna, bert, manager = bench.client(1), bench.client(2), bench.manager()
    (first,) = ask(anna, MEMO)
    (second,) = ask(bert, MEMO)
    anna.say(Cancel([first]))
    assert work(bench, manager) == 1
    assert ends(bert) == [(second, Status.DONE, b"y")]


def test_who_waits_may_be_cancelled_and_no_one_else_notices() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    first, second, third = ask(client, MEMO, MEMO, MEMO)
    bench.turn()
    client.say(Cancel([second]))
    bench.turn()
    assert work(bench, manager) == 1
    assert {(task, status) for task, status, _ in ends(client)} == {
        (first, Status.DONE), (second, Status.CANCELLED), (third, Status.DONE),
    }  # fmt: skip


def test_a_chain_is_found_link_by_link_in_one_turn() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    memos = [b"%016d" % place for place in range(20)]

    def chain() -> list[int]:
        (task,) = ask(client, memos[0])
        made = [task]
        for before, memo in itertools.pairwise(memos):
            made += client.call(needs=[[made[-1]]], memos=[[memo, before]])
        return made

    chain()
    for _ in memos:
        work(bench, manager)
    client.outcomes()
    again = chain()
    bench.turn()
    assert not manager.assigned()
    assert sorted(task for task, _, _ in ends(client)) == again


def test_a_needed_task_that_failed_ends_a_cached_one_as_any_other() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    ask(client, MEMO)
    work(bench, manager)
    (needed,) = client.call()
    (last,) = client.call(needs=[[needed]], memos=[[MEMO]])
    bench.turn()
    manager.report(*(ended(one, Status.RAISED) for one in manager.assigned()))
    bench.turn()
    assert bench.task(last).outcome.status is Status.DEPENDENCY  # type: ignore[union-attr]


def test_a_condition_is_judged_before_anything_is_found() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    ask(client, MEMO)
    work(bench, manager)
    (needed,) = client.call()
    (last,) = client.call(a_spec(trigger=Trigger.ANY_FAILED), needs=[[needed]], memos=[[MEMO]])
    work(bench, manager)
    assert bench.task(last).outcome.status is Status.SKIPPED  # type: ignore[union-attr]


def test_a_join_is_found_as_a_whole() -> None:
    bench = Bench()
    client, manager = bench.client(1, "f"), bench.manager(workers=4)
    ask(client, MEMO)
    bench.turn()
    manager.report(*(joined(one, b"1", b"2") for one in manager.assigned()))
    bench.turn()
    parts = [Blob("one", 100_000), Blob("two", 100_000)]
    manager.report(*(done(one, part) for one, part in zip(manager.assigned(), parts, strict=True)))
    (second,) = ask(client, MEMO)
    bench.turn()
    expected = Bundle([*parts])
    assert ends(client)[-1] == (second, Status.DONE, expected)


def test_a_blob_goes_with_the_last_that_has_it() -> None:
    bench = Bench(cache_max_bytes=1 << 20)
    client, manager = bench.client(), bench.manager()
    ask(client, MEMO)
    work(bench, manager, Blob("large", 1 << 19))
    (second,) = ask(client, MEMO)
    bench.turn()
    client.collect([one for one, _, _ in ends(client)])
    bench.turn()
    assert not bench.unlinked
    (third,) = ask(client, MEMO)
    bench.turn()
    caching.clear(bench.state, ["default"])
    bench.turn()
    assert (second != third, bench.unlinked) == (True, [])
    client.collect([third])
    bench.turn()
    assert bench.unlinked == ["large"]


@WAYS
def test_it_is_found_after_a_restart(how: str) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    tasks = ask(client, MEMO)
    work(bench, manager, Blob("large", 100_000))
    tasks += ask(client, OTHER)
    work(bench, manager, b"small")
    client.collect(tasks)
    (hit,) = ask(client, MEMO)
    read_again(bench, how)
    assert counted(bench)[0] == 1
    client = bench.client(2)
    first, second = ask(client, MEMO, OTHER)
    bench.turn()
    assert ends(client) == [(first, Status.DONE, Blob("large", 100_000)), (second, Status.DONE, b"small")]
    assert bench.state.shared == {"large": 3}, f"the cache, {hit} and {first}"


@WAYS
def test_what_was_dropped_stays_dropped_after_a_restart(how: str) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    ask(client, MEMO)
    work(bench, manager)
    caching.clear(bench.state, ["default"])
    ask(client, OTHER)
    work(bench, manager)
    read_again(bench, how)
    assert [memo for _, memo in bench.state.cache.results] == [OTHER]


def test_after_a_restart_the_one_that_runs_is_waited_for_whoever_came_first() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (needed,) = client.call()
    (first,) = client.call(needs=[[needed]], memos=[[MEMO]])
    bench.turn()
    (before,) = manager.assigned()
    other = bench.manager("m2")
    (second,) = ask(client, MEMO)
    bench.turn()
    (running,) = other.assigned()
    manager.report(done(before))
    bench.turn()
    assert [running.task, bench.task(first).waiting] == [second, 1]
    bench.restart()
    client.say(client.hello)
    manager.back()
    other.back(lease(running))
    bench.turn()
    assert not manager.assigned()
    other.report(done(running, b"once"))
    bench.turn()
    assert {bench.task(task).outcome.body for task in (first, second)} == {b"once"}  # type: ignore[union-attr]


def test_after_a_restart_without_its_manager_one_of_them_runs() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    tasks = ask(client, MEMO, MEMO, MEMO)
    bench.turn()
    bench.restart()
    client.say(client.hello)
    bench.turn(10.0)
    bench.turn(1.0)
    manager = bench.manager("m2")
    assert work(bench, manager) == 1
    assert all(bench.task(task).outcome for task in tasks)


def test_a_memory_pool_finds_what_it_had_until_the_interchange_ends() -> None:
    bench = Bench(pools={"default": PoolSettings(durability="memory")})
    client, manager = bench.client(), bench.manager()
    ask(client, MEMO)
    work(bench, manager)
    ask(client, MEMO)
    assert work(bench, manager) == 0
    assert not any(isinstance(one, entries.ResultCached) for one in bench.entries)
    bench.restart()
    assert not bench.state.cache.results


def test_the_oldest_go_when_room_is_wanted_and_what_is_larger_than_all_is_not_kept() -> None:
    bench = Bench(cache_max_bytes=2 * (1000 + caching.OVERHEAD_BYTES))
    client, manager = bench.client(), bench.manager(workers=1)
    for memo in (b"1", b"2", b"3"):
        ask(client, memo)
        work(bench, manager, b"x" * 1000)
    assert [memo for _, memo in bench.state.cache.results] == [b"2", b"3"]
    first, second = ask(client, b"4", b"4")
    work(bench, manager, b"x" * 5000)
    assert {bench.task(task).outcome.body for task in (first, second)} == {b"x" * 5000}  # type: ignore[union-attr]
    assert [[memo for _, memo in bench.state.cache.results], counted(bench)] == [[b"2", b"3"], (1, 4, 1)]


def test_what_is_too_old_is_dropped_in_time_and_never_found() -> None:
    bench = Bench(cache_ttl=100.0)
    client, manager = bench.client(), bench.manager()
    ask(client, MEMO)
    work(bench, manager)
    bench.now += 101.0
    manager.beat()
    ask(client, MEMO)
    assert work(bench, manager) == 1
    bench.turn(50.0)
    assert bench.state.cache.results
    bench.turn(51.0)
    assert not bench.state.cache.results
    assert counted(bench) == (0, 2, 2)


def test_clearing_a_function_clears_what_was_made_from_its_results() -> None:
    bench = Bench()
    client, manager = bench.client(1, "f", "g"), bench.manager()
    client.call(a_spec("f"), memos=[[b"f"]])
    work(bench, manager)
    client.call(a_spec("g"), memos=[[b"g", b"f"]])
    work(bench, manager)
    client.call(a_spec("g"), memos=[[b"h", b"g"]])
    work(bench, manager)
    client.call(a_spec("g"), memos=[[b"i"]])
    work(bench, manager)
    assert caching.clear(bench.state, ["default"], a_function("f").name) == 3
    bench.turn()
    assert [memo for _, memo in bench.state.cache.results] == [b"i"]
    assert caching.clear(bench.state, ["default"], "g") == 1


def test_what_runs_while_it_is_cleared_is_not_kept() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    ask(client, MEMO)
    bench.turn()
    caching.clear(bench.state, ["default"])
    work(bench, manager)
    assert not bench.state.cache.results


def test_what_lost_its_blob_is_dropped_at_the_start() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    ask(client, MEMO)
    work(bench, manager, Blob("gone", 100_000))
    ask(client, OTHER)
    work(bench, manager, Blob("here", 100_000))
    assert caching.drop_missing(bench.state, {"here"}) == 1
    bench.turn()
    assert [memo for _, memo in bench.state.cache.results] == [OTHER]


def test_as_many_memos_as_tasks_are_asked_for() -> None:
    bench = Bench()
    client = bench.client()
    client.call(bodies=[b"1", b"2"], memos=[[MEMO]])
    bench.turn()
    (refused,) = client.heard(Refused)
    assert "1 memos for 2 tasks" in refused.message
    ask(client, b"m" * 33)
    bench.turn()
    (refused,) = client.heard(Refused)
    assert "a memo of 33 bytes; at most 32" in refused.message


def test_a_step_of_a_held_run_keeps_nobody_waiting_and_is_found_when_it_goes_on() -> None:
    bench = Bench()
    client = bench.client()
    name = hosted_session("flow")
    group = Group(a_spec(), 0, [b"x"], memos=[[MEMO]])
    marks = [hosted.StepMark("only", name << 32)]
    client.ask(hosted.StartRun("flow", b"1", [a_function()], [group], marks), control.Done)
    (task,) = ask(client, MEMO)
    assert bench.task(task).waiting == 1
    client.ask(hosted.HoldRun("flow", held=True), control.Done)
    assert bench.task(task).waiting == 0
    assert work(bench, bench.manager("m2")) == 1
    client.ask(hosted.HoldRun("flow", held=False), control.Done)
    assert client.ask(hosted.Run("flow"), hosted.RunIs).line.phase == "Succeeded"


def test_who_may_use_some_pools_sees_and_clears_the_results_of_these_alone() -> None:
    bench = Bench(pools={"a": PoolSettings(), "b": PoolSettings()})
    keeping.on_ring(bench.state, {"client:anna": frozenset({"a"}), "client:all": None})
    anna, everybody = bench.client(1, user="client:anna"), bench.client(2, user="client:all")
    for pool in "ab":
        manager = bench.manager(f"m-{pool}", pool=pool)
        ask(everybody, MEMO, spec=a_spec(pool=pool))
        work(bench, manager, b"result")
    seen = anna.ask(control.Cached(), control.CacheIs)
    assert ([one.pool for one in seen.pools], [one.pool for one in seen.functions]) == (["a"], ["a"])
    assert anna.is_refused(control.ClearCache("b")).kind == "pool"
    assert anna.ask(control.ClearCache(), control.Done).count == 1
    seen = everybody.ask(control.Cached(), control.CacheIs)
    assert [(one.pool, one.function, one.results) for one in seen.functions] == [("b", "module.f", 1)]
    everybody.ask(control.Cached("c"), control.Unknown)
