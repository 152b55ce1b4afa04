"""What becomes of open clients when their process forks, when its interpreter ends, and when nobody holds them.

In a forked child none of a client's threads exists and its sockets belong to the parent, so the child disowns what it
inherited: it stops nothing, removes nothing, and says what is wrong when it is asked. At the interpreter's exit, what
was submitted is finished first, as with the executors of the standard library; not after Ctrl-C, by which somebody said
that it shall end. What either means is each part's own business (`Mortal`).
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from blockyard.engine import Engine


class Mortal(Protocol):
    """Something that must hear of both."""

    def disown(self) -> None:
        """This process is a fork of the one that it belongs to; no other thread runs."""
        ...

    def finish(self) -> None:
        """The interpreter ends; daemon threads still run. Must come to an end and never raise."""
        ...


class Below(Protocol):
    """What an engine stands on: processes of this machine, a port-forward."""

    def stop(self) -> None:
        """End it; idempotent."""


_open: weakref.WeakValueDictionary[int, Mortal] = weakref.WeakValueDictionary()
"""In order of registration, which is the reverse of the order in which they are finished."""
_numbers = iter(range(1 << 62))


def register(mortal: Mortal) -> None:
    """Tell it of forks and of the exit for as long as it lives."""
    _open[next(_numbers)] = mortal


def is_interrupted() -> bool:
    """Whether it is Ctrl-C that ends this program. At a prompt one ends what was typed, and the program goes on."""
    return getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")


def abandon(engine: Engine, below: Below | None) -> None:
    """What is left to do when a client was not shut down: let its tasks end, then what it stands on."""
    if below is None:
        engine.shutdown(wait=False, cancel_futures=False)
        return

    def finish() -> None:
        engine.shutdown(wait=True, cancel_futures=False)
        below.stop()

    threading.Thread(target=finish, name="blockyard-farewell", daemon=True).start()


def _in_child() -> None:
    for mortal in list(_open.values()):
        mortal.disown()
    _open.clear()


def _at_exit() -> None:
    for mortal in reversed(list(_open.values())):
        mortal.finish()


os.register_at_fork(after_in_child=_in_child)
atexit.register(_at_exit)
