"""Starts a program that must not outlive its starter: `python -I -S deathsig.py PARENT_PID PROGRAM [ARGUMENT…]`.

It asks the kernel for SIGKILL when its parent dies (prctl(2), PR_SET_PDEATHSIG; kept over execve) and becomes the
program. For programs that do not ask by themselves; a manager does. Run as a file, with the standard library only,
so that it costs some ten milliseconds.

The kernel means the *thread* that started it: a starter keeps that thread alive as long as its children.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import NoReturn

PR_SET_PDEATHSIG = 1
NOT_FOUND = 127


def bind_to_parent(parent: int) -> None:
    """Have this process killed when `parent`, its starter, dies; end at once when that has already happened."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_PDEATHSIG) failed: {os.strerror(number)}")
    if os.getppid() != parent:
        # The parent died before the kernel was asked; nobody would ever end this process.
        os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> NoReturn:
    """Bind this process to its parent and become the program."""
    parent, program = int(arguments[0]), arguments[1:]
    bind_to_parent(parent)
    try:
        os.execvp(program[0], program)
    except OSError as error:
        sys.stderr.write(f"cannot start {program[0]!r}: {error.strerror}\n")
        raise SystemExit(NOT_FOUND) from error


if __name__ == "__main__":
    main(sys.argv[1:])
