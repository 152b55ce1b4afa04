"""Kills processes of the running engine at random, by process id, with SIGKILL: workers, managers, the interchange.

Only descendants of this process are touched, each looked at again right before it is killed. Which and when is left to
chance on purpose; what must not change is the result.
"""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

FIRST_AFTER = 3.0
EVERY = 4.0
ROLES = {"blockyard_interchange": "interchange", "blockyard_worker": "worker side"}


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the engine: its id, its start time in clock ticks (ids are used again), and its role."""

    pid: int
    started: int
    role: str


def processes_of(root: int) -> list[Process]:
    """All processes below `root` that belong to the engine, in no particular order."""
    parents = {pid: (int(fields[1]), int(fields[19])) for pid, fields in every_process()}
    below = {root}
    while more := {pid for pid, (parent, _) in parents.items() if parent in below} - below:
        below |= more
    return [
        Process(pid, parents[pid][1], role) for pid in below - {root} for role in [role_of(pid)] if role is not None
    ]


def every_process() -> Iterator[tuple[int, list[str]]]:
    """Each process with the fields of its stat file from the third on: proc(5)."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = Path(f"/proc/{name}/stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield int(name), text[text.rindex(")") + 2 :].split()


def role_of(pid: int) -> str | None:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next((role for module, role in ROLES.items() if module in line), None)


class Chaos:
    """Kills one process every few seconds between `start` and `stop`, the roles in turn, and tells whom.

    `most` bounds the number of kills; None: no bound.
    """

    def __init__(self, tell: Callable[[str], None], most: int | None = None) -> None:
        self.tell = tell
        self.most = most
        self.kills: Counter[str] = Counter()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, name="chaos", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join()

    def run(self) -> None:
        chance = random.SystemRandom()
        wait = FIRST_AFTER
        turn = 0
        while self.kills.total() != self.most and not self.stopping.wait(wait):
            roles = sorted(set(ROLES.values()))
            self.kill_one(roles[turn % len(roles)], chance)
            turn += 1
            wait = EVERY * chance.uniform(0.5, 1.5)

    def kill_one(self, role: str, chance: random.Random) -> None:
        there = [process for process in processes_of(os.getpid()) if process.role == role]
        if not there:
            return  # it is just being started again
        victim = chance.choice(there)
        if victim in processes_of(os.getpid()):
            os.kill(victim.pid, signal.SIGKILL)
            self.kills[role] += 1
            self.tell(f"killed process {victim.pid} ({role}) with SIGKILL")

    def __str__(self) -> str:
        killed = " and ".join(f"{number} × {role}" for role, number in sorted(self.kills.items()))
        return f"killed meanwhile: {killed or 'nothing, it was over too soon'}"
