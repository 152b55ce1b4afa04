"""When a wait is spent awake, and when it lets the machine sleep."""

from typing import Any

import pytest

from blockyard.transport.adaptive_poller import (
    AWAKE_SECONDS,
    CHANCE_SECONDS,
    FORGETS,
    LEAST_PAUSE_SECONDS,
    MOST_PAUSE_SECONDS,
    STREAK,
    AdaptivePoller,
)

LOOK = AWAKE_SECONDS / 16
LONG = 10.0


class World:
    """A poller in virtual time, for which messages come at moments that are known before."""

    def __init__(self) -> None:
        self.now = 100.0
        self.comes_at = 0.0
        self.slept = 0
        """Polls that could have put the core to sleep."""
        self.taken = 0.0
        """By others, each time that they are given way to."""
        self.alone = True
        self.poller = AdaptivePoller(self, lambda: self.now, self.give_way)  # type: ignore[arg-type]

    def poll(self, timeout: float) -> list[int]:
        self.slept += timeout > 0.0
        until = min(max(self.now, self.comes_at), self.now + timeout)
        self.now = until if timeout else self.now + LOOK
        return [7] if self.now >= self.comes_at else []

    def give_way(self) -> None:
        self.now += self.taken

    def wait(self, gap: float, most: float = LONG) -> list[Any]:
        self.comes_at = self.now + gap
        return self.poller.poll(most, lambda: self.alone)

    def is_awake(self, gap: float = AWAKE_SECONDS / 2) -> bool:
        before = self.slept
        assert self.wait(gap) == [7]
        return self.slept == before


@pytest.fixture
def world() -> World:
    world = World()
    assert [world.is_awake() for _ in range(STREAK)] == [False] * STREAK
    return world


def test_after_short_waits_it_stays_awake(world: World) -> None:
    assert all(world.is_awake() for _ in range(100))


def test_a_message_that_comes_later_is_waited_for_asleep_and_so_is_the_next(world: World) -> None:
    assert not world.is_awake(2 * AWAKE_SECONDS)
    assert not world.is_awake()


def test_it_wakes_when_it_is_to(world: World) -> None:
    began = world.now
    assert world.wait(LONG, most=AWAKE_SECONDS / 2) == []
    assert world.now - began < AWAKE_SECONDS
    assert world.wait(LONG, most=1.0) == []
    assert world.now - began < 1.0 + 2 * AWAKE_SECONDS


def test_beside_other_tasks_it_sleeps(world: World) -> None:
    world.alone = False
    assert not world.is_awake()
    world.alone = True
    assert world.is_awake()


def disturb(world: World) -> None:
    """Others have the core once."""
    world.taken = 3 * AWAKE_SECONDS
    assert world.wait(2 * AWAKE_SECONDS) == [7]
    world.taken = 0.0
    for _ in range(STREAK):  # after which it is awake again, if nothing speaks against it
        assert world.wait(0.0) == [7]


def test_that_others_had_the_core_for_once_is_no_reason_to_sleep(world: World) -> None:
    for _ in range(10):
        disturb(world)
        assert world.is_awake()
        world.now += CHANCE_SECONDS


def disturbed(world: World) -> float:
    """Others want the core; seconds until it is spent awake again."""
    disturb(world)
    disturb(world)
    since = world.now
    while not world.is_awake():
        pass
    return round(world.now - since, 1)


def test_where_others_want_the_core_it_sleeps_for_longer_and_longer(world: World) -> None:
    pauses = []
    for _ in range(10):
        pauses.append(disturbed(world))
        world.now += CHANCE_SECONDS
    assert pauses == [min(LEAST_PAUSE_SECONDS * 2**doubled, MOST_PAUSE_SECONDS) for doubled in range(1, 11)]
    for _ in range(FORGETS):
        assert world.is_awake()
    assert disturbed(world) == LEAST_PAUSE_SECONDS
