"""What every communicator must do, between two ends in this process and with the shim as the task."""

import contextlib
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blockyard.managed import communicators, curve
from blockyard.managed.communicators import (
    ChannelClosed,
    Communicator,
    Party,
    PipeCommunicator,
    SocketCommunicator,
)
from blockyard.managed.curve import CurveCommunicator
from blockyard.managed.frames import Message
from blockyard.managed.shim import blockyard_shim
from blockyard.managed.shim.blockyard_shim import KEY_VARIABLE
from blockyard.managed.signals import Signal

Make = Callable[..., Communicator]
SECONDS = 20.0


@pytest.fixture(params=[PipeCommunicator, SocketCommunicator, CurveCommunicator])
def make(request: pytest.FixtureRequest) -> Make:
    kind: Make = request.param
    return kind


@pytest.fixture
def executor(make: Make) -> Iterator[Communicator]:
    with make() as communicator:
        yield communicator


@pytest.fixture
def task(make: Make, executor: Communicator) -> Iterator[Communicator]:
    with task_of(make, executor) as communicator:
        yield communicator


def task_of(make: Make, executor: Communicator) -> Communicator:
    """The other end, not yet open."""
    if KEY_VARIABLE in executor.variables:
        return make(Party.TASK, executor.address, key=executor.variables[KEY_VARIABLE])
    return make(Party.TASK, address_of(executor))


def reporter_of(executor: Communicator) -> blockyard_shim.Reporter:
    """The shim's end."""
    key = executor.variables.get(KEY_VARIABLE, "")
    return blockyard_shim.Reporter(address_of(executor), key)


def address_of(executor: Communicator) -> str:
    """Its address, with descriptors of one's own: the executor closes those that it passes on."""
    kind, _, rest = executor.address.partition(":")
    if kind != "pipe":
        return executor.address
    copies = [os.dup(int(number)) for number in rest.split(",")]
    executor.release()
    return f"pipe:{copies[0]},{copies[1]}"


def receive(communicator: Communicator, count: int) -> list[Message]:
    """So many messages, or what came until the time is over."""
    found: list[Message] = []
    deadline = time.monotonic() + SECONDS
    while len(found) < count and time.monotonic() < deadline and communicator.readers():
        if communicator.has_messages:
            for reader in communicator.readers():
                found += communicator.read(reader)
    return found


def test_messages_arrive_in_order_and_whole(executor: Communicator, task: Communicator) -> None:
    said = [Message(Signal.TASK_METRIC, {"name": "x", "value": number, "pad": "é" * number}) for number in range(200)]
    thread = threading.Thread(target=lambda: [task.write(one) for one in said])
    thread.start()
    assert receive(executor, len(said)) == said
    thread.join()
    assert executor.dropped == 0


def test_both_directions(executor: Communicator, task: Communicator) -> None:
    task.write(Message(Signal.TASK_REQUEST, "who?", id=4))
    (asked,) = receive(executor, 1)
    executor.write(Message(Signal.TASK_RESPONSE, "me", asked.rank, asked.id))
    assert receive(task, 1) == [Message(Signal.TASK_RESPONSE, "me", 0, 4)]


