"""The manager's program, from its settings to its exit code: puts the parts together, and takes them apart."""

from __future__ import annotations

import gc
import logging
import os
import platform
import secrets
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from blockyard import nearness
from blockyard.errors import BlockyardError, ConfigError
from blockyard_worker import linux
from blockyard_worker.births import Configuration, WorkerConfiguration
from blockyard_worker.exits import ExitCode
from blockyard_worker.launch import Launched
from blockyard_worker.settings import (
    Settings,
    accelerators_of,
    default_cores,
    default_memory_bytes,
    read_settings,
)
from blockyard_worker.shell.nursery import Nursery

if TYPE_CHECKING:
    from blockyard.transport import KeyPair
    from blockyard_worker.core.state import Policy
    from blockyard_worker.shell.report import Report

GOODBYE_SECONDS = 2.0

log = logging.getLogger("blockyard_worker")


def main(launched: Launched | None) -> int:
    """Run a manager from start to end; return the exit code. `launched`: the template, if it was started already."""
    try:
        settings = read_settings(sys.argv[1:], os.environ)
        accelerators = accelerators_of(settings, os.environ)
    except ConfigError as error:
        sys.stderr.write(f"blockyard_worker: {error}\n")
        return ExitCode.CONFIG
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    supervisor = _watch(settings.supervisor)
    if settings.supervisor and supervisor is None:
        sys.stderr.write(f"blockyard_worker: the supervisor, process {settings.supervisor}, is gone\n")
        return ExitCode.ORPHAN
    linux.become_subreaper()
    wakeup = _listen_for_signals(settings)
    configuration = Configuration(
        os.getpid(),
        settings.preload,
        WorkerConfiguration(settings.flush_period, settings.worker_init, bool(settings.radio_file)),
    )
    nursery = Nursery(configuration, settings.block, launched)
    linux.give_way()
    gc.set_threshold(100_000, 20, 100)  # what it holds has no cycles; looking for some in 10^5 tries costs milliseconds
    try:
        return _serve(settings, accelerators, nursery, (wakeup, supervisor))
    except BlockyardError as error:
        sys.stderr.write(f"blockyard_worker: {error}\n")
        return ExitCode.KEY


def _serve(settings: Settings, accelerators: tuple[str, ...], nursery: Nursery, watched: tuple[int, int | None]) -> int:
    from blockyard.transport import Context, Dealer
    from blockyard_worker import strays
    from blockyard_worker.core.manager import Manager
    from blockyard_worker.shell.loop import Loop
    from blockyard_worker.shell.server_key import ServerKey
    from blockyard_worker.shell.trees import Trees, reaped

    trees = Trees(strays.manager_mark(os.getpid()))
    old = strays.end_all(strays.of_block(settings.block))
    if old:
        log.warning("ended %d processes left by an earlier manager of block %s", old, settings.block)
    context = Context()
    try:
        keys = _read_keys(settings)
        linux.hide_from_ptrace()  # the key is in memory now
        dealer = Dealer(context, settings.endpoint, server_key=settings.server_key.encode(), keys=keys)
        policy = _policy(settings, accelerators)
        server_key = ServerKey(settings.server_key.encode(), _named_server_key)
        loop = Loop(Manager(policy), settings, dealer, nursery, trees, server_key)
        report = _report(settings, policy)
        if report is not None:
            loop.report_by(report)
        ended = loop.run(*watched)
        loop.say_goodbye(GOODBYE_SECONDS)
        if report is not None:
            report.close()
        dealer.close(linger=GOODBYE_SECONDS)
        log.info("leaving: %s", ended.reason, extra={"action": "leave"})
        return ended.code
    finally:
        nursery.close()
        trees.end_everything(lambda: list(reaped()))
        context.close()


def _report(settings: Settings, policy: Policy) -> Report | None:
    if not settings.radio_file:
        return None
    from blockyard_worker.shell.report import Report  # costs nothing to those who are not monitored

    return Report(settings.radio_file, settings.sample_seconds, policy)


def _watch(supervisor: int) -> int | None:
    """A pidfd of the process that this one must not outlive; None when there is none, or it is gone."""
    if not supervisor:
        return None
    if os.getppid() == supervisor:
        linux.die_with_parent(supervisor)  # holds even when this process hangs
    try:
        return os.pidfd_open(supervisor)
    except ProcessLookupError:
        return None


def _listen_for_signals(settings: Settings) -> int:
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    # A supervisor's terminal sends Ctrl-C to all its processes; it decides itself what that means for its blocks.
    signal.signal(signal.SIGINT, signal.SIG_IGN if settings.supervisor else lambda *_: None)
    return read


def _read_keys(settings: Settings) -> KeyPair:
    from blockyard.transport import KeyPair

    if settings.key_file:
        return KeyPair.load(Path(settings.key_file))
    try:
        return KeyPair.load(Path(f"/proc/self/fd/{settings.key_fd}"))
    finally:
        os.close(settings.key_fd)


def _named_server_key() -> bytes:
    """The interchange's key as the settings name it now: a file, which may be a Secret's, may say another one."""
    return read_settings(sys.argv[1:], os.environ).server_key.encode()


def _policy(settings: Settings, accelerators: tuple[str, ...]) -> Policy:
    from blockyard_worker.core.state import Policy
    from blockyard_worker.core.tries import Capacity

    cores = settings.cores or default_cores()
    capacity = Capacity(
        workers=settings.workers or max(1, int(cores)),
        cores=cores,
        memory_bytes=settings.memory_bytes or default_memory_bytes(),
        accelerators=len(accelerators),
    )
    return Policy(
        manager=secrets.token_hex(8),
        pool=settings.pool,
        block=settings.block,
        node=settings.node or socket.gethostname(),
        address=settings.address or socket.gethostname(),
        python=".".join(platform.python_version_tuple()[:2]),
        pid=os.getpid(),
        index=settings.index,
        near=nearness.read(Path(settings.blob_near)) if settings.blob_near else b"",
        capacity=capacity,
        accelerator_variable=settings.accelerator_variable,
        accelerator_names=accelerators,
        max_tasks_per_worker=settings.max_tasks_per_worker,
        drain_grace=settings.drain_grace,
        stop_grace=settings.stop_grace,
        chunk_seconds=settings.chunk_seconds,
        ends_at=time.monotonic() + settings.walltime if settings.walltime else 0.0,
    )
