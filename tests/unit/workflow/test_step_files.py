"""Files in the arguments of a step, of which one names the other."""

from pathlib import Path

import msgspec
import pytest

from blockyard.errors import StagingError
from blockyard.files import File
from blockyard.workflow.plans import Plan
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
