"""Futures in each of their states, of the standard library's class and of ours."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from blockyard.futures import FutureHome, TaskFuture

LONG = 30.0
"""Longer than anything here takes; nothing waits for it to pass."""

Make = Callable[[], "Future[Any]"]


def one_home() -> Make:
    home = FutureHome(cancels_running=False)
    return lambda: TaskFuture(home, 1)


def own_homes() -> Make:
    return lambda: TaskFuture(FutureHome(cancels_running=False), 1)


def pending(make: Make) -> "Future[Any]":
    return make()


def running(make: Make) -> "Future[Any]":
    future = make()
    assert future.set_running_or_notify_cancel()
    return future


def cancelled(make: Make) -> "Future[Any]":
    future = make()
    assert future.cancel()
    future.set_running_or_notify_cancel()
    return future


def returned(make: Make, value: object = 42) -> "Future[Any]":
    future = running(make)
    future.set_result(value)
    return future


def raised(make: Make) -> "Future[Any]":
    future = running(make)
    future.set_exception(OSError("broken"))
    return future


def soon(act: Callable[[], object]) -> threading.Thread:
    """Do something in another thread, about when this one begins to wait."""
    thread = threading.Thread(target=act)
    thread.start()
    return thread
