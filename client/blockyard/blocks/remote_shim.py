"""The far end of an `SSHChannel`: runs one program there, and tells here how it went.

Its source text is sent through ssh's stdin and run by the far side's `python3`, so nothing of Blockyard need be
installed there; hence the standard library only, Python 3.8 or later, and no imports from this package. After the
source comes one line of JSON, `{"argv", "env", "cwd"}`, and then one line for each signal, as a number. Events go back
as lines of JSON on stdout; the program's own output goes to stderr. When stdin ends, the link is lost or the near
side has died: the program is asked to end, and killed `GRACE` seconds later, so that nothing runs on unseen.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, BinaryIO

GRACE = 5.0
ROUNDS = 8
ROUND_SECONDS = 0.01
PR_SET_PDEATHSIG = 1


def tell(**event: object) -> None:
    """Send one event to the near side; whether it still listens does not matter here."""
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def signal_group(leader: int, signum: int) -> None:
    """Signal all that the program started and that did not leave its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signum)


def die_with_shim() -> None:
    """Between fork and exec, while this process has one thread: have the program killed when the shim is."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def obey(control: BinaryIO, leader: int) -> None:
    """Pass on signals until the link is lost; then end the program."""
    for line in control:
        signal_group(leader, int(line))
    signal_group(leader, signal.SIGTERM)
    time.sleep(GRACE)
    signal_group(leader, signal.SIGKILL)


def end_marked(marks: list[bytes]) -> int:
    """Kill the processes whose environment carries all of `marks`, and return how many there were.

    Looks again as long as it finds some, at most `ROUNDS` times: a stray may start another one, or take a moment to
    die.
    """
    killed: set[int] = set()
    for _ in range(ROUNDS):
        found = find_marked(marks)
        if not found:
            break
        killed |= found
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(ROUND_SECONDS)
    return len(killed)


def find_marked(marks: list[bytes]) -> set[int]:
    """Look through all processes once."""
    found = set()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
            environment = file.read().split(b"\0")
            if all(mark in environment for mark in marks):
                found.add(int(name))
    return found


def run(control: BinaryIO) -> None:
    """Run the program that the control stream describes to its end, then end this process."""
    try:
        watch_over(control)
    finally:
        sys.stdout.flush()
        # Not by returning: the thread that reads stdin would still hold its lock, which aborts the interpreter.
        os._exit(0)


def watch_over(control: BinaryIO) -> None:
    """Start the program, tell how it went."""
    asked: dict[str, Any] = json.loads(control.readline())
    try:
        process = subprocess.Popen(
            asked["argv"],
            env={**os.environ, **asked["env"]},
            cwd=asked["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=2,
            stderr=2,
            start_new_session=True,
            preexec_fn=die_with_shim,  # noqa: PLW1509 - this process has no second thread yet
        )
    except OSError as error:
        reason = "ProgramNotFound" if isinstance(error, FileNotFoundError) else "SpawnFailed"
        tell(event="not-started", reason=reason, detail=f"{asked['argv'][0]!r}: {error.strerror}")
        return
    tell(event="started", pid=process.pid, node=socket.gethostname())
    threading.Thread(target=obey, args=(control, process.pid), daemon=True).start()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    signal_group(process.pid, signal.SIGKILL)
    code = process.wait()
    marks = [f"{name}={asked['env'][name]}" for name in ("BLOCKYARD_BLOCK", "BLOCKYARD_OWNER") if name in asked["env"]]
    strays = end_marked([mark.encode() for mark in marks]) if len(marks) == 2 else 0
    if code >= 0:
        tell(event="exited", code=code, strays=strays)
    else:
        tell(event="signalled", signum=-code, strays=strays)
