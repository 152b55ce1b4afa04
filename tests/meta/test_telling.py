"""The account that a run of tests gives of itself, seen on small runs in processes of their own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import ROOT

PROGRAM = """
import os, signal, time
import pytest

@pytest.fixture
def stuck():
    yield
    time.sleep(3600)

def test_fails_and_never_ends(stuck):
    assert 1 == 2, "one is not two"

def test_loses_patience():
    time.sleep(1)  # what the other test came to is on its way
    os.kill({signalled}, signal.SIGTERM)
    time.sleep(3600)
"""


def run_of(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program's tests, with a limit of three seconds each."""
    (folder / "test_program.py").write_text(PROGRAM.format(signalled="os.getppid()" if arguments else "os.getpid()"))
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.telling", "--timeout=3", *arguments, "test_program.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )


@pytest.mark.parametrize("arguments", [(), ("--numprocesses=1",)], ids=["alone", "beside"])
def test_a_run_tells_what_failed_and_what_it_was_at(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    told = run_of(tmp_path, *arguments)
    lines = [line for line in told.stdout.splitlines() if line.startswith("[run] ")]
    assert "test_fails_and_never_ends failed in its call after 0 s: AssertionError: one is not two" in lines[0]
    assert "test_fails_and_never_ends failed in its teardown" in lines[1], told.stdout
    assert "Timeout" in lines[1], told.stdout
    assert "terminated, 1 tests after" in lines[2], told.stdout
    assert "test_loses_patience (" in lines[2], told.stdout
    assert told.returncode == 128 + signal.SIGTERM, told.stdout + told.stderr
