"""Runs programs as processes of this machine.

Every program leads a session and process group of its own, so that it can be signalled as a whole and a terminal's
Ctrl-C does not reach it. It dies with this process: by its own PR_SET_PDEATHSIG, or by `deathsig` in front of it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from blockyard.blocks import deathsig
from blockyard.blocks.channels import Program
from blockyard.blocks.exits import Exited, NotStarted, Signalled, Started
from blockyard.blocks.faults import ChannelError
from blockyard.blocks.logs import create_log
from blockyard.blocks.process_channel import ProcessChannel


class LocalChannel(ProcessChannel):
    """Programs on this machine. They inherit this process's environment; `wall` gives UTC epoch seconds."""

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        super().__init__("local", "blockyard-local-channel")
        self._wall = wall
        self._node = socket.gethostname()
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def close(self) -> None:
        if self._on_event is None:
            return
        try:
            self._watch.call(self._kill_all)
        except ChannelError:
            return  # closed before
        self._watch.stop()

    def _start(self, key: str, program: Program) -> None:
        env = {**os.environ, **program.env}
        if shutil.which(program.argv[0], path=env.get("PATH")) is None:
            detail = f"{program.argv[0]!r} is no program here (PATH is {env.get('PATH', '')!r})"
            self._tell(key, NotStarted(reason="ProgramNotFound", detail=detail, at=self._wall()))
            return
        try:
            process = self._spawn(program, env)
        except OSError as error:
            self._tell(key, NotStarted(reason="SpawnFailed", detail=f"{program.argv[0]!r}: {error}", at=self._wall()))
            return
        self._running[key] = process
        self._watch.on_exit(process, lambda: self._ended(key))
        self._tell(key, Started(pid=process.pid, node=self._node, at=self._wall()))

    def _spawn(self, program: Program, env: dict[str, str]) -> subprocess.Popen[bytes]:
        argv = program.argv
        if not program.binds_itself:
            argv = (sys.executable, "-I", "-S", str(Path(deathsig.__file__)), str(os.getpid()), *argv)
        log = create_log(program.log)
        try:
            return subprocess.Popen(
                argv, env=env, cwd=program.cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        finally:
            os.close(log)

    def _signal(self, key: str, signum: int) -> None:
        process = self._running.get(key)
        if process is not None:
            _signal_group(process.pid, signum)

    def _runs(self, key: str) -> bool:
        return key in self._running

    def _ended(self, key: str) -> None:
        process = self._running.pop(key, None)
        if process is None:
            return  # killed and reported by `close` while this call waited for its turn
        # The leader is not reaped yet, so its number, which is also the group's, cannot belong to anybody else.
        _signal_group(process.pid, signal.SIGKILL)
        code = process.wait()
        at = self._wall()
        self._tell(key, Exited(code=code, at=at) if code >= 0 else Signalled(signum=-code, at=at))

    def _kill_all(self) -> None:
        for process in self._running.values():
            _signal_group(process.pid, signal.SIGKILL)
        for key, process in list(self._running.items()):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            self._ended(key)


def _signal_group(leader: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # the whole group may have ended
        os.killpg(leader, signum)
