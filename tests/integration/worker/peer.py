"""The other end of a real manager: a router that speaks the interchange's side of the wire, and nothing more.

It records nothing and decides nothing; a test says what to send and waits for what comes back. Waiting has a deadline,
and a time-out says what was last seen.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blockyard.payload import dump_call, dump_function, function_id, load_error, load_value, packed_bytes
from blockyard.transport import Context, Gate, KeyPair, Poller, Router
from blockyard.wire import codec
from blockyard.wire.manager import (
    Assign,
    AssignGroup,
    Beat,
    FromManager,
    Functions,
    Heartbeat,
    Join,
    Joined,
    Leave,
    NotJoined,
    Outcomes,
    Recorded,
    Returned,
    ToManager,
    Wanted,
)
from blockyard.wire.records import Assigned, Body, Function, Lease, Need, Outcome, Status, TaskSpec
from tests.integration.processes import WITHIN
from tests.machine import import_path

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass
class Peer:
    """An interchange with one manager."""

    folder: Path
    heartbeat: float = 1.0
    """Seconds. A manager that heard nothing for three of them joins anew and says again what was not recorded: much
    shorter, and a busy machine brings that about in tests of something else."""
    joins: list[Join] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    history: list[Outcome] = field(default_factory=list)
    returned: list[Lease] = field(default_factory=list)
    heartbeats: list[Heartbeat] = field(default_factory=list)
    left: str | None = None
    records: bool = True
    """Whether outcomes are answered by `Recorded`."""
    dropped: list[Lease] = field(default_factory=list)
    blobs: str = ""
    answers: bool = True
    """Whether anything is said at all."""
    greeting: ToManager | None = None
    """Said instead of `Joined`."""

    def __post_init__(self) -> None:
        self.keys = KeyPair.new()
        self.manager_keys = KeyPair.new()
        self.key_file = self.folder / "pool.key"
        self.manager_keys.save(self.key_file)
        self.functions: dict[bytes, Function] = {}
        self.sent_functions: set[bytes] = set()
        self.manager: bytes | None = None
        self.processes: list[subprocess.Popen[bytes]] = []
        self.endpoint = "tcp://127.0.0.1:*"
        self.open()

    def open(self) -> None:
        """Bind; after `close` at the same place again, as a restarted interchange does."""
        self.context = Context()
        self.gate = Gate(self.context)
        self.gate.allow("managers", {self.manager_keys.public: "pool"})
        self.router = Router(self.context, self.endpoint, keys=self.keys, domain="managers")
        self.endpoint = self.router.endpoint
        self.poller = Poller()
        self.poller.register(self.gate)
        self.poller.register(self.router)
        self.manager = None
        self.sent_functions.clear()

    def rotate(self) -> None:
        """Have another pair, as the settings say from now on."""
        self.keys = KeyPair.new()
        self.name_server_key(self.keys)
        self.close()
        self.open()

    def name_server_key(self, keys: KeyPair) -> None:
        """Name a key of the interchange's in the settings of the managers that were started last."""
        path = self.folder / "settings.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"server_key": keys.public.decode()}))

    def close(self) -> None:
        """Be gone."""
        self.router.close()
        self.gate.close()
        self.context.close()

    def start(self, pass_fds: Sequence[int] = (), **settings: Any) -> subprocess.Popen[bytes]:
        """Start a manager; keywords are its settings."""
        given = {
            "endpoint": self.endpoint,
            "server_key": self.keys.public.decode(),
            "key_file": str(self.key_file),
            "workers": 2,
            "supervisor": os.getpid(),
            **settings,
        }
        path = self.folder / "settings.json"
        path.write_text(json.dumps(given))
        block = settings.get("block", f"b-{os.getpid()}-{self.folder.name}")
        command = [sys.executable, "-m", "blockyard_worker", "--settings", str(path), "--block", block]
        # The tasks are functions of this package, which the workers must be able to import from wherever this runs.
        environment = os.environ | {"PYTHONPATH": import_path()}
        process = subprocess.Popen(command, pass_fds=pass_fds, env=environment)
        self.processes.append(process)
        return process

    # --- sending

    def send(self, message: ToManager) -> None:
        """Send one message to the manager, which must have joined."""
        assert self.manager is not None, "no manager has joined"
        assert self.router.send(self.manager, codec.encode(message)), "the manager is gone"

    def _answer(self, message: ToManager) -> None:
        """The same to one that has said something: if it could start no worker, it may have gone since."""
        assert self.manager is not None
        self.router.send(self.manager, codec.encode(message))

    def function(self, function: Callable[..., Any]) -> bytes:
        """Register a function; return its id."""
        body = dump_function(function)
        name = function_id(body)
        self.functions[name] = Function(name, getattr(function, "__qualname__", "?"), body, PYTHON)
        return name

    def assign(
        self,
        function: Callable[..., Any],
        calls: list[tuple[Any, ...]],
        first: int = 1,
        epoch: int = 1,
        needs: dict[int, list[Need]] | None = None,
        **spec: Any,
    ) -> list[int]:
        """Send one group of tries; return their tasks."""
        return self.assign_spec(
            TaskSpec(self.function(function), **spec),
            [packed_bytes(dump_call(call, {})[0]) for call in calls],
            first,
            epoch,
            needs or {},
        )

    def assign_spec(
        self, spec: TaskSpec, bodies: Sequence[Body], first: int, epoch: int, needs: dict[int, list[Need]]
    ) -> list[int]:
        """Send tries with bodies as they are."""
        if spec.function not in self.sent_functions and spec.function in self.functions:
            self.sent_functions.add(spec.function)
            self.send(Functions([self.functions[spec.function]]))
        tasks = list(range(first, first + len(bodies)))
        self.send(
            Assign(
                [
                    AssignGroup(
                        spec,
                        [
                            Assigned(task, epoch, body, needs.get(task, []))
                            for task, body in zip(tasks, bodies, strict=True)
                        ],
                    )
                ]
            )
        )
        return tasks

    # --- waiting

    def step(self, timeout: float) -> None:
        """Handle what comes within `timeout` seconds, at most one batch."""
        self.poller.poll(timeout)
        self.gate.answer()
        while (received := self.router.receive()) is not None:
            peer, _, frame = received
            self._handle(peer, codec.from_manager.decode(frame))

    def wait(self, condition: Callable[[], object], what: str, patience: float = WITHIN) -> None:
        """Handle messages until the condition holds."""
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {patience} s for {what}; last seen: {self.seen()}")
            self.step(0.05)

    def wait_joined(self) -> None:
        """Until the manager has joined."""
        self.wait(lambda: self.manager is not None, "a manager to join")

    def wait_for(self, tasks: list[int], patience: float = WITHIN) -> list[Outcome]:
        """Until all these tasks have outcomes."""
        self.wait(lambda: all(task in self.outcomes for task in tasks), f"outcomes of {tasks[:5]}…", patience)
        return [self.outcomes[task] for task in tasks]

    def wait_running(self, task: int) -> None:
        """Until a heartbeat says that a task runs."""
        self.wait(
            lambda: any(r.task == task for r in self.heartbeats[-1].running) if self.heartbeats else False,
            f"{task} to run",
        )

    def seen(self) -> str:
        """For messages of failing tests."""
        last = self.heartbeats[-1] if self.heartbeats else None
        counts = f"{len(self.outcomes)} outcomes, {len(self.returned)} returned, {len(self.joins)} joins"
        return f"{counts}, left {self.left}, {last}"

    def _handle(self, peer: bytes, message: FromManager) -> None:
        if isinstance(message, Join):
            self.joins.append(message)
            self.manager = peer if self.answers else None
            if self.answers:
                self._answer(self.greeting or Joined(1, self.heartbeat, blobs=self.blobs, dropped=self.dropped))
        elif not self.answers:
            return
        elif self.manager != peer:
            self.router.send(peer, codec.encode(NotJoined()))
        elif isinstance(message, Outcomes):
            self.history += message.outcomes
            self.outcomes.update((outcome.task, outcome) for outcome in message.outcomes)
            if self.records:
                self._answer(Recorded(message.number))
        elif isinstance(message, Returned):
            self.returned += message.leases
        elif isinstance(message, Heartbeat):
            self.heartbeats.append(message)
            self._answer(Beat())
        elif isinstance(message, Wanted):
            self.send(Functions([self.functions[name] for name in message.functions]))
        elif isinstance(message, Leave):
            self.left = message.reason


def values(outcomes: list[Outcome]) -> list[Any]:
    """The results; an outcome that is none raises its error."""
    found = []
    for outcome in outcomes:
        assert isinstance(outcome.body, bytes)
        if outcome.status is Status.RAISED:
            raise load_error(outcome.body)
        assert outcome.status is Status.DONE, outcome
        found.append(load_value(outcome.body))
    return found


def marked_processes(block: str) -> list[int]:
    """All processes that carry a block's mark, zombies apart."""
    return list(_marked(block))


def _marked(block: str) -> Iterator[int]:
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                marked = f"BLOCKYARD_BLOCK={block}".encode() in file.read().split(b"\0")
        except OSError:
            continue
        if marked:
            yield int(name)


def kill_at_once(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL and reap."""
    process.send_signal(signal.SIGKILL)
    process.wait()
