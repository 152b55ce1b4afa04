"""Runs programs on another machine through the OpenSSH client.

One `ssh` process for each program, started by argv (`ssh_command`). On the far side `remote_shim` runs the program and
sends lines back: an end that it reports is an end; an ssh that ends without one is a lost link, and the block is
MISSING, not FAILED. The shim, cut off, then ends the program by itself.

A program's environment travels through the encrypted stream, never on a command line, where others could read it. Its
output comes back through ssh's stderr, so its log is a file here like any other.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final, Literal

import msgspec

from blockyard.blocks import remote_shim
from blockyard.blocks.channels import Program
from blockyard.blocks.exits import Ended, Exited, LinkLost, NotStarted, Signalled, Started
from blockyard.blocks.faults import ChannelError
from blockyard.blocks.logs import create_log, read_tail
from blockyard.blocks.process_channel import ProcessChannel
from blockyard.blocks.ssh_command import SSHTarget, read_fault, ssh_argv

CLOSE_SECONDS: Final = 5.0
"""How long `close` waits for ends to be reported before it cuts the links."""

HANG_UP_SECONDS: Final = 5.0
"""How long ssh may take to end once the far side has reported the program's end."""

READ_BYTES: Final = 65536
"""More than the shim ever says."""


class ShimReport(msgspec.Struct, frozen=True):
    """One line from the far side."""

    event: Literal["started", "not-started", "exited", "signalled"]
    pid: int = 0
    node: str = ""
    reason: str = ""
    detail: str = ""
    code: int = 0
    signum: int = 0
    strays: int = 0


