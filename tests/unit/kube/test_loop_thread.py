"""A thread with a loop starts or says why not, does what it is given, and leaves nothing behind at its end."""

import asyncio
from concurrent.futures import CancelledError

import pytest

from blockyard.kube.loop_thread import LoopThread

LONG = 30.0


class House:
    """Runs until it is told to end, unless it cannot start."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.ended = False
        self.thread = LoopThread("house", self.serve)

    async def serve(self) -> None:
        if self.fault is not None:
            raise self.fault
        self.thread.ready()
        await self.thread.ending.wait()
        self.ended = True


def test_it_does_what_it_is_given_until_it_is_ended() -> None:
    house = House()
    house.thread.start(LONG)
    assert house.thread.begin(asyncio.sleep(0, "done")).result(LONG) == "done"
    house.thread.end()
    house.thread.end()
    assert house.ended
    assert not house.thread.is_alive()
    with pytest.raises(RuntimeError, match="thread house does not run"):
        house.thread.begin(asyncio.sleep(0))


def test_what_was_begun_and_not_waited_for_is_cancelled_at_its_end() -> None:
    house = House()
    house.thread.start(LONG)
    begun = house.thread.begin(asyncio.Event().wait())
    house.thread.end()
    with pytest.raises(CancelledError):
        begun.result(LONG)


def test_who_starts_it_hears_why_it_could_not() -> None:
    house = House(OSError("no such house"))
    with pytest.raises(OSError, match="no such house"):
        house.thread.start(LONG)
    house.thread.end()


def test_one_that_was_never_started_can_be_ended() -> None:
    House().thread.end()
