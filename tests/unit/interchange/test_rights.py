"""A client whose key names pools gets nothing of any other: not by submitting, needing, cancelling, asking, joining."""

import pytest

from blockyard.wire import client as wire
from blockyard.wire import control
from blockyard.wire.keeping import AllowClient
from blockyard.wire.records import Group
from blockyard_interchange.core import keeping
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, Client, Manager, a_spec, done

POOLS = {"a": PoolSettings(), "b": PoolSettings()}


class Two:
    """An interchange with pools a and b, a client of each, and one task in each that has ended."""

    def __init__(self) -> None:
        self.bench = Bench(pools=POOLS)
        limits = {"client:anna": frozenset({"a"}), "client:bert": frozenset({"b"}), "client:all": None}
        keeping.on_ring(self.bench.state, limits)
        self.anna = self.bench.client(1, user="client:anna")
        self.bert = self.bench.client(2, user="client:bert", run="bert's")
        self.managers = {name: self.bench.manager(f"m-{name}", pool=name, block=f"block-{name}") for name in "ab"}
        (self.of_a,) = self.anna.call(a_spec(pool="a"))
        (self.of_b,) = self.bert.call(a_spec(pool="b"), [b"secret"])
        self.bench.turn()

    def finish(self, manager: Manager) -> None:
        manager.report(*[done(one, b"result") for one in manager.assigned()])
        self.bench.turn()

    def refused(self, client: Client) -> str:
        self.bench.turn()
        (refused,) = client.heard(wire.Refused)
        assert refused.kind == "pool"
        return refused.message


@pytest.fixture
def two() -> Two:
    return Two()


def test_a_submission_elsewhere_is_refused_with_the_names_of_its_own(two: Two) -> None:
    for pool in ("b", "no-such-pool"):  # the same words: it does not learn which pools there are
        two.anna.call(a_spec(pool=pool))
        assert f"pool {pool!r} is not one that this key may use; these are: a" in two.refused(two.anna)


def test_an_own_pool_that_is_not_there_tells_no_other_names(two: Two) -> None:
    keeping.on_ring(two.bench.state, {"client:anna": frozenset({"a", "bb"})})
    two.anna.call(a_spec(pool="bb"))
    assert "pool 'bb' is not there, or not yet" in two.refused(two.anna)


def test_a_result_of_another_pool_cannot_be_needed(two: Two) -> None:
    two.finish(two.managers["b"])
    first, two.anna.next = two.anna.next, two.anna.next + 1
    two.anna.submit(Group(a_spec(pool="a"), first, [b"x"], [[two.of_b]]))
    assert "not of a pool that this key may use" in two.refused(two.anna)


def test_a_value_that_another_client_put_cannot_be_needed(two: Two) -> None:
    two.bert.number += 1
    two.bert.say(wire.Put(two.bert.number, 5, b"secret"))
    two.anna.call(a_spec(pool="a"), needs=[[two.bert.task(5)]])
    assert "not of a pool that this key may use" in two.refused(two.anna)


def test_own_results_and_values_can_be_needed(two: Two) -> None:
    two.anna.number += 1
    two.anna.say(wire.Put(two.anna.number, 5, b"mine"))
    two.anna.next = 6
    two.anna.call(a_spec(pool="a"), needs=[[two.anna.task(5), two.of_a]])
    two.bench.turn()
    assert two.anna.heard(wire.Refused) == []


def test_cancelling_elsewhere_does_nothing(two: Two) -> None:
    two.anna.say(wire.Cancel([two.of_b]))
    assert two.anna.ask(control.CancelTasks([two.of_b]), control.Done).count == 0
    assert two.anna.ask(control.CancelMatching(), control.Done).count == 1
    assert two.bench.task(two.of_b).outcome is None
    assert not two.bench.task(two.of_b).flags


@pytest.mark.parametrize(
    "question",
    [
        control.Tasks(pool="b"), control.Watch("b"), control.Blocks("b"), control.CancelMatching("b"),
        control.ReportBlocks("b", [control.BlockReport("block-b", "FAILED")]),
        control.Drain(["block-b"], 1.0, "b"), control.BlockGone(["block-b"], "why", "b"),
    ],
)  # fmt: skip
def test_a_question_about_another_pool_is_refused_with_the_names_of_its_own(
    two: Two, question: control.Question
) -> None:
    refused = two.anna.is_refused(question)
    assert (refused.kind, refused.message) == ("pool", "pool 'b' is not one that this key may use; these are: a")
    assert not two.bench.state.pools["b"].reports
    (manager,) = two.bench.state.pools["b"].managers.values()
    assert not manager.draining


