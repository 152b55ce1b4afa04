"""A keeper for functions: a Python that has imported what they need, and is forked for each.

``python -m blockyard.managed.fork_server CONTROL MODULE…``, a program of its own beside the executor: small, with one
thread, and without anything of the executor's memory, so that a function finds what it would find in an interpreter
started for it, only sooner. Each task is a fork; what it does to its memory ends with it. What a task is told (its
environment, parameters, function) is read by that fork alone, so nothing of one task is in the memory of the next.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping, MutableMapping
from functools import partial
from typing import Any, NoReturn

from blockyard.managed import keeper
from blockyard.managed.shim import blockyard_shim


def main(arguments: list[str]) -> None:
    """Keep whatever comes. Ends at once when the modules leave it unfit to be forked."""
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    keeper.end_with_parent(signal.SIGKILL)
    modules = arguments[1:]
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException:  # noqa: BLE001 - the rim: user code; the task that imports it says what is wrong
            continue
    if threading.active_count() > 1 or keeper.descendants(os.getpid()):
        keeper.end_all(lambda _: None)
        os._exit(1)
    del sys.argv[1:]
    sys.modules["blockyard_shim"] = blockyard_shim
    os.chdir("/")  # nobody's folder is held
    _rehearse()  # what Python makes when something is first used need not be made in each fork
    gc.collect()
    gc.freeze()
    keeping = keeper.Keeping(control, keeper.handled())
    if modules:
        keeping.say_ready()
    forks = Forks(keeping)
    keeping.serve(forks.start, forks.prepare)


class Forks:
    """Forks of this process, always one ahead: that waits for its task, so that no task waits for a fork."""

    def __init__(self, keeping: keeper.Keeping) -> None:
        self._keeping = keeping
        self._next: tuple[int, socket.socket] | None = None

    def prepare(self) -> None:
        """Fork the next one. If there can be no new process, who needs one is told."""
        with contextlib.suppress(OSError):
            self._next = self._fork()

    def start(self, received: list[int]) -> int:
        """Give it what it waits for; returns its pid. Raises OSError when there can be no new process."""
        while True:
            pid, link = self._next or self._fork()
            self._next = None
            with link, contextlib.suppress(ConnectionError):  # somebody has killed it
                socket.send_fds(link, [keeper.PLAN], received)
                return pid

    def _fork(self) -> tuple[int, socket.socket]:
        own = os.getpid()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    ours.close()
                    self._keeping.leave()
                    code = _wait_and_run(own, theirs)
                except BaseException:  # noqa: BLE001 - the rim of the process
                    traceback.print_exc()
                finally:
                    os._exit(code)
        return pid, ours


def _wait_and_run(server: int, link: socket.socket) -> int:
    """Be the main process of the plan that comes; returns its exit code."""
    keeper.become_main(server)
    gc.enable()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _rehearse()
    with link:
        received = keeper.receive(link)[1]
    if not received:
        return 0
    signal.signal(signal.SIGTERM, _leave)
    with open(received[0], "rb") as file:
        told, _, packed = file.read().partition(b"\n")
    plan: dict[str, Any] = json.loads(told)
    keeper.take_places(plan, received[1:])
    _become(os.environ, plan["env"])
    if path := plan["env"].get("PYTHONPATH"):
        sys.path[:] = path.split(os.pathsep)
    name = plan["function"]
    code = blockyard_shim.load_and_perform(name or plan["argv"][0], partial(_loaded, name, packed), plan["parameters"])
    threading._shutdown()  # type: ignore[attr-defined]  # as at the end of an interpreter
    atexit._run_exitfuncs()
    return code


def _rehearse() -> None:
    """Write to what a task will write to: the first time in a forked process, each page costs a fault and a copy."""
    read, write = os.pipe()
    _become(os.environ, json.loads(json.dumps(dict(os.environ))))
    blockyard_shim._reporter = blockyard_shim.Reporter(f"pipe:{write},{read}")
    blockyard_shim.load_and_perform("", lambda: _nothing, {})
    blockyard_shim._reporter.close()
    blockyard_shim._reporter = None


def _nothing() -> None: ...


def _loaded(name: str, packed: bytes) -> Any:
    if name:
        return blockyard_shim.load(name)
    from blockyard.payload import load_function  # for what goes by value alone

    return load_function(packed)


def _become(environment: MutableMapping[str, str], wanted: Mapping[str, str]) -> None:
    """Change what differs: a forked process pays for each page that it writes to."""
    for name in environment.keys() - wanted.keys():
        del environment[name]
    for name, value in wanted.items():
        if environment.get(name) != value:
            environment[name] = value


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)  # so that what the function holds is let go in good order


if __name__ == "__main__":
    main(sys.argv[1:])
