"""One thread that starts processes, notices their end at once, and keeps appointments.

Ends are pushed by the kernel (a pidfd becomes readable), so nothing is polled. All processes are started by this
thread and by no other, because PR_SET_PDEATHSIG means the thread that forked: a child started by a short-lived thread
would be killed with it. Programs are started by `subprocess` without `preexec_fn`, which is not safe among threads.

What an end means is left to the channel that asked.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import selectors
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import TypeVar

from blockyard.blocks.faults import ChannelError

log = logging.getLogger(__name__)

T = TypeVar("T")
Callback = Callable[[], None]


class Appointment:
    """A callback that is due at an instant; `cancel` makes it never happen."""

    __slots__ = ("callback", "due")

    def __init__(self, due: float, callback: Callback) -> None:
        self.due = due
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class ProcessWatch:
    """The thread and its selector. `start` and `stop` may be called twice; a stopped watch stays stopped."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: deque[Callback] = deque()
        self._appointments: list[tuple[float, int, Appointment]] = []
        self._order = count()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._pidfds: set[int] = set()
        self._wake = -1

    def start(self) -> None:
        """Start the thread."""
        with self._lock:
            if self._stopping:
                raise ChannelError(f"{self._name} was stopped; make a new one")
            if self._thread is None:
                self._selector = selectors.DefaultSelector()
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                self._selector.register(self._wake, selectors.EVENT_READ, None)
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread. Children bound to it by PR_SET_PDEATHSIG die; end them first where that is not wanted."""
        with self._lock:
            thread, first = self._thread, not self._stopping
            self._stopping = True
            if thread is not None and first:
                self._poke()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the watch's thread and return what it returns, or raise what it raises."""
        if threading.current_thread() is self._thread:
            return function()
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(function())
            except BaseException as error:  # noqa: BLE001 - handed to the caller, whose fault it is
                answer.set_exception(error)

        self.soon(run)
        return answer.result()

    def soon(self, callback: Callback) -> None:
        """Run `callback` on the watch's thread as soon as possible, in the order of the calls."""
        with self._lock:
            if self._thread is None or self._stopping:
                raise ChannelError(f"{self._name} does not run; open the channel first, and do not use it once closed")
            if not self._thread.is_alive():
                raise ChannelError(f"{self._name} does not run in this process: it was forked; make a new one here")
            self._calls.append(callback)
            self._poke()

    def later(self, delay: float, callback: Callback) -> Appointment:
        """Run `callback` on the watch's thread in `delay` seconds, unless it is cancelled before."""
        appointment = Appointment(time.monotonic() + delay, callback)
        self.soon(lambda: heapq.heappush(self._appointments, (appointment.due, next(self._order), appointment)))
        return appointment

    def on_exit(self, process: subprocess.Popen[bytes], callback: Callback) -> None:
        """Call back once when `process` has ended; it is not reaped yet then. Only from the watch's thread."""
        pidfd = os.pidfd_open(process.pid)
        self._pidfds.add(pidfd)

        def ended() -> None:
            self._selector.unregister(pidfd)
            self._pidfds.discard(pidfd)
            os.close(pidfd)
            callback()

        self._selector.register(pidfd, selectors.EVENT_READ, ended)

    def on_readable(self, fd: int, callback: Callback) -> None:
        """Call back whenever `fd` can be read, until `forget(fd)`. Only from the watch's thread."""
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def forget(self, fd: int) -> None:
        """Watch `fd` no more. Only from the watch's thread."""
        self._selector.unregister(fd)

    def _poke(self) -> None:
        # Called with the lock held, so that the descriptor cannot have been closed and given away meanwhile.
        with contextlib.suppress(BlockingIOError):  # the counter is full, so the thread is about to wake anyway
            os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while not self._stopping or self._calls:
            for key, _ in self._selector.select(self._timeout()):
                if key.fd == self._wake:
                    os.eventfd_read(self._wake)
                else:
                    self._guarded(key.data)
            while self._calls:
                self._guarded(self._calls.popleft())
            self._keep_appointments(time.monotonic())
        self._selector.close()
        for fd in (*self._pidfds, self._wake):
            os.close(fd)

    def _timeout(self) -> float | None:
        if not self._appointments:
            return None
        return max(0.0, self._appointments[0][0] - time.monotonic())

    def _keep_appointments(self, now: float) -> None:
        while self._appointments and self._appointments[0][0] <= now:
            appointment = heapq.heappop(self._appointments)[2]
            if appointment.callback is not None:
                self._guarded(appointment.callback)

    def _guarded(self, callback: Callback) -> None:
        try:
            callback()
        except Exception:  # the rim of the thread: one faulty callback must not blind the watch for all other blocks
            log.exception("%s: a callback failed; the watch goes on", self._name)