class _Link:
    """One ssh process and what has come through it. `ended`: the program's end has been told."""

    __slots__ = ("ended", "key", "line", "log", "process", "started")

    def __init__(self, key: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.key = key
        self.process = process
        self.log = log
        self.line = b""
        self.started = False
        self.ended = False


class SSHChannel(ProcessChannel):
    """Programs on `host`, as `user`, whose key `identity_file` is; `known_hosts` must hold the host's key.

    `python` is the far side's interpreter, 3.8 or later. `config_file`: an ssh configuration to read, for jump hosts
    and the like; None reads none. `connect_timeout` is in seconds. Raises ChannelError for what cannot be a host or
    user name, and for files that are not there.
    """

    def __init__(  # noqa: PLR0913 - keyword-only, one for each thing that differs between hosts
        self,
        host: str,
        *,
        identity_file: Path,
        known_hosts: Path,
        port: int = 22,
        user: str | None = None,
        python: str = "python3",
        config_file: Path | None = None,
        connect_timeout: int = 10,
        wall: Callable[[], float] = time.time,
    ) -> None:
        target = SSHTarget(
            host=host,
            identity_file=identity_file,
            known_hosts=known_hosts,
            port=port,
            user=user,
            python=python,
            config_file=config_file,
            connect_timeout=connect_timeout,
        )
        super().__init__(host, f"blockyard-ssh-{host}")
        self._host = host
        self._argv = ssh_argv(target)
        self._wall = wall
        self._links: dict[str, _Link] = {}
        self._connected: set[_Link] = set()
        self._all_gone: threading.Event | None = None

    def close(self) -> None:
        if self._on_event is None:
            return
        gone = threading.Event()
        try:
            self._watch.call(lambda: self._kill_all(gone))
            if not gone.wait(CLOSE_SECONDS):
                self._watch.call(self._cut_links)
                gone.wait(CLOSE_SECONDS)
        except ChannelError:
            return  # closed before
        self._watch.stop()

    # --- all that follows runs on the watch's thread ---------------------------------------------------------------

    def _start(self, key: str, program: Program) -> None:
        log = create_log(program.log)
        try:
            process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        except OSError as error:
            detail = f"cannot start the OpenSSH client: {error}; install it (Debian: openssh-client)"
            self._tell(key, NotStarted(reason="NoSSHClient", detail=detail, at=self._wall()))
            return
        finally:
            os.close(log)
        link = self._links[key] = _Link(key, process, program.log)
        self._connected.add(link)
        stdout = _pipe(process.stdout)
        os.set_blocking(stdout.fileno(), False)
        self._watch.on_readable(stdout.fileno(), lambda: self._read(link))
        self._watch.on_exit(process, lambda: self._hung_up(link))
        source = Path(remote_shim.__file__).read_bytes()
        cwd = str(program.cwd) if program.cwd is not None else None
        asked = json.dumps({"argv": program.argv, "env": dict(program.env), "cwd": cwd}).encode()
        self._write(link, b"%d\n%b%b\n" % (len(source), source, asked))

    def _write(self, link: _Link, data: bytes) -> None:
        stdin = _pipe(link.process.stdin)
        with contextlib.suppress(BrokenPipeError):  # ssh has ended; that is about to be noticed and says why
            if not stdin.closed:
                stdin.write(data)
                stdin.flush()

    def _read(self, link: _Link) -> None:
        stdout = _pipe(link.process.stdout)
        if stdout.closed:
            return
        try:
            data = os.read(stdout.fileno(), READ_BYTES)
        except BlockingIOError:
            return
        if data == b"":
            self._watch.forget(stdout.fileno())
            stdout.close()
            return
        *lines, link.line = (link.line + data).split(b"\n")
        for line in lines:
            self._report(link, line)

    def _report(self, link: _Link, line: bytes) -> None:
        at = self._wall()
        try:
            report = msgspec.json.decode(line, type=ShimReport)
        except msgspec.DecodeError:
            # A login script that prints: its words belong into the log, where people look for them.
            with link.log.open("ab") as file:
                file.write(line + b"\n")
            return
        match report.event:
            case "started":
                link.started = True
                self._tell(link.key, Started(pid=report.pid, node=report.node, at=at))
            case "not-started":
                self._end(link, NotStarted(reason=report.reason, detail=report.detail, at=at))
            case "exited":
                self._end(link, Exited(code=report.code, at=at, strays=report.strays))
            case "signalled":
                self._end(link, Signalled(signum=report.signum, at=at, strays=report.strays))

    def _hung_up(self, link: _Link) -> None:
        code = link.process.wait()
        self._read(link)  # what it sent just before it ended
        for pipe in (link.process.stdin, link.process.stdout):
            if pipe is not None and not pipe.closed:
                if pipe is link.process.stdout:
                    self._watch.forget(pipe.fileno())
                _close_quietly(pipe)
        self._connected.discard(link)
        if not link.ended:
            self._end(link, self._why(link, code))
        if self._all_gone is not None and not self._connected:
            self._all_gone.set()

    def _why(self, link: _Link, code: int) -> Ended:
        said = read_tail(link.log, 500).strip() or "it said nothing"
        at = self._wall()
        if link.started:
            return LinkLost(detail=f"the link to {self._host} was lost (ssh ended with {code}): {said}", at=at)
        detail = f"no link to {self._host} (ssh ended with {code}): {said}"
        return NotStarted(reason=read_fault(said), detail=detail, at=at)

    def _end(self, link: _Link, event: Ended) -> None:
        if link.ended:
            return
        link.ended = True
        self._links.pop(link.key, None)
        if link in self._connected:
            _close_quietly(_pipe(link.process.stdin))
            self._watch.later(HANG_UP_SECONDS, lambda: self._cut(link))
        self._tell(link.key, event)

    def _cut(self, link: _Link) -> None:
        if link in self._connected:
            link.process.kill()

    def _signal(self, key: str, signum: int) -> None:
        link = self._links.get(key)
        if link is not None:
            self._write(link, b"%d\n" % signum)

    def _kill_all(self, gone: threading.Event) -> None:
        self._all_gone = gone
        for link in self._connected:
            self._write(link, b"%d\n" % signal.SIGKILL)
        if not self._connected:
            gone.set()

    def _cut_links(self) -> None:
        for link in self._connected:
            link.process.kill()

    def _runs(self, key: str) -> bool:
        return key in self._links


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ChannelError("ssh was started without pipes")
    return pipe


def _close_quietly(pipe: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):  # what was still to be written is of no use to an ssh that has ended
        pipe.close()
