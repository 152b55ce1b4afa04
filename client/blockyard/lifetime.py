"""What becomes of open clients when their process forks, and when its interpreter ends.

In a forked child none of a client's threads exists and its sockets belong to the parent, so the child disowns what it
inherited: it stops nothing, removes nothing, and says what is wrong when it is asked. At the interpreter's exit, what
was submitted is finished first, as with the executors of the standard library; not after Ctrl-C, by which somebody said
that it shall end. What either means is each part's own business (`Mortal`).
"""

import atexit
import os
import sys
import weakref
from typing import Protocol


class Mortal(Protocol):
    """Something that must hear of both."""

    def disown(self) -> None:
        """This process is a fork of the one that it belongs to; no other thread runs."""
        ...

    def finish(self) -> None:
        """The interpreter ends; daemon threads still run. Must come to an end and never raise."""
        ...


_open: "weakref.WeakValueDictionary[int, Mortal]" = weakref.WeakValueDictionary()
"""In order of registration, which is the reverse of the order in which they are finished."""
_numbers = iter(range(1 << 62))


def register(mortal: Mortal) -> None:
    """Tell it of forks and of the exit for as long as it lives."""
    _open[next(_numbers)] = mortal


def is_interrupted() -> bool:
    """Whether it is Ctrl-C that ends this program. At a prompt one ends what was typed, and the program goes on."""
    return getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")


def _in_child() -> None:
    for mortal in list(_open.values()):
        mortal.disown()
    _open.clear()


def _at_exit() -> None:
    for mortal in reversed(list(_open.values())):
        mortal.finish()


os.register_at_fork(after_in_child=_in_child)
atexit.register(_at_exit)
