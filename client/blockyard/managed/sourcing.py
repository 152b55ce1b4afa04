"""What sourcing a shell script does to an environment, read without `eval`.

bash sources the script with its output led elsewhere, and then `env -0` writes the variables, NUL between them, to a
descriptor of its own. Whatever the script prints, and whatever is in a value (newlines, functions, text that looks
like a program), is only ever data.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import selectors
import shlex
import shutil
import tempfile
import time
from collections.abc import Mapping
from typing import BinaryIO, Final

import msgspec

from blockyard.errors import ConfigError
from blockyard.managed import launch
from blockyard.managed.course import Exit
from blockyard.managed.requests import NotWanted

MAX_DUMP_BYTES: Final = 16 * 1024 * 1024
_OWN: Final = frozenset({"_", "SHLVL", "PWD", "OLDPWD", "BASH_ENV"})
"""Variables that the shell sets for itself."""
_KEPT: Final = 64
KEPT_SECONDS: Final = 600.0
"""What a script does may depend on files that nobody here knows of."""
_SHOWN_BYTES: Final = 1000


class Sourced(msgspec.Struct, frozen=True):
    """The difference that a script makes."""

    changed: dict[str, str]
    removed: tuple[str, ...] = ()


_cache: dict[tuple[str, int, int, bytes], tuple[float, Sourced]] = {}
"""With the instant at which it was read, by the monotonic clock."""


def source(script: str, base: Mapping[str, str], timeout: float = 60.0, unwanted: int = -1) -> Sourced:
    """Source a script on top of `base`. What it leaves running is ended: its processes are below a keeper.

    `unwanted`: a descriptor that becomes readable when it is to be given up, which raises NotWanted.

    What was read is kept for a while for the same script (path, time, size) and base; scripts that it sources itself
    are not looked at. Raises ConfigError when it is absent, fails, does not come to its end, or takes longer than
    `timeout` seconds.
    """
    try:
        found = os.stat(script)
    except OSError as error:
        raise ConfigError(f"script {script!r}: {error.strerror}; the environment of the task can't be made") from error
    joined = b"\0".join(f"{name}={value}".encode(errors="surrogateescape") for name, value in sorted(base.items()))
    key = (os.path.abspath(script), found.st_mtime_ns, found.st_size, hashlib.sha256(joined).digest())
    at, known = _cache.get(key, (-math.inf, Sourced({})))
    if time.monotonic() > at + KEPT_SECONDS:
        known = _difference(base, _dumped(script, base, timeout, unwanted))
        while len(_cache) >= _KEPT:
            _cache.pop(next(iter(_cache)), None)
        _cache[key] = time.monotonic(), known
    return known


def _difference(base: Mapping[str, str], after: Mapping[str, str]) -> Sourced:
    changed = {name: value for name, value in after.items() if name not in _OWN and base.get(name) != value}
    return Sourced(changed, tuple(name for name in base if name not in after and name not in _OWN))


def parse(dump: bytes) -> dict[str, str]:
    """Variables out of what `env -0` wrote."""
    pairs = (entry.decode(errors="surrogateescape").partition("=") for entry in dump.split(b"\0") if entry)
    return {name: value for name, equals, value in pairs if equals}


def _dumped(script: str, base: Mapping[str, str], timeout: float, unwanted: int) -> dict[str, str]:
    bash, env = shutil.which("bash"), shutil.which("env")
    if bash is None or env is None:
        raise ConfigError(f"script {script!r}: sourcing it takes bash and env, and one of them is not on PATH")
    read, write = os.pipe2(os.O_CLOEXEC)
    # The script is named by a parameter that is used before the script can change it; a name with a slash is never
    # taken for a function.
    program = f'set -a\n. "$1" </dev/null >&2 || exit $?\n{shlex.quote(env)} -0 >&{write}'
    with open(read, "rb", buffering=0) as pipe, tempfile.TemporaryFile() as printed, open(os.devnull) as nothing:
        os.set_blocking(read, False)
        try:
            plan = launch.Plan(
                argv=(bash, "--norc", "--noprofile", "-c", program, "bash", os.path.abspath(script)),
                env=dict(base),
                directory=os.getcwd(),
                standard=(nothing.fileno(), printed.fileno(), printed.fileno()),
                open=(write,),
            )
            keeper = launch.start(plan)
        finally:
            os.close(write)
        with contextlib.closing(keeper):  # which ends what the script has left
            dump, ended = _read_all(pipe, keeper, time.monotonic() + timeout, unwanted)
            keeper.finish()
            while ended is not None and (said := keeper.hear()) is not None and said.ended is None:
                pass
        if ended is None:
            raise ConfigError(f"script {script!r}: it did not end within {timeout:g} s, or never stopped writing")
        variables = parse(dump)
        if not dump.endswith(b"\0") or not variables:
            size = printed.seek(0, os.SEEK_END)
            printed.seek(max(size - _SHOWN_BYTES, 0))
            words = printed.read().decode(errors="replace").strip()
            code = ended.code if ended.signal is None else -ended.signal
            raise ConfigError(f"script {script!r}: it ended early with exit code {code}{': ' if words else ''}{words}")
    return variables


def _read_all(pipe: BinaryIO, keeper: launch.Keeper, deadline: float, unwanted: int) -> tuple[bytes, Exit | None]:
    """All that is written until bash has ended, and how: something that it left running may hold the pipe open. None
    when that took too long. Raises ConfigError when it could not be started, NotWanted."""
    found, ended = bytearray(), None
    with selectors.DefaultSelector() as selector:
        for one in (pipe.fileno(), keeper.socket.fileno(), *([unwanted] if unwanted >= 0 else ())):
            selector.register(one, selectors.EVENT_READ)
        while ended is None and (left := deadline - time.monotonic()) > 0 and len(found) <= MAX_DUMP_BYTES:
            ready = {key.fd for key, _ in selector.select(left)}
            if unwanted in ready:
                raise NotWanted
            if pipe.fileno() in ready and _read_some(pipe, found):
                selector.unregister(pipe.fileno())
            if keeper.socket.fileno() in ready:
                ended = _end(keeper.hear())
    if ended is not None:
        _read_some(pipe, found)
    return bytes(found), ended


def _read_some(pipe: BinaryIO, found: bytearray) -> bool:
    """Whether it is at its end."""
    while more := pipe.read(1 << 16):
        found += more
        if len(found) > MAX_DUMP_BYTES:
            break
    return more == b""


def _end(said: launch.Said | None) -> Exit | None:
    if said is None:
        raise ConfigError("the process that watches the sourcing of scripts was killed")
    if said.failed is not None:
        raise ConfigError(said.failed)
    return said.exited
