"""An interchange and pools of blocks on this machine, as descendants of this process.

This process supervises: what dies is started again within a second, and all of it ends when this process does, however
that happens. The state folder holds keys, journal and logs; that of a named run is kept and resumed.
"""

import difflib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from blockyard import accelerators, leftovers, lifetime, nearness, plugins
from blockyard.blocks.engine import BlockCommand
from blockyard.blocks.executor import BlockExecutor
from blockyard.blocks.pool import LocalPool
from blockyard.blocks.provider import LocalProvider, Provider
from blockyard.blocks.states import JobStatus
from blockyard.blocks.strays import end_strays
from blockyard.errors import ConfigError, UnknownPool
from blockyard.ids import BlockId
from blockyard.initializing import packed_initializer
from blockyard.interchange_process import InterchangeProcess, ignore
from blockyard.kept_process import module_path
from blockyard.keyring import KeyRing
from blockyard.pool_engine import PoolEngine
from blockyard.private_files import write_private
from blockyard.remote import RemoteEngine, RemoteSettings
from blockyard.serving import Serving
from blockyard.session import LinkSettings
from blockyard.state_folder import INTERCHANGE_SETTINGS, blobs_of, lock_folder, owner_of, writing
from blockyard.transport import KeyPair

if TYPE_CHECKING:
    from blockyard.hub_process import HubProcess

_STOP_SECONDS: Final = 5.0
_KILL_SECONDS: Final = 4.0
"""A manager that was asked to end, and has not by then, is killed."""
_FINISH_SECONDS: Final = 1.0
"""How long it lets its workers finish, which leaves it the time to end all that they started: nobody else finds all."""
_TELL_SECONDS: Final = 25.0
"""The same with monitoring: the hub may just be starting again, and is told the last there is to tell."""
START_SECONDS: Final = 60.0
"""Until an interchange that lives and does not listen is an error. One that ends is noticed at once, so this is for
machines that are very busy."""


