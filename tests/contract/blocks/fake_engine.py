"""An engine without an interchange: real managers (`fake_manager`) register over a Unix socket, a test sets demand.

It passes `EngineSuite`, like every engine. Calls run at once in the caller's thread, unless `hold` is set: then their
futures wait for ever. All that it is told is kept, and can be waited for with a deadline.
"""

import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from blockyard.blocks.engine import BlockCommand, ResourceSpecification
from blockyard.blocks.scaling import BlockLoad, Demand
from blockyard.blocks.states import JobStatus
from blockyard.blocks.watched import PATIENCE
from blockyard.ids import BlockId, TaskId

MANAGER = Path(__file__).parent / "fake_manager.py"


class FakeEngine:
    """Close it after use. `slots`: how many tasks each manager is said to run at a time."""

    def __init__(self, folder: Path, slots: float = 1.0) -> None:
        self.path = folder / "engine"
        self.slots = slots
        self.hold = False
        self.argv: tuple[str, ...] | None = None
        self.drained: list[tuple[tuple[BlockId, ...], float]] = []
        self.gone: dict[BlockId, JobStatus] = {}
        self._changed = threading.Condition()
        self._links: dict[BlockId, list[tuple[int, socket.socket]]] = {}
        self._since: dict[BlockId, float] = {}
        self._busy: dict[BlockId, float] = {}
        self._queued = 0.0
        self._watchers: list[Callable[[Demand], None]] = []
        self._tasks: dict[TaskId, Future[Any]] = {}
        self._refused: BaseException | None = None
        self._number = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, name="fake-engine", daemon=True)
        self._thread.start()

    # --- what a test does with it ------------------------------------------------------------------------------------

    def close(self) -> None:
        with self._changed:
            self._listener.shutdown(socket.SHUT_RDWR)
            links = [link for members in self._links.values() for _, link in members]
        self._thread.join()
        self._listener.close()
        for link in links:
            link.close()

    def want(self, slots: float) -> None:
        """Let so many slots be wanted by waiting tasks."""
        with self._changed:
            self._queued = slots
            self._push()

    def keep_busy(self, block: BlockId, slots: float) -> None:
        """Let so many slots of a block be taken."""
        with self._changed:
            self._busy[block] = slots
            self._since[block] = time.monotonic()
            self._push()

    def say(self, block: BlockId, line: str) -> None:
        """Send a line to the managers of a block."""
        with self._changed:
            for _, link in self._links[block]:
                link.sendall(f"{line}\n".encode())

    def pids(self, block: BlockId) -> list[int]:
        with self._changed:
            return [pid for pid, _ in self._links.get(block, [])]

    def registered(self) -> list[BlockId]:
        with self._changed:
            return list(self._links)

    def until(self, what: str, true: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait until something is true of what the engine knows; what never comes true is said with what was seen."""
        with self._changed:
            if not self._changed.wait_for(true, patience):
                seen = {"registered": list(self._links), "drained": self.drained, "gone": self.gone}
                raise AssertionError(f"not within {patience:g} s: {what}; seen: {seen}")

    def wait_for_managers(self, count: int) -> list[BlockId]:
        """Wait until blocks, so many, have a manager; return their names, oldest first."""
        self.until(f"{count} blocks with managers", lambda: len(self._links) == count)
        return self.registered()

    def wait_for_end(self, block: BlockId) -> JobStatus:
        self.until(f"the end of {block}", lambda: block in self.gone)
        return self.gone[block]

    # --- the port -----------------------------------------------------------------------------------------------------

    def watch(self, pool: str, on_demand: Callable[[Demand], None]) -> Callable[[], None]:
        with self._changed:
            self._watchers.append(on_demand)
            on_demand(self._demand())

        def stop() -> None:
            with self._changed:
                self._watchers.remove(on_demand)

        return stop

    def block_command(self, pool: str, block: BlockId, walltime: float | None) -> BlockCommand:
        argv = self.argv or (sys.executable, "-S", str(MANAGER), str(self.path))
        return BlockCommand(argv=argv, env={"BLOCKYARD_POOL": pool})

    def drain(self, pool: str, blocks: Sequence[BlockId], grace: float) -> None:
        with self._changed:
            self.drained.append((tuple(blocks), grace))
            for block in blocks:
                if self._busy.get(block, 0.0) == 0.0:
                    for _, link in self._links.get(block, []):
                        link.sendall(b"drain\n")
            self._changed.notify_all()

    def block_gone(self, pool: str, block: BlockId, status: JobStatus) -> None:
        with self._changed:
            self.gone[block] = status
            self._busy.pop(block, None)
            self._changed.notify_all()

    def submit(
        self,
        pool: str,
        func: Callable[..., Any],
        resource_specification: ResourceSpecification,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Future[Any]:
        with self._changed:
            if self._refused is not None:
                raise self._refused
            self._number += 1
            number = TaskId(self._number)
            future: Future[Any] = Future()
            self._tasks[number] = future
        future.add_done_callback(lambda _: self._forget(number))
        if not self.hold and func is not time.sleep:
            self._work(future, func, args, kwargs)
        return future

    def tasks(self, pool: str) -> Mapping[TaskId, Future[Any]]:
        with self._changed:
            return dict(self._tasks)

    def refuse(self, pool: str, error: BaseException) -> None:
        with self._changed:
            self._refused = self._refused or error

    # --- inside -------------------------------------------------------------------------------------------------------

    def _work(
        self, future: Future[Any], func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        future.set_running_or_notify_cancel()
        try:
            future.set_result(func(*args, **kwargs))
        except ValueError as error:
            future.set_exception(error)

    def _forget(self, number: TaskId) -> None:
        with self._changed:
            self._tasks.pop(number, None)

    def _demand(self) -> Demand:
        loads = []
        for block, members in self._links.items():
            busy = self._busy.get(block, 0.0)
            idle_since = None if busy else self._since[block]
            slots = self.slots * len(members)
            loads.append(BlockLoad(block=block, managers=len(members), slots=slots, busy=busy, idle_since=idle_since))
        running = sum(self._busy.get(block, 0.0) for block in self._links)
        return Demand(queued_slots=self._queued, running_slots=running, loads=tuple(loads))

    def _push(self) -> None:
        demand = self._demand()
        for on_demand in self._watchers:
            on_demand(demand)
        self._changed.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(link,), name="fake-engine-link", daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        lines = link.makefile("r")
        name, pid = lines.readline().split()
        block, member = BlockId(name), (int(pid), link)
        with self._changed:
            self._links.setdefault(block, []).append(member)
            self._since.setdefault(block, time.monotonic())
            self._push()
        lines.read()
        lines.close()
        with self._changed:
            self._links[block].remove(member)
            if not self._links[block]:
                del self._links[block]
            self._push()
        link.close()
