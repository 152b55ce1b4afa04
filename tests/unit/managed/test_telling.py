"""Records as the history gets them: they always fit, and say how to run the task again."""

import msgspec
import pytest

from blockyard.managed.again import remarks, secrets_of, spec_again
from blockyard.managed.records import AnalysisConfig, CodeVersion, Progress, TaskResult
from blockyard.managed.run import ManagedSpec, for_record, read_spec
from blockyard.managed.telling import config_of, far_of, fit
from blockyard.wire import codec
from blockyard.wire.monitoring import MAX_CONFIG_BYTES
from tests.unit.monitoring.messages import a_packet


def a_record(**fields: object) -> AnalysisConfig:
    given: dict[str, object] = {
        "id": "ab12", "task_name": "index", "executor": "BinaryExecutor", "started": 1.8e9, "command": ["make", "-j2"],
        "directory": "/src",
    }  # fmt: skip
    return AnalysisConfig(**(given | fields))  # type: ignore[arg-type]


def test_a_small_record_goes_whole() -> None:
    record = a_record(parameters={"threshold": 3.5}, ended=1.8e9 + 2, exit_code=1)
    fitted, text = fit(record)
    assert fitted == record
    assert msgspec.json.decode(text, type=AnalysisConfig) == record
    config = config_of(record, 7, 8)
    assert (config.task, config.epoch, config.exit_code, config.ended_us) == (7, 8, 1, 1_800_000_002_000_000)


@pytest.mark.parametrize("fraction, message, words", [
    (0.5, "half of the frames", "50 %: half of the frames"), (0.999, "", "99 %"), (None, "reads", "reads"),
    (None, "", ""),
])  # fmt: skip
def test_of_a_task_that_goes_on_the_history_is_told_how_far_it_is(
    fraction: float | None, message: str, words: str
) -> None:
    record = a_record(progress=Progress(fraction=fraction, message=message))
    assert config_of(record, 7, 8).message == words
    ended = msgspec.structs.replace(record, ended=1.8e9, message="exit code 1")
    assert config_of(ended, 7, 8).message == "exit code 1"
    assert far_of(record, 7, 8) == msgspec.structs.replace(config_of(record, 7, 8), body="")


@pytest.mark.parametrize(
    "large",
    [
        {"code": CodeVersion(git_diff="d" * MAX_CONFIG_BYTES)},
        {"environment": {"X": "ä" * MAX_CONFIG_BYTES}},
        {"result": TaskResult(task_name="index", payload="p" * MAX_CONFIG_BYTES)},
        {"parameters": {"x": "p" * MAX_CONFIG_BYTES}, "run": "r" * 10_000},
        {"command": ["w" * MAX_CONFIG_BYTES], "reason": "r" * MAX_CONFIG_BYTES},
    ],
    ids=lambda large: next(iter(large)),
)
def test_a_record_that_is_too_large_says_what_was_left_out_and_fits(large: dict[str, object]) -> None:
    record = a_record(**large)
    fitted, text = fit(record)
    assert len(text.encode()) <= MAX_CONFIG_BYTES
    assert fitted.left_out
    packet = a_packet(config_of(record, 1, 2))
    assert codec.packet_of_worker.decode(codec.encode(packet)) == packet


def test_the_spec_that_asked_for_it_runs_it_again_without_secrets() -> None:
    spec = read_spec({
        "binary": ["index", "{{ input }}"], "parameters": {"input": "a b.cxi"}, "secrets": {"API": "file:/run/x"},
        "environment": {"MY_TOKEN": "hunter2-hunter2", "MODE": "fast", "GONE": None}, "timeout": 5,
    })  # fmt: skip
    kept = for_record(spec)
    assert "hunter2" not in str(kept)
    again = read_spec(spec_again(a_record(spec=kept)))
    assert again == msgspec.structs.replace(spec, environment={"MODE": "fast", "GONE": None})
    hidden = dict.fromkeys(("API", "MY_TOKEN", "BLOCKYARD_CHANNEL_KEY"), "<secret>")
    assert secrets_of(a_record(spec=kept, environment=hidden)) == ["MY_TOKEN"]


@pytest.mark.parametrize(
    "written, again, directory", [("/tmp/x/outputs.json", "outputs.json", ""), ("/y/o", "/y/o", "/tmp/x")]
)
def test_a_step_that_had_a_folder_of_its_own_is_run_again_where_one_is(
    written: str, again: str, directory: str
) -> None:
    variables = {"BLOCKYARD_OUTPUTS": written, "MODE": "fast"}
    record = a_record(spec=for_record(read_spec({"binary": ["a"], "directory": "/tmp/x", "environment": variables})))
    found = read_spec(spec_again(record))
    assert (found.directory, found.environment) == (directory, {"BLOCKYARD_OUTPUTS": again, "MODE": "fast"})
    assert any("folder of its own" in line for line in remarks(record)) is (not directory)


def test_how_it_stands_is_said_on_one_line() -> None:
    running = remarks(a_record(message="50 %: half\nof the frames"))[0]
    assert running == "managed task 'index', record ab12: RUNNING: 50 %: half of the frames"
    ended = remarks(a_record(status="FAILED", reason="ExitCode", message="exit code 3"))[0]
    assert ended == "managed task 'index', record ab12: FAILED ExitCode: exit code 3"


def test_an_executor_made_in_code_is_run_again_by_its_command_or_its_function() -> None:
    environment = {"MODE": "fast", "API_KEY": "<secret>", "BLOCKYARD_CHANNEL": "pipe:3,4"}
    again = read_spec(spec_again(a_record(command=["make", "{{ x }}"], environment=environment)))
    assert again == ManagedSpec(
        binary=("make", "{{ x }}"), fill=False, name="index", directory="/src", environment={"MODE": "fast"},
        environment_mode="overwrite",
    )  # fmt: skip
    record = a_record(executor="Executor", command=["jobs:peaks"], parameters={"n": 3}, environment=environment)
    assert read_spec(spec_again(record)).function == "jobs:peaks"
    assert secrets_of(record) == ["API_KEY"]
    ranks = [
        "/bin/mpirun",
        "-np",
        "3",
        "--oversubscribe",
        "/bin/python3",
        "-u",
        "/x/blockyard_shim.py",
        "jobs:peaks",
        "/y",
    ]
    for executor, words, more in (("Executor", ranks[4:], {"python": "/bin/python3"}),
                                  ("MPIExecutor", ranks, {"ranks": 3, "oversubscribe": True})):  # fmt: skip
        found = read_spec(spec_again(a_record(executor=executor, command=words, parameters={"n": 3})))
        assert found == ManagedSpec(
            function="jobs:peaks", parameters={"n": 3}, directory="/src", environment_mode="overwrite", **more
        )
    nameless = a_record(executor="Executor", command=["<lambda>"])
    assert any("no name to be imported by" in line for line in remarks(nameless))
    assert any("API_KEY" in line for line in remarks(record))
