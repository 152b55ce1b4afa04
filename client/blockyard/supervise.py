"""``python -m blockyard.supervise FOLDER``: a system that outlives its clients, as ``blockyard local up`` starts it.

It owns the state folder by a lock, runs the interchange and the blocks as `LocalSystem` does, and ends with them on
SIGTERM. When it is killed the kernel ends its children, and the next one in the same folder goes on with the journal.
Who asked for it is told over a pipe, once: `Ready`, or `Failed` with the reason.

Exit codes: 0 ended as asked, 1 the interchange could not be kept running, 2 bad settings, 5 the folder is in use.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from blockyard import monitoring
from blockyard.blocks.pool import LocalPool
from blockyard.blocks.strays import BLOCK_MARK, OWNER_MARK, end_strays
from blockyard.errors import BlockyardError, ConfigError
from blockyard.interchange_process import started_ahead
from blockyard.keyring import DEFAULT_CLIENT, KeyRing
from blockyard.local import START_SECONDS, LocalSystem
from blockyard.pidfile import PidFile, SystemInUse
from blockyard.private_files import write_private
from blockyard.serving import Serving
from blockyard.state_folder import check_sockets, ensure_folder, owner_of, writing
from blockyard.wire import control

_log = logging.getLogger("blockyard.supervise")

SETTINGS_NAME: Final = "system.json"
LOG_NAME: Final = "supervisor.log"
OWN_KEY: Final = "supervisor"
"""Name of the client key that the supervisor itself uses, so that every other one can be revoked."""


class System(msgspec.Struct, frozen=True, kw_only=True):
    """What a system consists of, as it is kept in its state folder. `pools`: tables that `LocalPool.read` reads."""

    name: str
    pools: dict[str, dict[str, Any]]
    metrics: str = ""
    journal: str = ""
    monitoring: str = ""
    """As `monitoring.of_word` reads it."""
    path: tuple[str, ...] = ()
    """Folders added to the end of the workers' module search path."""

    def local_pools(self) -> dict[str, LocalPool]:
        """The pools, checked. Raises ConfigError."""
        return {name: LocalPool.read(table) for name, table in self.pools.items()}


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The system answers. `strays`: what an earlier supervisor had left running and was ended, in words."""

    pid: int
    strays: list[str] = []
    tasks: int = 0
    """Tasks that the journal brought back."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """It does not come up. `pid`: of the supervisor that is there already, when that is why."""

    message: str
    pid: int = 0


def table_of(pool: LocalPool) -> dict[str, Any]:
    """A pool as a table again: what differs from the defaults. Raises ConfigError when it holds a function."""
    default = LocalPool()
    table = {
        name: value
        for name in LocalPool.__struct_fields__
        if (value := getattr(pool, name)) != getattr(default, name) or name == "max_blocks"
    }
    functions = [
        name for name, value in table.items()
        if callable(value) or (name in ("channel", "provider") and not isinstance(value, str))
    ]  # fmt: skip
    if functions:
        raise ConfigError(f"pool: {', '.join(functions)}: no file can keep it; give a name, or use Client.local")
    converted: dict[str, Any] = msgspec.to_builtins(table)
    return converted


def prepare(folder: Path) -> None:
    """Make a system's state folder. Raises ConfigError when it is no good place for one."""
    check_sockets(folder)
    ensure_folder(folder)


def _keep(folder: Path, system: System) -> None:
    with writing(folder):
        write_private(folder / SETTINGS_NAME, msgspec.json.format(msgspec.json.encode(system)))


def read_system(folder: Path) -> System | None:
    """What the system of this folder consists of; None when there was none. Raises ConfigError naming the file."""
    path = folder / SETTINGS_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=System)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"system file {path}: {error}") from error


def start_daemon(folder: Path, system: System, timeout: float = 1.5 * START_SECONDS) -> Ready | Failed:
    """Start a supervisor for a folder that was prepared, detached from this process and its terminal.

    Its working directory is this process's, so that relative paths in tasks mean what they mean here.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    log = os.open(folder / LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    asked = _passed(system)
    try:
        process = subprocess.Popen(
            [
                sys.executable, "-P", "-m", "blockyard.supervise", str(folder),
                "--daemon", "--ready-fd", str(write), "--system-fd", str(asked),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[write, asked],
            start_new_session=True,
            env=_environment(os.environ),
        )  # fmt: skip
    finally:
        for one in (write, log, asked):
            os.close(one)
    process.wait()  # it forks and goes on as an orphan
    try:
        return _await_words(read, timeout, folder)
    finally:
        os.close(read)


def _passed(system: System) -> int:
    """A descriptor that a child reads it from: others could read a command line, and there may be a password in it."""
    passed = os.memfd_create(SETTINGS_NAME)
    os.write(passed, msgspec.json.encode(system))
    os.lseek(passed, 0, os.SEEK_SET)
    return passed


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Ours without the marks that a block's processes carry: the supervisor belongs to no block, wherever it starts."""
    path = os.pathsep.join(entry for entry in sys.path if entry and not entry.endswith(".zip"))
    kept = {name: value for name, value in environment.items() if name not in (BLOCK_MARK, OWNER_MARK)}
    return {**kept, "PYTHONPATH": path}