class LocalSystem:
    """The processes and files of one `Client.local`, or of one ``blockyard local up``."""

    def __init__(
        self,
        pools: Mapping[str, LocalPool],
        interchange: InterchangeProcess,
        *,
        run: str = "",
        serving: Serving = Serving(),  # noqa: B008 - frozen
    ) -> None:
        """`interchange`: in this system's state folder."""
        self.run = run
        self._serving = serving
        self.on_give_up: Callable[[Exception], None] = ignore
        """Told why, when the interchange cannot be kept running; the engine fails with the same error before."""
        self.folder = interchange.folder
        self._temporary = interchange.is_temporary
        self._pools = dict(pools)
        self._ring = KeyRing(self.folder / "keys")
        self._owner = owner_of(self.folder)
        self._shares = accelerators.share_out(self._pools, os.environ.get(accelerators.VISIBLE, ""))
        self._blobs = blobs_of(self.folder)
        self._lock = -1
        self._interchange = interchange
        self.hub: HubProcess | None = None
        """None without monitoring."""
        self._executors: dict[str, BlockExecutor] = {}
        self._stopping = threading.Lock()
        self._stopped = threading.Event()
        lifetime.register(self)

    def start(self, on_full: str) -> RemoteEngine:
        """Start everything and return the engine, connected.

        Raises BrokenBlockyard with the interchange's last words when it does not come up, or naming the process that
        uses this folder; ConfigError when that cannot be written.
        """
        with writing(self.folder):
            server, keys = self._write_files()
        endpoint = f"ipc://{self.folder}/clients.sock"
        link = LinkSettings(endpoint, server.public, keys, nearness.nonce_file(self._blobs))
        engine = RemoteEngine(
            RemoteSettings(link, run=self.run, keep=bool(self.run), take_over=bool(self.run), on_full=on_full)
        )
        self._interchange.on_give_up = partial(self._give_up, engine)
        self._interchange.begin()
        self._start_hub()
        port = PoolEngine(engine, self._block_command)
        port.on_opening = partial(self._report_blocks, port)
        start = f"{time.time_ns() // 1_000_000:x}"
        for name, settings in self._pools.items():
            self._start_pool(port, name, settings, partial(self._name_block, name, start))
        if self.hub is not None:
            engine.before_leaving = self._end_blocks  # so that their end is still told
        engine.connect(START_SECONDS)
        return engine

    def _write_files(self) -> tuple[KeyPair, KeyPair]:
        """Take the folder and make what must be there before anything starts; the interchange's pair, and ours."""
        self._lock = lock_folder(self.folder)
        if self._temporary:
            leftovers.remove(self.folder.parent, _clear)
        else:
            end_strays(self._owner)  # of a process that was killed; all of them, because the folder is ours alone now
        nearness.ensure(self._blobs)
        self._ring.interchange("managers")
        server = self._ring.interchange("clients")
        for pool in self._pools:
            self._ring.pool(pool)
        keys = self._ring.client(self._serving.client)
        self._write_interchange_settings()
        return server, keys

    def _start_pool(
        self, port: PoolEngine, name: str, settings: LocalPool, name_block: Callable[[int], BlockId]
    ) -> None:
        self._write_worker_settings(name, settings)
        self._executors[name] = BlockExecutor(
            engine=port,
            provider=self._provider(settings),
            pool=settings,
            label=name,
            name_block=name_block,
            on_block=partial(self._block_changed, port, name),
            run_dir=self.folder,
        )
        self._executors[name].start()

    def _start_hub(self) -> None:
        monitoring = self._serving.monitoring
        if monitoring is None:
            return
        self._ring.interchange("hubs")
        self._ring.issue("hub-default")
        from blockyard.hub_process import HubProcess  # costs nothing to those who do not use it

        self.hub = HubProcess(monitoring, self.folder, keeps_folder=not self._temporary)
        self.hub.start()

    def _provider(self, pool: LocalPool) -> Provider:
        if not isinstance(pool.provider, str):
            return pool.provider
        logs = self.folder / "logs"
        if pool.provider == "local":
            return LocalProvider(owner=self._owner, log_dir=logs, channel=pool.channel, grace=_KILL_SECONDS)
        make: Any = plugins.load(plugins.PROVIDERS, pool.provider)
        try:
            provider: Provider = make(owner=self._owner, log_dir=logs)
        except TypeError as error:
            raise ConfigError(
                f"provider {pool.provider!r} can't be made from its name alone ({error}); give the provider itself"
            ) from error
        return provider

    def _name_block(self, pool: str, start: str, number: int) -> BlockId:
        """New in every process that uses the same journal: `start` is when this one began."""
        block = BlockId(f"{pool}-{start}-{number}")
        self._shares[pool].take(block)
        return block

    def _block_changed(self, port: PoolEngine, pool: str, block: BlockId, status: JobStatus) -> None:
        if status.terminal:
            self._shares[pool].free(block)
        port.report(pool, {block: status})

    def _radio_file(self) -> str:
        """Where managers find their radio, complete; '' without one. Waits for a hub whose receiver comes first."""
        return str(self.hub.radio_file()) if self.hub is not None else ""

    def _report_blocks(self, port: PoolEngine, pool: str) -> None:
        executor = self._executors.get(pool)
        if executor is not None:
            port.report(pool, executor.status())

    def _give_up(self, engine: RemoteEngine, error: Exception) -> None:
        engine.fail(error)
        self.on_give_up(error)

    def pool(self, name: str) -> BlockExecutor:
        """The handle on a pool's blocks.

        Raises UnknownPool with the nearest name.
        """
        if name not in self._executors:
            near = difflib.get_close_matches(name, self._executors, 1, 0.0)
            raise UnknownPool(f"pool {name!r}; did you mean {near[0]!r}?" if near else f"pool {name!r}: there are none")
        return self._executors[name]

    @property
    def pools(self) -> list[str]:
        """Names of the pools."""
        return list(self._pools)

    def stop(self) -> None:
        """End all processes, and remove the files unless they belong to a named run; idempotent."""
        if not self._stopping.acquire(blocking=False):
            self._stopped.wait(3 * _STOP_SECONDS)
            return
        try:
            self._stop()
        finally:
            self._stopped.set()

    def finish(self) -> None:
        """At the interpreter's exit; its engine has seen its tasks to their end by then."""
        self.stop()

    def disown(self) -> None:
        """In a forked child: processes, files and the lock on the folder are the parent's."""
        self._stopping = threading.Lock()
        self._stopping.acquire()
        self._stopped.set()
        self._unlock()

    def _unlock(self) -> None:
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def _end_blocks(self) -> None:
        for executor in self._executors.values():
            executor.shutdown(timeout=_STOP_SECONDS)

    def _stop(self) -> None:
        self._end_blocks()
        has_to_tell = self.hub is not None and not self.hub.failure
        self._interchange.stop(_TELL_SECONDS if has_to_tell else _STOP_SECONDS)
        if self.hub is not None:
            self.hub.stop(_TELL_SECONDS)  # after the interchange, which tells it the last there is to tell
        self._unlock()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.rmtree(self._blobs, ignore_errors=True)
        elif not any(not path.name.startswith(".") for path in self._blobs.glob("*")):
            # Nothing that a later start would need: memory that is kept for further blobs, and the proof of nearness.
            shutil.rmtree(self._blobs, ignore_errors=True)

    def _write_interchange_settings(self) -> None:
        pools = {name: _pool_settings(pool) for name, pool in self._pools.items()}
        settings = {
            "folder": str(self.folder),
            "parent": os.getpid(),
            "journal": self._serving.journal,
            "metrics": self._serving.metrics,
            "managers": self._serving.managers,
            "core": {
                "pools": pools,
                "blobs": str(self._blobs),
                "monitoring": self._serving.monitoring is not None,
                **msgspec.structs.asdict(self._serving.limits),
            },
        }
        write_private(self.folder / INTERCHANGE_SETTINGS, msgspec.json.encode(settings))

    def _write_worker_settings(self, name: str, pool: LocalPool) -> None:
        init = ""
        if (call := packed_initializer(pool)) is not None:
            init = str(self.folder / f"init-{name}")
            write_private(Path(init), call)
        workers = max(1, int(pool.workers_per_node))
        settings = {
            "endpoint": self._serving.managers or f"ipc://{self.folder}/managers.sock",
            "server_key": self._ring.interchange("managers").public.decode(),
            "key_file": str(self._ring.path(f"pool-{name}")),
            "pool": name,
            "workers": workers,
            "cores": (pool.cores_per_worker or 0.0) * workers,
            "memory_bytes": (pool.memory_per_worker_bytes or 0) * workers,
            "memory_per_worker": pool.memory_per_worker_bytes or 0,
            "accelerators": pool.accelerators_per_node,
            "preload": list(pool.preload),
            "worker_init": init,
            "max_tasks_per_worker": pool.max_tasks_per_worker or 0,
            "drain_grace": _FINISH_SECONDS,
            "max_rss": pool.max_rss_bytes or 0,
            "pin_cores": pool.pin_cores,
            "supervisor": os.getpid() if pool.is_here else 0,
            "radio_file": self._radio_file(),
            "sample_seconds": self._serving.monitoring.sample_seconds if self._serving.monitoring else 0.0,
            "blob_near": str(nearness.nonce_file(self._blobs)),
        }
        write_private(self.folder / f"pool-{name}.json", msgspec.json.encode(settings))

    def _block_command(self, pool: str, block: BlockId, walltime: float | None) -> BlockCommand:
        path = self.folder / f"pool-{pool}.json"
        limit = () if walltime is None else ("--walltime", str(walltime))
        names = self._shares[pool].of(block)
        named = ("--accelerator-names", ",".join(names)) if names else ()
        argv = (sys.executable, "-m", "blockyard_worker", "--settings", str(path), "--block", block, *limit, *named)
        return BlockCommand(argv=argv, env={"PYTHONPATH": module_path()}, binds_itself=self._pools[pool].is_here)


def _pool_settings(pool: LocalPool) -> dict[str, object]:
    workers = max(1, int(pool.workers_per_node))
    return {
        "durability": pool.durability.value,
        "workers": workers,
        "cores": (pool.cores_per_worker or 0.0) * workers,
        "memory_bytes": (pool.memory_per_worker_bytes or 0) * workers,
        "accelerators": pool.accelerators_per_node,
        "nodes_per_block": pool.nodes_per_block,
        "walltime": pool.walltime or 0.0,
    }


def _clear(folder: Path) -> None:
    """Remove what a system in this folder, whose process was killed, left elsewhere."""
    end_strays(owner_of(folder))
    shutil.rmtree(blobs_of(folder), ignore_errors=True)
