"""Channels over TCP with CURVE: only the task's key lets in, it is in no record, and nothing that was said is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from blockyard.errors import ConfigError
from blockyard.managed import BinaryExecutor, CurveCommunicator, MPIExecutor, Policy, TaskStatus
from blockyard.managed.frames import Message
from blockyard.managed.shim import blockyard_shim
from blockyard.managed.shim.blockyard_shim import KEY_VARIABLE
from blockyard.managed.signals import Signal
from blockyard.transport import KeyPair
from tests.machine import ROOT

PATIENT = Policy(drain_seconds=3600.0)
"""So that nothing but the end of the connections ends the wait for what was said."""
SECONDS = 60.0


def heard(executor: CurveCommunicator, until: Callable[[list[Message]], bool]) -> list[Message]:
    """What comes until this is so."""
    found: list[Message] = []
    deadline = time.monotonic() + SECONDS
    while not until(found):
        assert time.monotonic() < deadline, f"heard {found}, dropped {executor.dropped}"
        if executor.has_messages:
            for reader in executor.readers():
                found += executor.read(reader)
    return found


def test_who_has_another_key_is_refused_and_counted() -> None:
    with CurveCommunicator() as executor:
        server, _, secret = executor.variables[KEY_VARIABLE].partition(",")
        endpoint = executor.address.removeprefix("curve:")
        stranger = blockyard_shim.Link(endpoint, f"{server},{KeyPair.new().secret.decode()}")
        stranger.send(b'{"signal":"TASK_DONE"}\n')
        assert heard(executor, lambda _: executor.dropped > 0) == []
        assert "key" in executor.last_fault
        task = blockyard_shim.Link(endpoint, f"{server},{secret}")
        task.send(b'{"signal":"TASK_HEARTBEAT"}\n')
        assert [one.signal for one in heard(executor, bool)] == [Signal.TASK_HEARTBEAT]
        task.close()
        stranger.close()


def test_each_staging_has_keys_of_its_own() -> None:
    communicator = CurveCommunicator()
    keys = set()
    for _ in range(2):
        with communicator:
            keys.add(communicator.variables[KEY_VARIABLE])
    assert len(keys) == 2


def test_the_answer_goes_to_who_asked() -> None:
    with CurveCommunicator() as executor:
        endpoint, key = executor.address.removeprefix("curve:"), executor.variables[KEY_VARIABLE]
        links = [blockyard_shim.Link(endpoint, key) for _ in range(2)]
        for number, link in enumerate(links):
            link.send(b'{"signal":"TASK_REQUEST","contents":%d,"id":1}\n' % number)
        for message in reversed(heard(executor, lambda found: len(found) == 2)):
            executor.write(Message(Signal.TASK_RESPONSE, message.contents, message.rank, message.id))
        answers = [msgspec.json.decode(link.receive()) for link in links]
        for link in links:
            link.close()
    assert answers == [{"signal": "TASK_RESPONSE", "contents": number, "id": 1} for number in range(2)]


SAYS = """
import os, signal
import blockyard_shim
told = blockyard_shim.reporter()
for number in range(3000):
    told.metric("n", number)
"""


def test_a_program_says_much_and_ends_at_once_and_the_key_is_in_no_record() -> None:
    executor = BinaryExecutor("says", [sys.executable, "-c", SAYS], [CurveCommunicator], policy=PATIENT)
    found = executor.execute_task().check()
    assert (found.record.metrics, found.record.dropped_lines) == ({"n": 2999.0}, 0)
    assert found.record.environment["BLOCKYARD_CHANNEL"].startswith("curve:tcp://127.0.0.1:")
    secret = executor.environment.variables[KEY_VARIABLE].partition(",")[2]
    assert secret not in msgspec.json.encode(found).decode()
    assert found.record.communicators == ["CurveCommunicator: TCP with CURVE, keys of its own, JSON lines"]


def test_one_that_is_killed_is_waited_for_no_longer() -> None:
    code = f"{SAYS}\ntold.request('heard?'); os.kill(os.getpid(), signal.SIGKILL)"
    found = BinaryExecutor("killed", [sys.executable, "-c", code], [CurveCommunicator], policy=PATIENT).execute_task()
    assert (found.signal, found.record.metrics) == (signal.SIGKILL, {"n": 2999.0})


def test_a_forked_function_says_its_result() -> None:
    program = """
from blockyard.managed import CurveCommunicator, Executor, Policy
from tests.integration.managed import jobs
policy = Policy(drain_seconds=3600.0, needs_result=True)
executor = Executor(jobs.add, [CurveCommunicator], parameters={"a": 1, "b": 2}, policy=policy)
print(executor.execute_task().check().payload)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"{'sum': 3}\n"


def test_an_environment_without_pyzmq_is_told_so() -> None:
    code = "import blockyard_shim; blockyard_shim.reporter()"
    found = BinaryExecutor("bare", [sys.executable, "-S", "-c", code], [CurveCommunicator]).execute_task()
    assert (found.status, found.exit_code) == (TaskStatus.FAILED, 1)
    assert "takes pyzmq" in found.stderr


def test_an_address_of_somewhere_else_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        CurveCommunicator(host="192.0.2.1").stage_communicator()


@pytest.mark.needs_mpi
def test_ranks_of_mpi_speak_over_it() -> None:
    executor = MPIExecutor(
        "tests.integration.managed.jobs:add", 2, [partial(CurveCommunicator, host="127.0.0.1")],
        parameters={"a": 1, "b": 2}, oversubscribe=True,
    )  # fmt: skip
    found = executor.execute_task().check()
    assert (found.payload, found.record.metrics) == ({"sum": 3}, {"pairs": 1.0})
