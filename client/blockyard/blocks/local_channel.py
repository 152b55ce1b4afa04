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
from blockyard.blocks.channels import OnEvent, Program
from blockyard.blocks.exits import ChannelEvent, Ended, Exited, NotStarted, Signalled, Started
from blockyard.blocks.faults import ChannelError
from blockyard.blocks.logs import create_log, read_tail
from blockyard.blocks.process_watch import Appointment, ProcessWatch


class LocalChannel:
    """Programs on this machine. They inherit this process's environment; `wall` gives UTC epoch seconds."""

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._node = socket.gethostname()
        self._watch = ProcessWatch("blockyard-local-channel")
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._last: dict[str, ChannelEvent] = {}
        self._logs: dict[str, Path] = {}
        self._on_event: OnEvent | None = None

    @property
    def name(self) -> str:
        return "local"

    def open(self, on_event: OnEvent) -> None:
        if self._on_event is not None:
            raise ChannelError("the channel is open already; use one channel for each provider")
        self._on_event = on_event
        self._watch.start()

    def start(self, key: str, program: Program) -> None:
        self._watch.call(lambda: self._start(key, program))

    def poll(self, key: str) -> ChannelEvent | None:
        return self._last.get(key)

    def signal(self, key: str, signum: int) -> None:
        self._watch.call(lambda: self._signal(key, signum))

    def tail(self, key: str, limit_bytes: int) -> str:
        path = self._logs.get(key)
        return read_tail(path, limit_bytes) if path is not None else ""

    def forget(self, key: str) -> None:
        self._watch.call(lambda: self._forget(key))

    def later(self, delay: float, callback: Callable[[], None]) -> Appointment:
        return self._watch.later(delay, callback)

    def close(self) -> None:
        if self._on_event is None:
            return
        try:
            self._watch.call(self._kill_all)
        except ChannelError:
            return  # closed before
        self._watch.stop()

    def _start(self, key: str, program: Program) -> None:
        if key in self._running:
            raise ChannelError(f"program {key!r} still runs; use another key, or wait for its end")
        self._logs[key] = program.log
        self._last.pop(key, None)
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

    def _forget(self, key: str) -> None:
        if key not in self._running:
            self._last.pop(key, None)
            self._logs.pop(key, None)

    def _ended(self, key: str) -> None:
        process = self._running.pop(key, None)
        if process is None:
            return  # killed and reported by `close` while this call waited for its turn
        # The leader is not reaped yet, so its number, which is also the group's, cannot belong to anybody else.
        _signal_group(process.pid, signal.SIGKILL)
        code = process.wait()
        at = self._wall()
        self._tell(key, Exited(code=code, at=at) if code >= 0 else Signalled(signum=-code, at=at))

    def _tell(self, key: str, event: Started | Ended) -> None:
        self._last[key] = event
        if self._on_event is not None:
            self._on_event(key, event)

    def _kill_all(self) -> None:
        for process in self._running.values():
            _signal_group(process.pid, signal.SIGKILL)
        for key, process in list(self._running.items()):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            self._ended(key)


def _signal_group(leader: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # the whole group may have ended
        os.killpg(leader, signum)
