"""Files in the arguments of a step, of which one names the other."""

from pathlib import Path

import msgspec
import pytest

from blockyard.errors import StagingError
from blockyard.files import File, Output
from blockyard.managed import ManagedTaskFailed
from blockyard.workflow.building import Workflow, argument
from blockyard.workflow.checking.specs import faults_of
from blockyard.workflow.plans import Plan
from blockyard.workflow.programs import ProgramResult
from blockyard.workflow.steps import run_step

SOURCE = """
from pathlib import Path
def main(table, more, plain):
    out = more["to"][0]
    if out is not None:
        Path(out).write_text(Path(table).read_text().upper() + str(plain))
    return out
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKYARD_FILES_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def table(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "in.txt").write_text("text")
    return {"file": f"file://{tmp_path}/in.txt"}


def program(*words: str, environment: dict[str, str] | None = None, **arguments: object) -> object:
    plan = Plan(step="s", run="r", binary=list(words), environment=environment or {}, arguments=arguments)
    return run_step(msgspec.json.encode(plan))


def test_a_programs_words_and_environment_have_paths_for_them(tmp_path: Path, table: dict[str, str]) -> None:
    output = {"output": f"file://{tmp_path}/to/out.txt"}
    script = 'cat "$1" "$2" > "${3#--to=}"; printf %s "$TABLE $4" >> "${3#--to=}"'
    ended = program(
        "sh", "-c", script, "sh", "${{ arguments.tables.0 }}", "${{arguments.tables.1}}", "--to=${{ arguments.total }}",
        "${{ arguments.strange }}",
        environment={"TABLE": "${{ arguments.tables.0 }}"}, tables=[table, table], total=output,
    )  # fmt: skip
    assert isinstance(ended, ProgramResult)
    written = (tmp_path / "to" / "out.txt").read_text()
    assert written == f"texttext{tmp_path}/in.txt ${{{{ arguments.strange }}}}", "what is no argument is the program's"


def test_of_a_program_that_fails_nothing_is_written_and_one_that_writes_nothing_fails(
    tmp_path: Path, table: dict[str, str]
) -> None:
    output = {"output": f"file://{tmp_path}/out.txt"}
    with pytest.raises(ManagedTaskFailed):
        program("sh", "-c", 'cp "$0" "$1"; exit 3', "${{ arguments.a }}", "${{ arguments.b }}", a=table, b=output)
    with pytest.raises(StagingError, match="was not written"):
        program("true", "${{ arguments.b }}", b=output)
    assert not (tmp_path / "out.txt").exists()


def test_a_managed_task_is_given_paths(tmp_path: Path, table: dict[str, str]) -> None:
    arguments = {"a": table, "b": "!"}
    plan = Plan(step="s", run="r", task="tests.integration.managed.jobs:test-add", arguments=arguments)
    assert run_step(msgspec.json.encode(plan)) == f"{tmp_path}/in.txt!"


def test_a_sweep_has_files_of_its_own_for_each_item(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name * 2)
    plan = Plan(
        step="s", run="r", binary=["cat", "${{ arguments.table }}"], sweep={"list": ["a", "b"]},
        arguments={"table": {"file": f"file://{tmp_path}/${{{{ item }}}}"}},
    )  # fmt: skip
    calls = run_step(msgspec.json.encode(plan)).calls
    assert [call.function(*call.args, **call.kwargs).stdout for call in calls] == ["aa", "bb"]


def test_the_builder_writes_files_as_a_file_would(tmp_path: Path) -> None:
    flow = Workflow("files")
    flow.step(["sort", argument("table"), "-o", argument("to")], table=File("s3://b/t"), to=Output(tmp_path / "o"))
    (step,) = flow.spec.steps
    assert step.binary == ["sort", "${{ arguments.table }}", "-o", "${{ arguments.to }}"]
    assert step.arguments == {"table": {"file": "s3://b/t"}, "to": {"output": f"file://{tmp_path}/o"}}
    assert faults_of(flow.spec) == []


def run(**arguments: object) -> object:
    plan = Plan(step="s", run="r", source=SOURCE, arguments=arguments)
    return run_step(msgspec.json.encode(plan))


def test_they_are_staged_in_and_out(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("text")
    plain = {"file": "in.txt"}  # no URL: data of the step's own
    output = {"output": f"file://{tmp_path}/out.txt"}
    made = run(table={"file": f"file://{tmp_path}/in.txt"}, more={"to": [output]}, plain=plain)
    assert (tmp_path / "out.txt").read_text() == f"TEXT{plain}"
    assert isinstance(made, File)
    assert made.released() == File(tmp_path / "out.txt")


def test_a_hash_is_verified_before_the_step_runs(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("text")
    with pytest.raises(StagingError, match="was given"):
        run(table={"file": f"file://{tmp_path}/in.txt", "sha256": "0" * 64}, more={"to": [None]}, plain=1)
