"""Run one program to its end, and say what it said when it fails."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

TAIL = 4000
"""Characters of output that an error repeats."""


class CommandFailed(Exception):
    """A program ended with a status other than 0, could not be started, or took too long."""


def run(
    argv: Sequence[str | Path],
    *,
    given: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120.0,
) -> str:
    """Run `argv` and return its standard output. `given` is its standard input, `env` is added to ours.

    CommandFailed names the program, its status and the end of both outputs; `timeout` is in seconds.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=given,
            stdin=None if given is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=cwd,
            env={**os.environ, **(env or {})},
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandFailed(f"{words[0]} is not installed: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{' '.join(words)[:300]}: no end within {timeout:.0f} s") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()[-TAIL:]
        raise CommandFailed(f"{' '.join(words)[:300]}: status {done.returncode}: {said}")
    return done.stdout
