"""The manager's end of the template: starts it, asks it for workers, starts another one when it dies."""

import contextlib
import os
import signal
import socket

from blockyard_worker import births
from blockyard_worker.births import Born, Broken, Configuration, Spawn
from blockyard_worker.launch import Launched, launch

MOST_DEATHS = 5
"""Templates that may die in a row without a worker being born."""


class Nursery:
    """One template at a time, and the requests that it has not answered."""

    def __init__(self, configuration: Configuration, block: str, launched: Launched | None) -> None:
        """`launched`: the first template, if it was started already."""
        self._configuration = configuration
        self._block = block
        self._asked: dict[int, tuple[Spawn, list[int]]] = {}
        self._templates: set[int] = set()
        """Pids of those that were not reaped yet."""
        self._deaths = 0
        self._greet(launched or launch(block))

    @property
    def descriptor(self) -> int:
        """For the poller."""
        return self._link.fileno()

    @property
    def pid(self) -> int:
        """The present template's pid."""
        return self._pid

    def ask(self, spawn: Spawn, descriptors: list[int]) -> None:
        """Ask for a worker; the descriptors go to it and are closed here when it is born."""
        self._asked[spawn.number] = (spawn, descriptors)
        self._send(spawn, descriptors)

    def receive(self) -> list[Born | Broken]:
        """What the template said. When it is gone, another one is started and asked for the same."""
        said: list[Born | Broken] = []
        while True:
            try:
                body = self._link.recv(births.MAX_MESSAGE_BYTES)
            except BlockingIOError:
                return said
            except ConnectionResetError:
                continue  # it ended without reading all requests; what it said before comes next
            if not body:
                if not said:
                    self._restart()
                return said
            reply = births.replies.decode(body)
            if isinstance(reply, Born):
                self._deaths = 0
                self.forget(reply.number)
            said.append(reply)

    def forget(self, number: int) -> None:
        """Worker `number` lives: let go of what was kept for it."""
        for descriptor in self._asked.pop(number, (None, []))[1]:
            os.close(descriptor)

    def is_waiting(self) -> bool:
        """Whether workers were asked for that are not born."""
        return bool(self._asked)

    def owns(self, pid: int) -> bool:
        """Whether this is a template, the present one or one that was not reaped yet."""
        return pid in self._templates

    def on_exit(self, pid: int, status: int) -> str:
        """A template was reaped. Returns why there is no use in starting others, '' while there is.

        One that was killed from outside says nothing about the next one.
        """
        self._templates.discard(pid)
        code = os.waitstatus_to_exitcode(status)
        if code in (-signal.SIGKILL, -signal.SIGTERM):
            return ""
        self._deaths += 1
        if self._deaths <= MOST_DEATHS:
            return ""
        return f"the process from which workers are forked died {self._deaths} times in a row, last with {code}"

    def close(self) -> None:
        """Let the template end; it does so when it sees that the link is closed."""
        self._link.close()

    def _greet(self, launched: Launched) -> None:
        self._pid, self._link = launched
        self._templates.add(self._pid)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # see `_send`
            self._link.send(births.encode(self._configuration))

    def _restart(self) -> None:
        self._link.close()
        self._greet(launch(self._block))
        for spawn, descriptors in self._asked.values():
            self._send(spawn, descriptors)

    def _send(self, spawn: Spawn, descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._link, [births.encode(spawn)], descriptors)
        except (BrokenPipeError, ConnectionResetError):
            return  # its end shows in `receive`, which asks the next template


def share_of_cores(place: int, places: int) -> list[int]:
    """The cores for one of so many workers: equal shares, or one each when there are more workers than cores."""
    cores = sorted(os.sched_getaffinity(0))
    if places >= len(cores):
        return [cores[place % len(cores)]]
    first, end = place * len(cores) // places, (place + 1) * len(cores) // places
    return cores[first:end]
