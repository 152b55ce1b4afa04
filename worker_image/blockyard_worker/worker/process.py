"""Sets a freshly forked process up as a worker, runs it, and ends it without running the template's exit code."""

import atexit
import faulthandler
import gc
import importlib
import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from blockyard import this_try
from blockyard.payload import load_function
from blockyard_worker import linux, pipe, strays
from blockyard_worker.births import Spawn, WorkerConfiguration
from blockyard_worker.page import Page
from blockyard_worker.records import Ready, Unfit
from blockyard_worker.tokens import Tokens
from blockyard_worker.worker import bound, interrupts
from blockyard_worker.worker.capture import Capture
from blockyard_worker.worker.loop import Worker


def main(configuration: WorkerConfiguration, manager: int, spawn: Spawn, descriptors: Sequence[int]) -> None:
    """Be the worker that the manager asked for. `descriptors`: socket, tokens, page, output. Never returns."""
    code = 1
    try:
        linux.die_with_parent(manager)
        os.setsid()
        if spawn.cores:
            os.sched_setaffinity(0, spawn.cores)
        os.environ.update({strays.WORKER_VARIABLE: str(spawn.number), **spawn.environment})
        link, tokens, shared, output = descriptors
        worker = _make(
            socket.socket(fileno=link), Tokens(tokens), Page(shared), Capture(output, spawn.nonce), configuration
        )
        os.close(shared)
        code = 0 if worker is not None and _serve(worker) else 1
    except BaseException:  # noqa: BLE001 - the rim of the process: say why in the output, which the manager keeps
        traceback.print_exc()
    finally:
        os._exit(code)


def _make(
    link: socket.socket, tokens: Tokens, page: Page, capture: Capture, configuration: WorkerConfiguration
) -> Worker | None:
    gate = interrupts.Gate()
    worker = Worker(link, tokens, page, capture, gate, configuration.flush_period)
    if configuration.measures:
        from blockyard_worker.worker.usage import Usage  # costs nothing to those who do not measure

        worker.usage = Usage()
    this_try.around, this_try.on_grace = worker, page.set_grace
    interrupts.install(gate, page, worker.flush, worker.obey)
    os.register_at_fork(after_in_child=worker.after_fork)
    faulthandler.enable()
    if configuration.worker_init:
        try:
            bound.call(_find_initializer(configuration.worker_init))
        except BaseException as error:  # noqa: BLE001 - user code; the manager decides what a failure means
            trace = "".join(traceback.format_exception(error))
            link.sendall(pipe.frame(Unfit(f"worker_init failed: {type(error).__qualname__}: {error}\n{trace[-4000:]}")))
            return None
        capture.keep()
    gc.collect()
    gc.freeze()
    link.sendall(pipe.frame(Ready(os.getpid())))
    return worker


def _find_initializer(where: str) -> Callable[[], object]:
    """A pickled function in a file, or one by its reference: 'package.module:function'."""
    module, colon, name = where.partition(":")
    if not colon or Path(where).exists():
        return load_function(Path(where).read_bytes())
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    function: Callable[[], object] = found
    return function


def _serve(worker: Worker) -> bool:
    worker.serve()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    return True
