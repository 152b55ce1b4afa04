"""What can break, by name. Each is done to a scenario at a moment that its seed chose."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from blockyard.wire import keeping

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario


def kill_the_interchange(one: Scenario) -> None:
    one.interchange.die()


def kill_it_before_its_next_commit(one: Scenario) -> None:
    one.interchange.store.crash_before = True


def kill_it_after_its_next_commit(one: Scenario) -> None:
    one.interchange.store.crash_after = True


def kill_it_between_two_sends(one: Scenario) -> None:
    one.interchange.crash_at_send = one.world.random.randint(1, 6)


def freeze_the_interchange(one: Scenario) -> None:
    one.interchange.freeze(one.world.between(0.2, 2.5))


def kill_a_manager(one: Scenario) -> None:
    one.lose(*one.any_manager())


def kill_a_block(one: Scenario) -> None:
    (_, block, _), _ = one.any_manager()
    for place, manager in list(one.managers.items()):
        if place[1] == block:
            one.lose(place, manager)


def freeze_a_manager(one: Scenario) -> None:
    one.any_manager()[1].freeze(one.world.between(0.2, 2.5))


def terminate_a_manager(one: Scenario) -> None:
    place, manager = one.any_manager()
    manager.do(manager.terminate)
    one.restaff_later(place, 1.0)


def kill_a_worker(one: Scenario) -> None:
    manager = one.any_manager()[1]
    if manager.workers:
        manager.workers[one.world.random.choice(sorted(manager.workers))].die("killed by SIGKILL")


def cut_a_link(one: Scenario) -> None:
    peers = sorted(one.network.peers)
    if peers:
        one.network.peers[one.world.random.choice(peers)].cut()


def kill_a_client(one: Scenario) -> None:
    alive = [client for client in one.clients if client.alive and not client.left]
    if alive:
        client = one.world.random.choice(alive)
        client.die()
        if client.run and client.keep and one.world.chance(0.7):
            one.arrive_later(client.run)


def freeze_a_client(one: Scenario) -> None:
    if one.clients:
        one.world.random.choice(one.clients).freeze(one.world.random.choice((0.3, 1.5, 5.0)))


def fill_the_disk(one: Scenario) -> None:
    store = one.interchange.store
    store.is_full = True
    one.world.at(one.world.between(0.1, 2.0), lambda: setattr(store, "is_full", False))


def take_the_database_away(one: Scenario) -> None:
    store = one.interchange.store
    store.is_away = True
    one.world.at(one.world.between(0.1, 1.0), lambda: setattr(store, "is_away", False))


def leave_a_commit_in_doubt(one: Scenario) -> None:
    one.interchange.store.doubt = one.world.chance(0.5)


def remove_a_kept_pool(one: Scenario) -> None:
    """Its managers go, its tasks wait; a moment later it is back."""
    for name in one.kept:
        one.keeper_orders(keeping.RemovePool(name, "a fault"))
        one.world.at(one.world.between(0.0, 0.8), one.set_kept)
        for place in one.managers:
            if place[0] == name:
                one.restaff_later(place, 0.1)


def set_the_clock(one: Scenario) -> None:
    """Some hours ahead or back. Who runs goes by the monotonic clock; who starts next finds another date."""
    one.world.wall_offset += one.world.between(-20_000.0, 20_000.0)


_OFTEN = (cut_a_link, cut_a_link, kill_a_manager, kill_a_worker)
_ALL: tuple[Callable[[Scenario], None], ...] = (
    kill_the_interchange, kill_it_before_its_next_commit, kill_it_after_its_next_commit, kill_it_between_two_sends,
    freeze_the_interchange, kill_a_manager, kill_a_block, freeze_a_manager, terminate_a_manager, kill_a_worker,
    cut_a_link, kill_a_client, freeze_a_client, fill_the_disk, take_the_database_away, leave_a_commit_in_doubt,
    set_the_clock, remove_a_kept_pool,
)  # fmt: skip
FAULTS = {fault.__name__: fault for fault in _ALL}
NAMES = [fault.__name__ for fault in (*_ALL, *_OFTEN)]