def _await_words(read: int, timeout: float, folder: Path) -> Ready | Failed:
    received = b""

    def receive() -> None:
        nonlocal received
        with open(os.dup(read), "rb") as pipe:
            received = pipe.read()

    thread = threading.Thread(target=receive, name="blockyard-ready", daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        return Failed(message=f"the system did not come up within {timeout:g} s; see {folder / LOG_NAME}")
    if not received:
        return Failed(message=f"the supervisor died at its start; see {folder / LOG_NAME}")
    return msgspec.json.decode(received, type=Ready | Failed)


def main(arguments: list[str]) -> int:
    """Run a supervisor; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m blockyard.supervise", description="Supervise a local system.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--daemon", action="store_true", help="go on in the background")
    parser.add_argument("--ready-fd", type=int, default=-1, help="descriptor that is told how the start went")
    parser.add_argument(
        "--system-fd", type=int, default=-1, help="descriptor that says what to start; else what came up last"
    )
    asked = parser.parse_args(arguments)
    os.umask(0o077)
    if asked.daemon and os.fork():
        os._exit(0)  # the child leads no session, so that no terminal can become its own
    system = None
    if asked.system_fd >= 0:
        with open(asked.system_fd, "rb") as passed:
            system = msgspec.json.decode(passed.read(), type=System)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s supervisor %(levelname)s %(message)s")
    return run(asked.folder, system, asked.ready_fd)


def run(folder: Path, system: System | None, ready_fd: int = -1) -> int:
    """Supervise until SIGTERM or SIGINT. `system`: kept once it is up; None: the one that is kept."""
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    pidfile = PidFile(folder)
    try:
        pidfile.acquire()
    except SystemInUse as error:
        _tell(ready_fd, Failed(message=str(error), pid=error.pid))
        return 5
    try:
        return _supervise(folder, system, pidfile, ending, ready_fd)
    except ConfigError as error:
        _log.error("%s", error)
        _tell(ready_fd, Failed(message=str(error)))
        return 2
    except BlockyardError as error:
        _log.error("%s", error)
        _tell(ready_fd, Failed(message=str(error)))
        return 1
    finally:
        pidfile.release()


def _supervise(folder: Path, system: System | None, pidfile: PidFile, ending: threading.Event, ready_fd: int) -> int:
    system = system or read_system(folder)
    if system is None:
        raise ConfigError(f"state folder {folder}: no {SETTINGS_NAME}; start it with 'blockyard local up'")
    sys.path += [entry for entry in system.path if entry not in sys.path]  # blocks get ours
    strays = [f"{one.pid} of block {one.block} ({one.command})" for one in end_strays(owner_of(folder))]
    KeyRing(folder / "keys").client(DEFAULT_CLIENT)

    def say_up(tasks: int) -> None:
        _keep(folder, system)
        pidfile.say_ready()
        _log.info("system is up: %d tasks from the journal", tasks)
        _tell(ready_fd, Ready(pid=os.getpid(), strays=strays, tasks=tasks))

    with started_ahead("", folder) as interchange:
        local = LocalSystem(
            system.local_pools(),
            interchange,
            serving=Serving(
                journal=system.journal,
                metrics=system.metrics,
                client=OWN_KEY,
                monitoring=monitoring.of_word(system.monitoring),
            ),
        )
        _serve(local, ending, say_up)
    return 0


def _serve(local: LocalSystem, ending: threading.Event, say_up: Callable[[int], None]) -> None:
    gave_up: list[Exception] = []

    def give_up(error: Exception) -> None:
        gave_up.append(error)
        ending.set()

    local.on_give_up = give_up
    try:
        engine = local.start("wait")
        say_up(engine.ask(control.Status(), control.StatusIs).tasks)
        ending.wait()
        _log.info("system is ending")
        engine.shutdown(wait=False, cancel_futures=False)
    finally:
        local.stop()
    if gave_up:
        raise gave_up[0]


def _tell(ready_fd: int, words: Ready | Failed) -> None:
    if ready_fd >= 0:
        try:
            os.write(ready_fd, msgspec.json.encode(words))
            os.close(ready_fd)
        except OSError as error:  # who asked is gone; the system is there all the same
            _log.warning("nobody waits for the start any more: %s", error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
