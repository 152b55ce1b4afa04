"""How transfers are done: a few at once on a node, and again after a while when they fail.

The node's transfers are counted by locks, which the kernel opens when their process dies.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from blockyard.errors import ConfigError, StagingError
from blockyard.files import locks, urls
from blockyard.files.cache import CacheFull
from blockyard.files.pace import Stalled
from blockyard.files.port import Refused

T = TypeVar("T")

LONGEST_PAUSE: Final = 30.0
FINAL: Final = (
    FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError, Refused, ConfigError,
)  # fmt: skip
"""What will not change by itself."""


def pause_before(attempt: int, backoff: float, chance: float) -> float:
    """Seconds to wait before the attempt of this number, 2 and higher; `chance`, 0 to 1, takes away up to a half."""
    whole: float = min(LONGEST_PAUSE, backoff * 2.0 ** (attempt - 2))
    return whole * (1 - chance / 2)


def persistently(what: str, url: str, tries: int, backoff: float, act: Callable[[], T]) -> T:
    """Do something with a URL until it works, at most so often.

    Raises StagingError that says what was wanted of which URL (without its secrets), what was found, what to do.
    """
    for attempt in range(1, tries + 1):
        if attempt > 1:
            time.sleep(pause_before(attempt, backoff, random.random()))
        try:
            return act()
        except StagingError:
            raise
        except FINAL as error:
            raise failure(what, url, error, attempt) from None
        except Exception as error:  # noqa: BLE001 - carriers raise whatever the network made of it
            if attempt == tries:
                # Without its cause: that, and its traceback, may show the URL as it is.
                raise failure(what, url, error, attempt) from None
    raise AssertionError("unreachable: the last attempt returns or raises")


def failure(what: str, url: str, error: Exception, attempts: int) -> StagingError:
    """The error for people."""
    kind = "" if isinstance(error, Refused | ConfigError) else type(error).__name__
    notes = () if isinstance(error, FINAL) else getattr(error, "__notes__", ())
    found = urls.redacted(": ".join(part for part in (kind, ", ".join((str(error), *notes))) if part), url)
    often = f" ({attempts} tries)" if attempts > 1 else ""
    return StagingError(f"{what} {urls.shown(url)}{often}: {found}; {_advice(error, url)}", urls.shown(url))


def _advice(error: Exception, url: str) -> str:
    match error:
        case ConfigError():
            return "this is so on the node that ran the task"
        case FileNotFoundError() if urls.scheme_of(url) == "file":
            return (
                f"{os.uname().nodename}, where the task ran, has no such file: put it on storage that all nodes see, "
                "or where a URL reaches it"
            )
        case FileNotFoundError():
            return "see whether the address is right, and whether what writes it has ended"
        case PermissionError():
            return "give the workers credentials that may: in their environment, or for http and ftp in the URL"
        case IsADirectoryError() | NotADirectoryError() | FileExistsError():
            return "name one file, below folders"
        case CacheFull():
            return "it may fit when other tasks have ended"
        case Refused():
            return "ask who keeps it; it will not be tried again"
        case Stalled():
            return (
                "see whether the server is well, and the network between it and the node that ran the task; "
                "it is asked BLOCKYARD_FILES_TRIES times"
            )
        case _:
            return "see whether it can be reached from the node that ran the task"


@contextmanager
def slot(folder: Path, most: int) -> Iterator[None]:
    """Hold one of so many places of this node; waits for one."""
    places = random.sample(range(most), most)
    free = (locks.take_free(folder / f"slot-{place}") for place in places)
    lock = next((lock for lock in free if lock is not None), None) or locks.take(folder / f"slot-{places[0]}")
    try:
        yield
    finally:
        lock.close()
