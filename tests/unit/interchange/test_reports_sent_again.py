"""A manager sends what is not confirmed again with each `Joined`, needed or not."""

from blockyard.wire import manager as manager_wire
from tests.unit.interchange.builders import Bench, done


def test_what_a_manager_sends_again_after_it_was_taken_in_is_confirmed_and_not_late() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.report(done(one))
    manager.number -= 1
    manager.report(done(one))
    bench.turn()
    manager.heard(manager_wire.Recorded)
    manager.number -= 1
    manager.report(done(one))
    bench.turn()
    bench.turn(1.0)
    assert [message.number for message in manager.heard(manager_wire.Recorded)] == [1]
    assert bench.state.pools["default"].counters.late == 0
