"""A manager that says it drains is given nothing more."""

from blockyard.wire.manager import Heartbeat
from tests.unit.interchange.builders import Bench, a_spec


def test_a_manager_that_was_told_to_end_gets_no_more_tasks() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    manager.say(Heartbeat(0, 1, 0, draining=True))
    client.call(a_spec())
    bench.turn()
    assert not manager.assigned()