def test_who_does_not_read_is_waited_for_once_until_he_reads_again(
    executor: Communicator, task: Communicator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(communicators, "WRITE_SECONDS", 0.1)
    monkeypatch.setattr(curve, "WRITE_SECONDS", 0.1)
    waits: list[str] = []

    def counted(name: str, wait: Callable[..., Any]) -> Callable[..., Any]:
        def count_and_wait(*arguments: Any) -> Any:
            waits.append(name)
            return wait(*arguments)

        return count_and_wait

    monkeypatch.setattr(select, "select", counted("select", select.select))
    monkeypatch.setattr(time, "sleep", counted("sleep", time.sleep))
    task.write(Message(Signal.TASK_HEARTBEAT))
    assert receive(executor, 1)
    said = Message(Signal.TASK_LOG, "x" * 10_001)
    with contextlib.suppress(ChannelClosed):
        for _ in range(10_000):
            executor.write(said)
    assert waits
    before = len(waits)
    for _ in range(100):
        with pytest.raises(ChannelClosed):
            executor.write(said)
    assert len(waits) == before
    last = Message(Signal.TASK_LOG, "the last one")
    found: list[Message] = []
    deadline = time.monotonic() + SECONDS
    while last not in found:
        assert time.monotonic() < deadline, f"{len(found)} messages"
        found += receive(task, 1)
        with contextlib.suppress(ChannelClosed):
            executor.write(last)
    assert {one.contents for one in found} == {said.contents, last.contents}
    assert task.dropped == 0, "a line that was begun is ended before another one"


def test_foreign_bytes_are_counted_and_what_follows_is_read(executor: Communicator) -> None:
    reporter = reporter_of(executor)
    reporter._link.send(b"\x80\x04\x95pickle or whatever\n\n{}\n")
    reporter.heartbeat()
    reporter.close()
    assert receive(executor, 1) == [Message(Signal.TASK_HEARTBEAT)]
    assert executor.dropped == 2
    assert executor.last_fault


def test_it_is_finished_when_the_task_has_left(executor: Communicator, task: Communicator) -> None:
    task.write(Message(Signal.TASK_DONE))
    task.clear_communicator()
    assert receive(executor, 1) == [Message(Signal.TASK_DONE)]
    deadline = time.monotonic() + SECONDS
    while not executor.is_finished() and time.monotonic() < deadline:
        for reader in executor.readers():
            executor.read(reader)
    assert executor.is_finished()


def test_nobody_there_is_an_error(executor: Communicator, task: Communicator) -> None:
    task.clear_communicator()
    deadline = time.monotonic() + SECONDS
    while not executor.is_finished() and time.monotonic() < deadline:
        for reader in executor.readers():
            executor.read(reader)
    with pytest.raises(ChannelClosed):
        executor.write(Message(Signal.TASK_RESPONSE))


def test_it_may_be_staged_again_and_cleared_twice(make: Make) -> None:
    communicator = make()
    for _ in range(2):
        with communicator:
            reporter = reporter_of(communicator)
            reporter.log("hello")
            reporter.close()
            assert receive(communicator, 1)[0].signal is Signal.TASK_LOG
        communicator.clear_communicator()
        assert communicator.readers() == []


def test_it_opens_nothing_before_it_is_staged_and_says_what_it_is(make: Make) -> None:
    before = set(os.listdir("/proc/self/fd"))  # of which other tests' threads may close some
    communicator = make()
    assert before.issuperset(os.listdir("/proc/self/fd"))
    assert str(communicator) == f"{type(communicator).__name__}: {communicator.description}"


def test_a_program_of_another_interpreter_speaks_by_the_one_file(executor: Communicator) -> None:
    code = "import blockyard_shim as b; r = b.reporter(); print(r.request('name?')); r.result({'n': 1}, 'out.h5')"
    pure = [] if isinstance(executor, CurveCommunicator) else ["-S"]  # CURVE takes pyzmq
    environment = {
        **executor.variables,
        "PYTHONPATH": os.path.dirname(str(blockyard_shim.__file__)),
    }
    with subprocess.Popen(
        [sys.executable, *pure, "-c", code], env=environment, pass_fds=executor.inherited, stdout=subprocess.PIPE
    ) as child:
        executor.release()
        (asked,) = receive(executor, 1)
        executor.write(Message(Signal.TASK_RESPONSE, "blockyard", asked.rank, asked.id))
        (result,) = receive(executor, 1)
        printed, _ = child.communicate(timeout=SECONDS)
    assert printed == b"blockyard\n"
    assert result.contents == {"summary": {"n": 1}, "payload": "out.h5", "status": "COMPLETED"}


def test_the_answer_goes_to_who_asked() -> None:
    with SocketCommunicator() as executor:
        first, second = (SocketCommunicator(Party.TASK, executor.address) for _ in range(2))
        with first, second:
            first.write(Message(Signal.TASK_REQUEST, "a", id=1))  # ranks that do not say so are all 0
            second.write(Message(Signal.TASK_REQUEST, "b", id=1))
            for message in reversed(receive(executor, 2)):
                executor.write(Message(Signal.TASK_RESPONSE, message.contents, message.rank, message.id))
            assert receive(first, 1) == [Message(Signal.TASK_RESPONSE, "a", id=1)]
            assert receive(second, 1) == [Message(Signal.TASK_RESPONSE, "b", id=1)]


def test_the_answer_to_who_is_gone_goes_to_nobody() -> None:
    with SocketCommunicator() as executor, SocketCommunicator(Party.TASK, executor.address) as other:
        with SocketCommunicator(Party.TASK, executor.address) as task:
            task.write(Message(Signal.TASK_REQUEST, "a", id=1))
        (asked,) = receive(executor, 1)
        deadline = time.monotonic() + SECONDS
        while len(executor.readers()) > 2 and time.monotonic() < deadline:  # the listener and the other
            for reader in executor.readers():
                executor.read(reader)
        with pytest.raises(ChannelClosed, match="nobody waits"):
            executor.write(Message(Signal.TASK_RESPONSE, "late", asked.rank, asked.id))
        other.write(Message(Signal.TASK_REQUEST, "b", id=1))
        (asked,) = receive(executor, 1)
        executor.write(Message(Signal.TASK_RESPONSE, "b", asked.rank, asked.id))
        assert [one.contents for one in receive(other, 1)] == ["b"]


def test_the_sockets_folder_is_private_and_gone_afterwards() -> None:
    with SocketCommunicator() as executor:
        path = executor.address.removeprefix("unix:")
        assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert not os.path.exists(os.path.dirname(path))
