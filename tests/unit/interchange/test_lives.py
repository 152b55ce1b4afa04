"""A run that is forgotten and started again under its name is another one, in the journal too."""

import pytest

from blockyard.ids import hosted_session
from blockyard.wire import control, hosted
from blockyard.wire.records import Group, Status
from blockyard_interchange.core import lives
from tests.unit.interchange.builders import Bench, Client, Manager, a_function, a_spec, done, ended, joined
from tests.unit.interchange.test_hosted import CHAIN, RUN, number, phase, states


def finish(bench: Bench, manager: Manager) -> None:
    """The first task of each chain leaves two calls to be done, as a sweep does."""
    for place in range(6):
        bench.turn()
        assigned = manager.assigned()
        manager.report(*(joined(one, b"1", b"2") if not place else done(one, b"r") for one in assigned[:1]))
        manager.report(*(done(one, b"r") for one in assigned[1:]))
    bench.turn()


def again(bench: Bench, client: Client, *, at_once: bool) -> None:
    client.ask(hosted.ForgetRun(RUN), control.Done)
    if not at_once:
        bench.turn()
    assert client.ask(CHAIN, control.Done).count == 2
    bench.turn()


@pytest.mark.parametrize("compacts", [False, True])
@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
def test_it_goes_on_after_a_restart_whatever_came_of_those_before(
    at_once: bool, restarts: bool, compacts: bool
) -> None:
    bench = Bench()
    client, manager = bench.client(1), bench.manager("m1")
    client.ask(CHAIN, control.Done)
    for life in range(2, 5):
        finish(bench, manager)
        assert phase(client) == "Succeeded"
        if restarts:
            bench.restart()
            bench.turn(bench.settings.rejoin_grace * 2)
            client, manager = bench.client(life), bench.manager(f"m{life}")
        again(bench, client, at_once=at_once)
    if compacts:
        bench.compact_all()
    bench.restart()
    bench.turn(bench.settings.rejoin_grace * 2)
    client, manager = bench.client(9), bench.manager("m9")
    assert set(states(client)) == {"a", "b"}
    assert phase(client) == "Running"
    finish(bench, manager)
    assert phase(client) == "Succeeded"


def test_its_tasks_are_called_as_none_before_and_may_be_run_again() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.ask(CHAIN, control.Done)
    before = {one.task for one in client.ask(hosted.Run(RUN), hosted.RunIs).steps}
    finish(bench, manager)
    again(bench, client, at_once=True)
    steps = client.ask(hosted.Run(RUN), hosted.RunIs).steps
    assert before.isdisjoint(one.task for one in steps)
    assert {one.task >> 32 for one in steps} == {hosted_session(f"{RUN}\0001")}
    first, second = manager.assigned()
    manager.report(done(first, b"first"), ended(second, Status.RAISED))
    bench.turn()
    assert phase(client) == "Failed"
    group = Group(a_spec(name="b"), 2, [b"x"], [[steps[0].task]])
    marks = [hosted.StepMark("a", steps[0].task, False), hosted.StepMark("b", number(2))]
    client.ask(hosted.StartRun(RUN, b"1", [a_function()], [group], marks, again=True), control.Done)
    bench.turn()
    (third,) = manager.assigned()
    assert [need.body for need in third.needs] == [b"first"]
    manager.report(done(third))
    bench.turn()
    assert phase(client) == "Succeeded"


def test_few_of_them_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "MOST_SPENT", 2)
    state = Bench().state
    for run in "abc":
        lives.spend(state, hosted_session(run))
    assert list(state.spent) == [hosted_session("b"), hosted_session("c")]
