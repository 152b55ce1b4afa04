"""Traces of WfCommons as workflows: versions old and new, odd names, and what is no trace."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from blockyard.errors import ConfigError
from blockyard.workflow import wfformat
from blockyard.workflow.checking.specs import faults_of

NEW = {
    "name": "1000 Genome (chr 1)",
    "schemaVersion": "1.5",
    "workflow": {
        "specification": {
            "tasks": [
                {"name": "individuals", "id": "individuals_1", "parents": [], "children": ["merge#1"]},
                {"name": "individuals", "id": "individuals 1", "parents": [], "children": ["merge#1"]},
                {"name": "merge", "id": "merge#1", "parents": ["individuals_1", "individuals 1"], "children": []},
            ]
        },
        "execution": {
            "tasks": [
                {
                    "id": "individuals_1",
                    "runtimeInSeconds": 30,
                    "command": {"program": "cut", "arguments": ["-f", "1"]},
                },
                {"id": "individuals 1", "runtimeInSeconds": 12.5, "command": {"program": "cut"}},
                {"id": "merge#1", "runtimeInSeconds": 4, "command": {"program": "merge"}},
            ]
        },
    },
}
OLD = {
    "name": "old",
    "workflow": {"tasks": [{"name": "a", "runtime": 2}, {"name": "b", "runtime": 3, "parents": ["a"]}]},
}


def read(folder: Path, trace: Any, **how: Any) -> tuple[str, Any]:
    path = folder / "trace.json"
    path.write_bytes(msgspec.json.encode(trace))
    return wfformat.read(path, **how)


def test_a_trace_becomes_steps_that_take_their_time_scaled(tmp_path: Path) -> None:
    name, flow = read(tmp_path, NEW, scale=0.1)
    assert (name, faults_of(flow)) == ("1000-genome-chr-1", [])
    assert [(step.name, step.arguments["seconds"], step.needs) for step in flow.steps] == [
        ("individuals_1", 3.0, []),
        ("individuals_1-2", 1.25, []),
        ("merge_1", 0.4, ["individuals_1", "individuals_1-2"]),
    ]


def test_its_programs_may_be_run_instead(tmp_path: Path) -> None:
    _, flow = read(tmp_path, NEW, execute=True)
    assert [step.binary for step in flow.steps] == [["cut", "-f", "1"], ["cut"], ["merge"]]


def test_an_old_trace_has_its_times_with_its_tasks(tmp_path: Path) -> None:
    _, flow = read(tmp_path, OLD)
    assert [(step.name, step.arguments["seconds"], step.needs) for step in flow.steps] == [
        ("a", 2.0, []), ("b", 3.0, ["a"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "trace, reason",
    [
        ([], "no object 'workflow'"),
        ({"workflow": {}}, "is no list of objects"),
        ({"workflow": {"tasks": [5]}}, "is no list of objects"),
        ({"workflow": {"tasks": [{}]}}, "task 0 has neither id nor name"),
        ({"workflow": {"tasks": [{"name": "a", "parents": ["b"]}]}}, "a parent 'b' that is no task"),
        ({"workflow": {"tasks": [{"name": "a", "runtime": -1}]}}, "took -1 seconds"),
        ({"workflow": {"tasks": [{"name": "a"}, {"id": "a", "name": "b"}]}}, "several tasks are called 'a'"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, trace: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        read(tmp_path, trace)
