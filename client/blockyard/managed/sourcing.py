"""What sourcing a shell script does to an environment, read without `eval`.

bash sources the script with its output led elsewhere, and then `env -0` writes the variables, NUL between them, to a
descriptor of its own. Whatever the script prints, and whatever is in a value (newlines, functions, text that looks
like a program), is only ever data.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from typing import Final

import msgspec

from blockyard.errors import ConfigError

MAX_DUMP_BYTES: Final = 16 * 1024 * 1024
_OWN: Final = frozenset({"_", "SHLVL", "PWD", "OLDPWD", "BASH_ENV"})
"""Variables that the shell sets for itself."""
_KEPT: Final = 64
_SHOWN_BYTES: Final = 1000


class Sourced(msgspec.Struct, frozen=True):
    """The difference that a script makes."""

    changed: dict[str, str]
    removed: tuple[str, ...] = ()


_cache: dict[tuple[str, int, int, bytes], Sourced] = {}


def source(script: str, base: Mapping[str, str], timeout: float = 60.0) -> Sourced:
    """Source a script on top of `base`.

    What was read is kept for the same script (path, time, size) and base; scripts that it sources itself are not looked
    at. Raises ConfigError when it is absent, fails, does not come to its end, or takes longer than `timeout` seconds.
    """
    try:
        found = os.stat(script)
    except OSError as error:
        raise ConfigError(f"script {script!r}: {error.strerror}; the environment of the task can't be made") from error
    joined = b"\0".join(f"{name}={value}".encode(errors="surrogateescape") for name, value in sorted(base.items()))
    key = (os.path.abspath(script), found.st_mtime_ns, found.st_size, hashlib.sha256(joined).digest())
    known = _cache.get(key)
    if known is None:
        known = _difference(base, _dumped(script, base, timeout))
        while len(_cache) >= _KEPT:
            del _cache[next(iter(_cache))]
        _cache[key] = known
    return known


def _difference(base: Mapping[str, str], after: Mapping[str, str]) -> Sourced:
    changed = {name: value for name, value in after.items() if name not in _OWN and base.get(name) != value}
    return Sourced(changed, tuple(name for name in base if name not in after and name not in _OWN))


def parse(dump: bytes) -> dict[str, str]:
    """Variables out of what `env -0` wrote."""
    pairs = (entry.decode(errors="surrogateescape").partition("=") for entry in dump.split(b"\0") if entry)
    return {name: value for name, equals, value in pairs if equals}


def _dumped(script: str, base: Mapping[str, str], timeout: float) -> dict[str, str]:
    bash, env = shutil.which("bash"), shutil.which("env")
    if bash is None or env is None:
        raise ConfigError(f"script {script!r}: sourcing it takes bash and env, and one of them is not on PATH")
    read, write = os.pipe2(os.O_CLOEXEC)
    # The script is named by a parameter that is used before the script can change it; a name with a slash is never
    # taken for a function.
    program = f'. "$1" </dev/null >&2 || exit $?\n{shlex.quote(env)} -0 >&{write}'
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            [bash, "--norc", "--noprofile", "-c", f"set -a\n{program}", "bash", os.path.abspath(script)],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            env=dict(base),
            pass_fds=[write],
            start_new_session=True,
        )
        os.close(write)
        try:
            dump = _read_all(read, process, time.monotonic() + timeout)
        finally:
            os.close(read)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        if dump is None:
            raise ConfigError(f"script {script!r}: it did not end within {timeout:g} s, or never stopped writing")
        variables = parse(dump)
        if not dump.endswith(b"\0") or not variables:
            size = printed.seek(0, os.SEEK_END)
            printed.seek(max(size - _SHOWN_BYTES, 0))
            words = printed.read().decode(errors="replace").strip()
            raise ConfigError(f"script {script!r}: it ended early with exit code {code}{': ' if words else ''}{words}")
    return variables


def _read_all(read: int, process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    """All that is written until bash has ended; something that it left running may hold the pipe open."""
    found = bytearray()
    ended = os.pidfd_open(process.pid)
    os.set_blocking(read, False)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(read, selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0 and len(found) <= MAX_DUMP_BYTES:
                ready = {key.fd for key, _ in selector.select(left)}
                more = _read_some(read) if ready else None
                if more:
                    found += more
                elif more == b"" or ended in ready:
                    return bytes(found)
    finally:
        os.close(ended)
    return None


def _read_some(read: int) -> bytes | None:
    try:
        return os.read(read, 1 << 16)
    except BlockingIOError:
        return None
