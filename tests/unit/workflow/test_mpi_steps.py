"""An `mpi` step as a task: how many managers it takes, and how much of each."""

from typing import Any

import msgspec
import pytest

from blockyard.wire.records import TaskSpec
from blockyard.workflow.compiling import compile_run
from blockyard.workflow.spec import Workflow


def a_flow(**mpi: Any) -> Workflow:
    return msgspec.convert({"steps": [{"name": "s", "mpi": {"command": ["a"], **mpi}}]}, Workflow)


def compiled(flow: Workflow) -> TaskSpec:
    (group,) = compile_run(flow, "r").groups
    return group.spec


@pytest.mark.parametrize(
    "mpi, nodes, cores, wide",
    [
        ({"ranks": 4}, 1, 4.0, (0, 0, 0)),
        ({"ranks": 4, "nodes": 1, "ranksPerNode": 4}, 1, 4.0, (0, 0, 0)),
        ({"ranks": 4, "ranksPerNode": 8}, 1, 8.0, (0, 0, 0)),
        ({"ranks": 5, "nodes": 2}, 2, 3.0, (2, 5, 0)),
        ({"ranks": 5, "ranksPerNode": 2}, 3, 2.0, (3, 5, 2)),
        ({"ranks": 6, "nodes": 2, "ranksPerNode": 4}, 2, 4.0, (2, 6, 4)),
    ],
)
def test_a_step_takes_managers_of_one_block(
    mpi: dict[str, int], nodes: int, cores: float, wide: tuple[int, int, int]
) -> None:
    flow = a_flow(**mpi)
    spec = compiled(flow)
    assert (flow.nodes_wanted, spec.cores) == (nodes, cores)
    assert (spec.nodes, spec.ranks, spec.ranks_per_node) == wide


def test_the_step_at_the_end_counts_too() -> None:
    step = {"name": "end", "mpi": {"command": ["a"], "ranks": 3, "nodes": 3}}
    flow = msgspec.convert({"steps": [{"name": "s", "binary": ["a"]}], "onExit": step}, Workflow)
    assert flow.nodes_wanted == 3
