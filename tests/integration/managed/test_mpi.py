"""Programs and functions on several ranks of this machine, by Open MPI."""

import re

import pytest

from blockyard.errors import ConfigError
from blockyard.managed import MPIExecutor, Policy, TaskStatus, run_managed
from tests.integration.managed.test_attacks import alive

pytestmark = pytest.mark.needs_mpi


def test_a_program_runs_on_each_rank() -> None:
    script = "echo rank $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE {{ word }}"
    spec = {"binary": ["bash", "-c", script], "ranks": 3, "oversubscribe": True, "parameters": {"word": "x"},
            "echo": False}  # fmt: skip
    found = run_managed(spec, check=True)
    assert sorted(found.stdout.splitlines()) == [f"rank {number} of 3 x" for number in range(3)]
    assert found.record.executor == "MPIExecutor"


def test_a_function_runs_on_each_rank_and_the_first_gives_the_result() -> None:
    executor = MPIExecutor(
        "tests.integration.managed.jobs:add", 2, parameters={"a": 1, "b": 2}, oversubscribe=True
    )  # fmt: skip
    found = executor.execute_task()
    assert (found.status, found.payload) == (TaskStatus.COMPLETED, {"sum": 3})
    assert found.stdout == "adding 1 2\n" * 2
    assert re.match("SocketCommunicator", found.record.communicators[0])
    assert executor.course.refused == 0


def test_a_rank_that_fails_fails_the_task_and_leaves_no_rank() -> None:
    script = 'if [ "$OMPI_COMM_WORLD_RANK" = 1 ]; then exit 5; fi; sleep 1000'
    executor = MPIExecutor("failing", 2, command=["bash", "-c", script], oversubscribe=True)
    executor.update_environment({"MARK": "mpi-failing"})
    found = executor.execute_task()
    assert (found.status, found.exit_code) == (TaskStatus.FAILED, 5)
    assert alive("mpi-failing") == []


def test_ranks_end_with_their_task() -> None:
    policy = Policy(timeout=1.0, grace=0.5)
    executor = MPIExecutor("slow", 2, command=["sleep", "1000"], oversubscribe=True, policy=policy)
    executor.update_environment({"MARK": "mpi-slow"})
    assert executor.execute_task().status is TaskStatus.TIMEDOUT
    assert alive("mpi-slow") == []


def test_no_rank_is_refused() -> None:
    with pytest.raises(ConfigError, match="ranks=0"):
        MPIExecutor("none", 0, command=["true"])
