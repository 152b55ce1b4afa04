"""The account that a run of tests gives of itself, seen on small runs in processes of their own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import ROOT

PROGRAM = """
import time
import pytest

@pytest.fixture
def stuck():
    yield
    time.sleep(3600)

def test_fails_and_never_ends(stuck):
    assert 1 == 2, "one is not two"

@pytest.mark.timeout(3600)
def test_lasts():
    time.sleep(3600)
"""
OFTEN = """
from tests import telling

telling.EVERY = 0.1
"""


def run_of(folder: Path, *arguments: str) -> tuple[list[str], int]:
    """Run the program's tests, with a limit of three seconds, until the run says that it is at the second one.

    Then terminate it; returns what it said, and its exit code.
    """
    (folder / "test_program.py").write_text(PROGRAM)
    (folder / "conftest.py").write_text(OFTEN)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.telling", "--timeout=3", *arguments, "test_program.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    said: list[str] = []
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout is not None
        is_terminated = False
        try:
            for line in run.stdout:
                said.append(line)
                if not is_terminated and re.match(r"\[run\] 1 tests after .*::test_lasts \(", line):
                    is_terminated = True
                    run.terminate()
        except BaseException:
            run.kill()  # else the end of `with` would wait for it
            raise
    return said, run.returncode


@pytest.mark.parametrize("arguments", [(), ("--numprocesses=1",)], ids=["alone", "beside"])
def test_a_run_tells_what_failed_and_what_it_was_at(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    said, code = run_of(tmp_path, *arguments)
    told = "".join(said)
    name = r"\[run\] \S*::test_fails_and_never_ends failed in its"
    in_call = re.search(rf"{name} call after \d+ s: AssertionError: one is not two\n", told)
    in_teardown = re.search(rf"{name} teardown after \d+ s: .*Timeout", told)
    at_the_end = re.search(r"\[run\] terminated, 1 tests after \d+ s; running: \S*::test_lasts \(", told)
    assert in_call is not None, told
    assert in_teardown is not None, told
    assert at_the_end is not None, told
    assert in_call.end() < in_teardown.start() < at_the_end.start(), told
    assert code == 128 + signal.SIGTERM, told
