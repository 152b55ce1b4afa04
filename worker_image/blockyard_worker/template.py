"""The template: a bare warm process from which workers are forked, each in a few milliseconds.

It is started by the manager with a fresh program image, so it holds no key, no socket and no thread of the manager's.
It imports what workers need, then forks on request. Workers are forked twice, so that they become children of the
manager (which is a subreaper) and their end is known to it at once.

When its manager is gone, it ends all processes that the manager left behind, and itself: see `strays`.
"""

import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
import time
import traceback

import msgspec

from blockyard_worker import linux, strays
from blockyard_worker.births import DESCRIPTORS, MAX_MESSAGE_BYTES, Born, Broken, Configuration, Spawn, encode
from blockyard_worker.worker import process


def main(descriptor: int) -> None:
    """Serve the manager at the other end of `descriptor`, a SOCK_SEQPACKET socket, until it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    linux.stand_up()  # a later template inherits how the manager gives way, which tasks must not
    manager = socket.socket(fileno=descriptor)
    first = manager.recv(MAX_MESSAGE_BYTES)
    if not first:
        return  # the manager found its settings wrong
    configuration = msgspec.msgpack.decode(first, type=Configuration)
    try:
        for module in configuration.preload:
            importlib.import_module(module)
    except BaseException:  # noqa: BLE001 - a module may raise anything; the manager is told, and decides
        manager.send(encode(Broken(traceback.format_exc(limit=-3))))
        return
    gc.collect()
    gc.freeze()
    while message := _receive(manager):
        _fork_worker(manager, configuration, *message)
    strays.end_all(strays.of_manager(configuration.manager, os.environ[strays.MANAGER_VARIABLE]))


def _receive(manager: socket.socket) -> tuple[Spawn, list[int]] | None:
    try:
        body, descriptors, _, _ = socket.recv_fds(manager, MAX_MESSAGE_BYTES, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:  # it was killed before it read what was said to it
        return None
    return (msgspec.msgpack.decode(body, type=Spawn), descriptors) if body else None


def _fork_worker(manager: socket.socket, configuration: Configuration, spawn: Spawn, descriptors: list[int]) -> None:
    if between := os.fork():
        os.waitpid(between, 0)
        for descriptor in descriptors:
            os.close(descriptor)
        return
    between = os.getpid()
    if born := os.fork():
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the manager is gone
            manager.send(encode(Born(spawn.number, born)))
        os._exit(0)
    manager.close()
    while os.getppid() == between:
        time.sleep(0.0002)  # it ends within microseconds, and only then is the manager our parent
    process.main(configuration.worker, configuration.manager, spawn, descriptors)


if __name__ == "__main__":
    main(int(sys.argv[1]))
