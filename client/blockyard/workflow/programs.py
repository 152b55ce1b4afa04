"""Runs a program as a step: no shell, its own folder, the end of what it says kept."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from blockyard.errors import BlockyardError, ConfigError

OUTPUTS_VARIABLE: Final = "BLOCKYARD_OUTPUTS"
"""Where a program writes its outputs: the path of a file, for one JSON object."""
_MOST_BYTES: Final = 256 * 1024
"""Of each stream that is kept in the result: its end."""


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """How a program ended. Its streams are what came last on them."""

    code: int
    stdout: str
    stderr: str
    outputs: Mapping[str, Any] = field(default_factory=dict)


class ProgramFailed(BlockyardError):
    """A program ended with a code other than 0; the message has the end of what it wrote to standard error."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message, code)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])


def run_program(
    command: Sequence[str], environment: Mapping[str, str], outputs: Sequence[str], where: str
) -> ProgramResult:
    """Run it to its end. Raises ProgramFailed; ConfigError when there is no such program, or it wrote no outputs."""
    with tempfile.TemporaryDirectory(prefix="blockyard-step-") as folder:
        written = Path(folder, "outputs.json")
        variables = {**os.environ, **environment, OUTPUTS_VARIABLE: str(written)}
        streams = [Path(folder, name) for name in ("stdout", "stderr")]
        with streams[0].open("wb") as out, streams[1].open("wb") as err:
            try:
                ended = subprocess.run(
                    command, env=variables, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False
                )
            except OSError as error:
                raise ConfigError(f"{where}: {command[0]!r} cannot be run: {error.strerror}") from error
        stdout, stderr = (_end(path) for path in streams)
        sys.stdout.write(stdout)
        sys.stderr.write(stderr)
        if ended.returncode:
            how = f"signal {-ended.returncode}" if ended.returncode < 0 else f"exit code {ended.returncode}"
            tail = stderr.strip()[-1000:] or stdout.strip()[-1000:]
            raise ProgramFailed(
                f"{where}: {command[0]} ended with {how}{f': {tail}' if tail else ''}", ended.returncode
            )
        return ProgramResult(ended.returncode, stdout, stderr, _outputs(written, outputs, where))


def _end(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - _MOST_BYTES))
        return stream.read().decode(errors="replace")


def _outputs(path: Path, names: Sequence[str], where: str) -> dict[str, Any]:
    if not names:
        return {}
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        raise ConfigError(f"{where} declares outputs, and wrote none into ${OUTPUTS_VARIABLE}") from None
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{where}: what it wrote into ${OUTPUTS_VARIABLE} is no JSON object: {error}") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise ConfigError(f"{where} declares output {missing[0]!r}, which it did not write into ${OUTPUTS_VARIABLE}")
    return {name: found[name] for name in names}
