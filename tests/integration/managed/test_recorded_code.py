"""The commit of the code that a task ran is in its record, wherever that code is."""

import subprocess
import sys
from pathlib import Path

import pytest

from blockyard.managed import BinaryExecutor, MPIExecutor, run_managed
from tests import repositories
from tests.machine import ROOT


def test_the_commit_of_a_programs_code_is_recorded_where_it_is_said() -> None:
    found = run_managed({"binary": ["true"], "code": str(ROOT / "tests")})
    assert found.record.code.git_sha == git("rev-parse", "HEAD")
    assert found.record.spec["code"] == str(ROOT / "tests")


@pytest.mark.parametrize("more", [{}, {"python": sys.executable}])
def test_the_code_of_a_function_that_is_only_named_is_recorded(more: dict[str, str], tmp_path: Path) -> None:
    package = tmp_path / "src" / "named_only" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "work.py").write_text("def two():\n    return 2\n")
    sha = repositories.make(tmp_path / "src" / "look.sh", top=tmp_path)
    spec = {"function": "named_only.inner.work:two", "environment": {"PYTHONPATH": str(tmp_path / "src")}, **more}
    found = run_managed(spec).check()
    assert (found.payload, found.record.code.folder, found.record.code.git_sha) == (2, str(tmp_path), sha)
    assert "named_only" not in sys.modules


def test_a_programs_code_is_where_its_words_lie_or_where_it_works(tmp_path: Path) -> None:
    script = tmp_path / "look.sh"
    sha = repositories.make(script)
    by_launcher = MPIExecutor("look", 1, command=[script], launcher=["env"])  # which takes the place of mpirun
    for executor in (
        BinaryExecutor("look", [script]),
        BinaryExecutor("look", ["sh", "-c", ". ./look.sh"], directory=tmp_path),
        by_launcher,
    ):
        found = executor.execute_task().check()
        assert (found.stdout, found.record.code.git_sha) == ("two\n", sha)
    assert not BinaryExecutor("look", ["true"]).execute_task().record.code.git_sha
    refused = BinaryExecutor("look", ["{{ x }}"]).execute_task()
    assert (refused.reason, refused.record.code.git_sha) == ("UnknownName", "")


def git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()
