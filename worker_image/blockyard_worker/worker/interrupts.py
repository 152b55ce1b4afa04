"""Signals by which the manager reaches a worker while user code runs in it.

`CANCEL` raises `Cancelled` in the task at its next bytecode, if the page says that this very try is meant.
`FLUSH` sends the outcomes that wait for company, because the try that runs takes longer than was thought.
`HOLD` stops the managed tasks of the try, or lets them go on, as the page says.
They do nothing unless user code runs, so they cannot hit the worker's own bookkeeping. Real-time signals are used,
since programs use SIGUSR1 and SIGUSR2 themselves. Native code that never returns to Python is not reached: then the
manager ends the process.
"""

import signal
from collections.abc import Callable
from types import FrameType

from blockyard.errors import Cancelled
from blockyard_worker.page import Page

CANCEL = signal.SIGRTMIN + 5
FLUSH = signal.SIGRTMIN + 6
HOLD = signal.SIGRTMIN + 7


class Gate:
    """Whether user code runs, and thus may be interrupted."""

    __slots__ = ("is_open",)

    def __init__(self) -> None:
        self.is_open = False


def install(gate: Gate, page: Page, flush: Callable[[], None], obey: Callable[[], None]) -> None:
    """Set the handlers; SIGINT is ignored, because a client's Ctrl-C reaches all processes of its terminal."""

    def cancel(_signal: int, _frame: FrameType | None) -> None:
        if gate.is_open and page.is_target():
            gate.is_open = False
            raise Cancelled

    def between(act: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
        def handle(_signal: int, _frame: FrameType | None) -> None:
            if gate.is_open:
                gate.is_open = False
                act()
                gate.is_open = True

        return handle

    signal.signal(CANCEL, cancel)
    signal.signal(FLUSH, between(flush))
    signal.signal(HOLD, between(obey))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
