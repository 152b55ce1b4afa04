"""A live view of the running sweep: tasks, blocks, rate and what is left; plain lines where there is no terminal.

It counts through the futures' callbacks and asks for the blocks now and then; it never waits for a task itself.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from examples.sweep.graph import Task

PERIOD = 0.2
PLAIN_PERIOD = 5.0
RATE_WINDOW = 10.0

Blocks = Callable[[], Mapping[str, int]]
"""How many blocks there are in each state, by the state's name."""


class Count:
    """Tasks submitted and tasks done; `done` is called from whichever thread completes a future."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.submitted = 0
        self.finished = 0
        self.everything_in = threading.Event()
        self.all_done = threading.Event()

    def add(self, tasks: list[Task[Any]]) -> None:
        with self.lock:
            self.submitted += len(tasks)
        for task in tasks:
            task.add_done_callback(self.done)

    def close(self) -> None:
        """Say that nothing more is submitted."""
        with self.lock:
            self.everything_in.set()
            self.look()

    def done(self, _: Future[Any]) -> None:
        with self.lock:
            self.finished += 1
            self.look()

    def look(self) -> None:
        if self.everything_in.is_set() and self.finished == self.submitted:
            self.all_done.set()


class Rate:
    """Tasks a second over the last few seconds."""

    def __init__(self, now: float) -> None:
        self.marks = deque([(now, 0)])

    def after(self, now: float, finished: int) -> float:
        self.marks.append((now, finished))
        while len(self.marks) > 2 and self.marks[1][0] < now - RATE_WINDOW:
            self.marks.popleft()
        then, before = self.marks[0]
        return (finished - before) / (now - then) if now > then else 0.0


def spoken(blocks: Mapping[str, int]) -> str:
    """Blocks by state as a phrase: `2 running, 1 scaled in`."""
    return ", ".join(f"{number} {state.lower().replace('_', ' ')}" for state, number in blocks.items()) or "none yet"


def remaining(count: Count, rate: float) -> str:
    left = count.submitted - count.finished
    if not count.everything_in.is_set() or rate <= 0:
        return "?"
    return f"{left / rate:.0f} s"


def until_done(count: Count, blocks: Blocks, console: Console) -> None:
    """Show how it goes until every submitted task has ended, well or not."""
    if console.is_terminal:
        with_a_bar(count, blocks, console)
    else:
        in_lines(count, blocks, console)


def with_a_bar(count: Count, blocks: Blocks, console: Console) -> None:
    rate = Rate(time.monotonic())
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} tasks"),
        TextColumn("[cyan]{task.fields[rate]:,.0f}/s"),
        TextColumn("[green]blocks: {task.fields[blocks]}"),
        TimeElapsedColumn(),
        TextColumn("left {task.fields[left]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=5) as progress:
        bar = progress.add_task("sweep", total=count.submitted, rate=0.0, blocks="none yet", left="?")
        over = False
        while not over:
            over = count.all_done.wait(PERIOD)
            now = rate.after(time.monotonic(), count.finished)
            progress.update(
                bar,
                total=count.submitted,
                completed=count.finished,
                rate=now,
                blocks=spoken(blocks()),
                left=remaining(count, now),
            )


def in_lines(count: Count, blocks: Blocks, console: Console) -> None:
    began = time.monotonic()
    rate = Rate(began)
    over = False
    while not over:
        over = count.all_done.wait(PLAIN_PERIOD)
        now = rate.after(time.monotonic(), count.finished)
        console.print(
            f"{time.monotonic() - began:5.0f} s  {count.finished:,} of {count.submitted:,} tasks  {now:,.0f}/s  "
            f"blocks: {spoken(blocks())}  left {remaining(count, now)}",
            highlight=False,
        )
