"""A folder of things that are slow to make, each made once: into a temporary name first, then renamed.

A run that is killed leaves a temporary folder behind and never half an entry; the next run makes the entry anew.
Several processes may ask for the same entry: one makes it, the others wait.
"""

import contextlib
import fcntl
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.cluster.mounts import unmount_below

MAKING = ".making-"
Make = Callable[[Path], None]
"""Fills the empty folder it is given."""


def entry(folder: Path, name: str, make: Make) -> Path:
    """`folder`/`name`, made by calling `make` with an empty folder to fill when it is not there yet."""
    target = folder / name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / f".lock-{name}"):
        if target.exists():
            return target
        for stale in folder.glob(f"{MAKING}{name}-*"):
            discard(stale)
        temporary = Path(tempfile.mkdtemp(prefix=f"{MAKING}{name}-", dir=folder))
        temporary.chmod(0o755)
        started = time.monotonic()
        say(f"making {name}")
        try:
            make(temporary)
        except BaseException:
            discard(temporary)
            raise
        temporary.rename(target)
        say(f"made {name} in {time.monotonic() - started:.0f} s")
    return target


def discard(folder: Path) -> None:
    """Remove a folder and, first, what is mounted in it (debootstrap mounts /proc in what it makes)."""
    unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)


def say(what: str) -> None:
    """To who waits; standard output is for answers."""
    sys.stderr.write(f"cluster: {what}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