@pytest.mark.parametrize("question", [control.Tasks(run="bert'"), control.CancelMatching(run="bert'")])
def test_a_question_about_a_run_that_is_not_there_is_answered_with_the_nearest_it_may_hear_of(
    two: Two, question: control.Question
) -> None:
    said = {one: one.ask(question, control.Unknown).message for one in (two.anna, two.bert)}
    assert said[two.bert] == 'run "bert\'": there is none here; did you mean "bert\'s"?'
    assert said[two.anna] == 'run "bert\'": there is none here; there are: session-1'


def test_a_run_that_it_has_no_part_in_is_not_there_for_it(two: Two) -> None:
    for question in (control.Tasks(run="bert's"), control.CancelMatching(run="bert's")):
        assert "bert's" in two.anna.ask(question, control.Unknown).message
    assert two.bench.task(two.of_b).outcome is None
    mine = two.bench.client(7, user="client:anna", run="empty")
    assert mine.ask(control.Tasks(run="empty"), control.TasksAre).total == 0
    assert two.anna.ask(control.CancelMatching(run="empty"), control.Done).count == 0


def test_questions_about_everything_tell_of_its_own_pool_only(two: Two) -> None:
    status = two.anna.ask(control.Status(), control.StatusIs)
    assert ([pool.pool for pool in status.pools], status.tasks, status.sessions) == (["a"], 1, 1)
    tasks = two.anna.ask(control.Tasks(), control.TasksAre)
    assert ([one.task for one in tasks.tasks], tasks.total) == ([two.of_a], 1)
    assert [one.pool for one in two.anna.ask(control.Managers(), control.ManagersAre).managers] == ["a"]
    assert [one.pool for one in two.anna.ask(control.Blocks(), control.BlocksAre).blocks] == ["a"]
    assert "never submitted here" in two.anna.ask(control.Task(two.of_b), control.Unknown).message
    assert two.anna.ask(control.Drain(["block-b"], 1.0), control.Done).count == 0
    assert two.anna.ask(control.BlockGone(["block-b"], "why"), control.Done).count == 0
    assert len(two.bench.state.pools["b"].managers) == 1
    assert [pool.name for pool in two.anna.heard(wire.Welcome)[0].pools] == ["a"]


def test_a_run_of_clients_of_other_pools_cannot_be_joined(two: Two) -> None:
    thief = Client(two.bench, 3, user="client:anna", run="bert's", take_over=True)
    two.bench.peers[thief.peer] = thief
    thief.say(thief.hello)
    assert two.refused(thief) == 'run "bert\'s" has clients that may use other pools than this key; it may use: a'
    assert not two.bert.heard(wire.TakenOver)


def test_a_wider_client_in_its_run_shows_it_nothing_of_other_pools(two: Two) -> None:
    bench = two.bench
    first = bench.client(4, user="client:anna", run="common")
    first.say(wire.Reattach(1))
    wide = bench.client(5, user="client:all", run="common")
    (hidden,) = wide.call(a_spec(pool="b"), [b"other"])
    bench.turn()
    two.finish(two.managers["b"])
    two.finish(two.managers["b"])
    assert bench.task(hidden).outcome is not None
    first.say(wire.Reattach(2))
    first.say(wire.Cancel([hidden]))
    first.collect([hidden])
    bench.turn()
    assert first.outcomes() == []
    assert all(not attached.tasks for attached in first.heard(wire.Attached))
    assert hidden in bench.state.tasks
    assert [one.task for one in wide.outcomes()] == [hidden]


def test_a_client_that_may_use_all_is_not_limited(two: Two) -> None:
    everything = two.bench.client(6, user="client:all", run="bert's")
    everything.say(wire.Reattach(1))
    two.bench.turn()
    (attached,) = everything.heard(wire.Attached)
    assert attached.tasks == [two.of_b]
    assert everything.ask(control.Tasks(), control.TasksAre).total == 2


def test_a_key_that_loses_a_pool_hears_no_more_of_it() -> None:
    bench = Bench(pools=POOLS)
    keeper = bench.client(9, user="keeper:operator")
    keeper.ask(AllowClient("anna", [b"k" * 40], ["a", "b"]), control.Done)
    anna = bench.client(1, user="client:anna")
    anna.ask(control.Watch("b"), control.Demand)
    keeper.ask(AllowClient("anna", [b"k" * 40], ["a"]), control.Done)
    bench.client(2).call(a_spec(pool="b"))
    bench.turn(1.0)
    assert anna.heard(wire.Reply) == []
    assert "these are: a" in anna.is_refused(control.Watch("b")).message


def test_values_can_be_put_where_no_pool_is_defined_yet() -> None:
    bench = Bench(pools={})
    client = bench.client()
    client.number += 1
    client.say(wire.Put(client.number, 0, b"value"))
    bench.turn()
    bench.restart()
    assert [task.outcome.body for task in bench.state.tasks.values() if task.outcome] == [b"value"]
