"""A run of many tests tells, while it lasts, what failed and what it is at; a failed test's end is limited like any's.

A pytest plugin. A CI machine that loses patience ends the run with SIGTERM, and pytest tells what failed only when it
is through: without this, such a run has told nothing. What each test waits for is its own business.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from types import FrameType

import pytest
import pytest_timeout

EVERY = 120.0
"""Seconds between two accounts of what runs."""


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Telling(), "telling-of-this-run")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Set anew the timer that a failure has cancelled, to the run's own limit.

    pytest-timeout stops it at an exception, for somebody who debugs there; a fixture that then never ended has held a
    whole run.
    """
    limit = pytest_timeout.get_env_settings(item.config)
    if getattr(item, "has_failed", False) and limit.timeout:
        item.config.hook.pytest_timeout_set_timer(item=item, settings=limit)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.has_failed = True  # type: ignore[attr-defined]
    return report


class Telling:
    """The account of one run, in the process that has the terminal."""

    def __init__(self) -> None:
        self._out = os.dup(sys.stdout.fileno())  # while a test runs alone, the first one is captured
        self._began = time.monotonic()
        self._running: dict[str, float] = {}
        self._ended = 0
        self._over = threading.Event()

    def pytest_sessionstart(self) -> None:
        signal.signal(signal.SIGTERM, self._terminated)
        threading.Thread(target=self._now_and_then, daemon=True).start()

    def pytest_sessionfinish(self) -> None:
        self._over.set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._running.pop(nodeid, None)
        self._ended += 1

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            words = str(getattr(getattr(report.longrepr, "reprcrash", None), "message", report.longrepr)).strip()
            first = words.splitlines()[0] if words else "no words"
            self._say(f"{report.nodeid} failed in its {report.when} after {report.duration:.0f} s: {first[:300]}")

    def _now_and_then(self) -> None:
        while not self._over.wait(EVERY):
            self._say(self._account())

    def _account(self) -> str:
        now = time.monotonic()
        running = ", ".join(f"{nodeid} ({now - began:.0f} s)" for nodeid, began in list(self._running.items()))
        return f"{self._ended} tests after {now - self._began:.0f} s; running: {running or 'none'}"

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        self._say(f"terminated, {self._account()}")
        pytest.exit("terminated", returncode=128 + number)

    def _say(self, words: str) -> None:
        os.write(self._out, f"\n[run] {words}\n".encode())
