"""An interchange and pools of blocks on this machine, as descendants of this process.

This process supervises: what dies is started again within a second, and all of it ends when this process does, however
that happens. The state folder holds keys, journal and logs; that of a named run is kept and resumed.
"""

import atexit
import hashlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from blockyard.blocks.engine import BlockCommand
from blockyard.blocks.executor import BlockExecutor
from blockyard.blocks.pool import LocalPool
from blockyard.blocks.provider import LocalProvider
from blockyard.engine import Engine
from blockyard.errors import BrokenBlockyard
from blockyard.ids import BlockId
from blockyard.keyring import KeyRing
from blockyard.payload import dump_function
from blockyard.pool_engine import PoolEngine
from blockyard.remote import RemoteEngine, RemoteSettings
from blockyard.session import LinkSettings

_log = logging.getLogger(__name__)

_RESTART_SECONDS: Final = 0.2
_MAX_QUICK_DEATHS: Final = 5
"""An interchange that dies so often within `_QUICK_SECONDS` of its start is not started again."""
_QUICK_SECONDS: Final = 2.0
_STOP_SECONDS: Final = 5.0


class LocalSystem:
    """The processes and files of one `Client.local`."""

    def __init__(self, pools: Mapping[str, LocalPool], *, run: str = "", folder: Path | None = None) -> None:
        self.run = run
        self.folder = folder or _folder_of(run)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._temporary = not run and folder is None
        self._pools = dict(pools)
        self._ring = KeyRing(self.folder / "keys")
        name = hashlib.blake2b(str(self.folder).encode(), digest_size=8).hexdigest()
        self._blobs = Path("/dev/shm") / f"blockyard-{os.getuid()}" / name
        self._owner = f"local-{name}"
        self._supervisor: _Supervisor | None = None
        self._executors: dict[str, BlockExecutor] = {}
        self._stopped = threading.Lock()
        _running.add(self)

    def start(self, on_full: str) -> RemoteEngine:
        """Start everything and return the engine, connected.

        Raises BrokenBlockyard with the interchange's last words when it does not come up.
        """
        self._ring.interchange("managers")
        server = self._ring.interchange("clients")
        for pool in self._pools:
            self._ring.pool(pool)
        endpoint = f"ipc://{self.folder}/clients.sock"
        keys = self._ring.client()
        self._supervisor = _Supervisor(self._interchange_command(), self.folder / "interchange.log")
        self._supervisor.start()
        link = LinkSettings(endpoint, server.public, keys, self._blobs / ".nonce")
        engine = RemoteEngine(
            RemoteSettings(link, run=self.run, keep=bool(self.run), take_over=bool(self.run), on_full=on_full)
        )
        self._supervisor.on_give_up = engine.fail
        port = PoolEngine(engine, self._block_command)
        start = f"{time.time_ns() // 1_000_000:x}"
        for name, settings in self._pools.items():
            self._write_worker_settings(name, settings)
            self._executors[name] = BlockExecutor(
                engine=port,
                provider=LocalProvider(owner=self._owner, log_dir=self.folder / "logs", grace=2.0),
                pool=settings,
                label=name,
                name_block=partial(_block_name, name, start),
                run_dir=self.folder,
            )
            self._executors[name].start()
        engine.connect()
        return engine

    def pool(self, name: str) -> BlockExecutor:
        """The handle on a pool's blocks."""
        return self._executors[name]

    @property
    def pools(self) -> list[str]:
        """Names of the pools."""
        return list(self._pools)

    def stop(self) -> None:
        """End all processes, and remove the files unless they belong to a named run; idempotent."""
        if not self._stopped.acquire(blocking=False):
            return
        _running.discard(self)
        for executor in self._executors.values():
            executor.shutdown(timeout=_STOP_SECONDS)
        if self._supervisor is not None:
            self._supervisor.stop()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.rmtree(self._blobs, ignore_errors=True)

    def stop_after(self, engine: Engine) -> None:
        """Stop when the engine's last task has ended, without holding up the caller."""

        def finish() -> None:
            engine.shutdown(wait=True, cancel_futures=False)
            self.stop()

        threading.Thread(target=finish, name="blockyard-farewell", daemon=True).start()

    def _interchange_command(self) -> list[str]:
        pools = {name: _pool_settings(pool) for name, pool in self._pools.items()}
        settings = {
            "folder": str(self.folder),
            "parent": os.getpid(),
            "core": {"pools": pools, "blobs": str(self._blobs)},
        }
        path = self.folder / "interchange.json"
        _write_private(path, msgspec.json.encode(settings))
        return [sys.executable, "-m", "blockyard_interchange", str(path)]

    def _write_worker_settings(self, name: str, pool: LocalPool) -> None:
        init = ""
        if pool.initializer is not None:
            init = str(self.folder / f"init-{name}")
            _write_private(Path(init), dump_function(_Initializer(pool.initializer, pool.initargs)))
        accelerators = pool.accelerators if isinstance(pool.accelerators, int) else len(pool.accelerators)
        workers = max(1, int(pool.workers_per_node))
        settings = {
            "endpoint": f"ipc://{self.folder}/managers.sock",
            "server_key": self._ring.interchange("managers").public.decode(),
            "key_file": str(self._ring.path(f"pool-{name}")),
            "pool": name,
            "workers": workers,
            "cores": (pool.cores_per_worker or 0.0) * workers,
            "memory_bytes": (pool.memory_per_worker_bytes or 0) * workers,
            "memory_per_worker": pool.memory_per_worker_bytes or 0,
            "accelerators": accelerators,
            "preload": list(pool.preload),
            "worker_init": init,
            "max_tasks_per_worker": pool.max_tasks_per_worker or 0,
            "supervisor": os.getpid(),
            "blob_near": str(self._blobs / ".nonce"),
        }
        _write_private(self.folder / f"pool-{name}.json", msgspec.json.encode(settings))

    def _block_command(self, pool: str, block: BlockId) -> BlockCommand:
        path = self.folder / f"pool-{pool}.json"
        argv = (sys.executable, "-m", "blockyard_worker", "--settings", str(path), "--block", block)
        return BlockCommand(argv=argv, env={"PYTHONPATH": _python_path()}, binds_itself=True)


