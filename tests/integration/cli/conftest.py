"""A user with an empty home who types commands, and whose systems are all gone when the test is over."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.integration.processes import House, kill, look_at
from tests.machine import ROOT


class User:
    """Types commands without a terminal. `home` is short: paths of Unix sockets have at most 107 bytes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.here = home / "here"
        self.here.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BLOCKYARD_")}
        self.environment = {
            **kept,
            "XDG_STATE_HOME": str(home / "s"),
            "XDG_CONFIG_HOME": str(home / "c"),
            # workers import the functions of the tests from there
            "PYTHONPATH": os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]).rstrip(":"),
        }

    def systems(self) -> Path:
        """Where the state folders of this user's systems are."""
        return self.home / "s" / "blockyard" / "systems"

    def house(self, name: str = "local") -> House:
        """The processes of a system."""
        return House(self.systems() / name)

    def types(self, *words: str, code: int = 0, **environment: str) -> str:
        """Run a command, check its exit code, and return what it printed."""
        done = subprocess.run(
            self.argv(*words), env={**self.environment, **environment}, cwd=self.here,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        shown = f"blockyard {' '.join(words)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == code, shown
        assert "Traceback" not in done.stderr, shown
        return done.stdout if code == 0 else done.stdout + done.stderr

    def asks(self, *words: str, code: int = 0, **environment: str) -> Any:
        """Run a command with ``-o json`` and return what it answered."""
        return msgspec.json.decode(self.types(*words, "-o", "json", code=code, **environment))

    def starts(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command and do not wait for it."""
        return subprocess.Popen(
            self.argv(*words), env=self.environment, cwd=self.here, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def argv(self, *words: str) -> list[str]:
        """The command as the installed script runs it."""
        return [sys.executable, "-c", "from blockyard.cli import main; main()", *words]

    def supervisor(self, name: str = "local") -> int:
        """The pid that the system's own file names."""
        return int(msgspec.json.decode((self.systems() / name / "supervisor.pid").read_bytes())["pid"])


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    """See `User`. The test's own process finds the same systems, for `Client.connect`."""
    home = Path(tempfile.mkdtemp(prefix="by-"))
    user = User(home)
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, user.environment[name])
    monkeypatch.chdir(user.here)
    yield user
    folders = list(user.systems().iterdir()) if user.systems().is_dir() else []
    houses = [House(folder) for folder in folders]
    for folder in folders:
        _end_supervisor(folder)
    for house in houses:
        house.wait_until_empty()
    shutil.rmtree(home)


def _end_supervisor(folder: Path) -> None:
    try:
        pid = int(msgspec.json.decode((folder / "supervisor.pid").read_bytes())["pid"])
    except (OSError, msgspec.MsgspecError):
        return
    found = look_at(pid)
    if found is not None and str(folder) in found.command:
        kill(found, signal.SIGKILL)