class _Initializer:
    """A call without arguments, for workers to make once."""

    def __init__(self, function: object, arguments: tuple[object, ...]) -> None:
        self.function = function
        self.arguments = arguments

    def __call__(self) -> None:
        self.function(*self.arguments)  # type: ignore[operator]  # LocalPool checked that it is callable


class _Supervisor(threading.Thread):
    """Keeps the interchange running. The kernel ties a child to the thread that started it, so this one starts it."""

    def __init__(self, command: list[str], log: Path) -> None:
        super().__init__(name="blockyard-supervisor", daemon=True)
        self._command = command
        self._log = log
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self.on_give_up: Callable[[Exception], None] = _ignore

    @property
    def pid(self) -> int:
        """Of the interchange; 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    def run(self) -> None:
        """Start the interchange again and again."""
        quick_deaths = 0
        while not self._ending.is_set():
            started = time.monotonic()
            with open(self._log, "ab") as log:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": _python_path()},
                    start_new_session=True,
                )
            code = self._process.wait()
            if self._ending.is_set():
                return
            quick_deaths = quick_deaths + 1 if time.monotonic() - started < _QUICK_SECONDS else 1
            _log.warning("interchange ended with %s; its log is %s", code, self._log)
            if code > 0 or quick_deaths >= _MAX_QUICK_DEATHS:
                words = self._log.read_text(errors="replace")[-2000:]
                sentence = f"the interchange ended with exit code {code}; its last words:\n{words}"
                self.on_give_up(BrokenBlockyard(sentence))
                return
            self._ending.wait(_RESTART_SECONDS)

    def stop(self) -> None:
        """End the interchange, in good order if it can."""
        self._ending.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        self.join(_STOP_SECONDS)


def _block_name(pool: str, start: str, number: int) -> BlockId:
    """New in every process that uses the same journal: `start` is when this one began."""
    return BlockId(f"{pool}-{start}-{number}")


def _ignore(_: Exception) -> None:
    return None


def _pool_settings(pool: LocalPool) -> dict[str, object]:
    workers = max(1, int(pool.workers_per_node))
    accelerators = pool.accelerators if isinstance(pool.accelerators, int) else len(pool.accelerators)
    return {
        "durability": pool.durability.value,
        "workers": workers,
        "cores": (pool.cores_per_worker or 0.0) * workers,
        "memory_bytes": (pool.memory_per_worker_bytes or 0) * workers,
        "accelerators": accelerators,
        "nodes_per_block": pool.nodes_per_block,
    }


def _folder_of(run: str) -> Path:
    if not run:
        return Path(tempfile.mkdtemp(prefix="blockyard-"))
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(home) / "blockyard" / "runs" / run


def _write_private(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def _python_path() -> str:
    """This process's own module search path: what it can import, its workers can."""
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path if not entry.endswith(".zip"))


_running: "weakref.WeakSet[LocalSystem]" = weakref.WeakSet()


def _stop_all() -> None:
    for system in list(_running):
        system.stop()


atexit.register(_stop_all)
