"""`Client`: the way into Blockyard for programs. A `concurrent.futures.Executor` with more to it.

It packs nothing and sends nothing itself; an `Engine` does: an interchange (`Client.local`, `Client.connect`) or
threads of this process (`Client.threads`).

It imports what it needs when it needs it: `Client.local` first starts an interpreter for the interchange, and what both
import takes as long in the one as in the other.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from blockyard import given
from blockyard.errors import ConfigError, NotInstalled, UnknownPool
from blockyard.interchange_process import started_ahead
from blockyard.lifetime import Below, abandon
from blockyard.state_folder import STREAM_SOCKET, is_monitored
from blockyard.submitter import Submitter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType, TracebackType

    from blockyard.blocks.blockless import BlocklessExecutor
    from blockyard.blocks.executor import BlockExecutor
    from blockyard.blocks.pool import LocalPool
    from blockyard.engine import Engine
    from blockyard.futures import TaskFuture
    from blockyard.local import LocalSystem
    from blockyard.monitoring import Monitoring
    from blockyard.radios import RadioConfig
    from blockyard.runs import RunHandle
    from blockyard.serving import Limits

T = TypeVar("T")


class Client(Submitter):
    """A session: with an interchange, or with threads of this process. Make one by `local`, `connect` or `threads`."""

    def __init__(
        self,
        engine: Engine,
        system: LocalSystem | None = None,
        *,
        pool: str = "",
        below: Below | None = None,
        run: str = "",
        folder: Path | None = None,
    ) -> None:
        """`pool`: of tasks whose options name none. `below`: what the engine stands on, and ends after it. `run`: where
        no interchange names it. `folder`: the state folder of a system on this machine that is not this client's.
        """
        from blockyard import saying
        from blockyard.options import Options
        from blockyard.remote import RemoteEngine

        super().__init__(engine, Options(pool=pool) if pool else Options())
        self._remote = engine if isinstance(engine, RemoteEngine) else None
        self._system = system
        self._below = system or below
        self._run = run
        self._handle: RunHandle | None = None
        self._folder = system.folder if system is not None else folder
        if self._remote is not None:
            saying.speak_by(self._remote)
        self._finalizer = weakref.finalize(self, abandon, engine, self._below)
        self._finalizer.atexit = False

    @classmethod
    def local(  # noqa: PLR0913 - keyword-only; each has a default that suits most
        cls,
        workers: int | None = None,
        *,
        pools: Mapping[str, LocalPool | Mapping[str, Any]] | None = None,
        run: str = "",
        on_full: str = "wait",
        folder: str | Path | None = None,
        journal: str = "",
        metrics: str = "",
        managers: str = "",
        limits: Limits | None = None,
        monitoring: bool | str | Monitoring | None = None,
        radio: RadioConfig | None = None,
        **pool: Any,
    ) -> Self:
        """An interchange and pools of blocks on this machine, which end with this client.

        `workers`: of the pool 'default', in one block; further settings of it by name, see `LocalPool`. `pools` says
        it all instead: by name, each such a record or a table of its fields. `run`: a name under which the journal is
        kept and resumed after a crash.
        `journal`: ``postgresql://…`` instead of SQLite in the state folder. `limits`: how much may be unfinished before
        `submit` waits (``on_full="raise"``: raises `QueueFull`). `metrics`: ``HOST:PORT`` for Prometheus; nothing
        listens without. `managers`: ``tcp://ADDRESS:PORT`` for pools with blocks on other machines, by
        `LocalPool.channel`; a Unix socket without. `monitoring`: True, a database's URL, or a `Monitoring`, and every
        task leaves its history, see ``docs/monitoring.md``; `radio`: the same as ``Monitoring(radio=radio)``.
        """
        given.places("Client.local", folder=folder)
        given.texts("Client.local", run=run, folder=str(folder), journal=journal, metrics=metrics, managers=managers)
        if pools is not None and (workers is not None or pool):
            raise ConfigError("Client.local: give either pools= or the settings of one pool, not both")
        with started_ahead(run, Path(folder) if folder else None) as interchange:
            from blockyard.blocks.pools import one_pool, read_pools
            from blockyard.local import LocalSystem
            from blockyard.serving import Limits, Serving

            if monitoring is not None or radio is not None:
                from blockyard import monitoring as monitoring_of  # costs nothing to those who do not use it

                monitoring = monitoring_of.read(monitoring, radio)
            system = LocalSystem(
                one_pool(workers, pool, cls.local) if pools is None else read_pools(pools),
                interchange,
                run=run,
                serving=Serving(
                    journal=journal,
                    metrics=metrics,
                    managers=managers,
                    limits=Limits() if limits is None else limits,
                    monitoring=monitoring,
                ),
            )
            try:
                engine = system.start(on_full)
            except BaseException:
                system.stop()
                raise
        return cls(engine, system)

    @classmethod
    def connect(  # noqa: PLR0913 - keyword-only; each has a default that suits most
        cls,
        where: str | Path | None = None,
        *,
        run: str = "",
        take_over: bool = False,
        keep: bool | None = None,
        on_full: str = "wait",
        name: str = "",
        timeout: float | None = None,
        server_key: str = "",
        client_key: str | Path | None = None,
    ) -> Self:
        """A running interchange: by profile name (None: the settings' own), path of a state folder, or URL.

        `run`: attach to this run, whose tasks go on and whose results wait when this client is gone (`keep`).
        `take_over`: become its owner, though another client is. `on_full`: at a limit `submit` waits, or with "raise"
        raises `QueueFull`. `name`: of this client, for people; else host and process. `timeout`: seconds until no
        answer is an error.
        `server_key`, `client_key` (a file) complete a URL ``tcp://host:port#SERVERKEY``, see `connect`.
        Raises ConfigError, BadKey, or BrokenBlockyard when nobody answers there.
        """
        given.places("Client.connect", where=where, client_key=client_key)
        given.texts("Client.connect", run=run, name=name, server_key=server_key)
        given.flags("Client.connect", take_over=take_over, keep=keep)
        from blockyard import config, connect  # files are read, and modules loaded, only for those who connect
        from blockyard.remote import RemoteSettings

        settings = config.load()
        target = connect.find(where, settings, server_key=server_key, client_key=client_key)
        keep = bool(run) if keep is None else keep
        remote = RemoteSettings(
            target.link(),
            run=run,
            take_over=take_over,
            keep=keep,
            name=name,
            on_full=on_full,
            finish=not keep,
            patience=settings.timeout if timeout is None else timeout,
        )
        return cls(connect.open_engine(target, remote), folder=target.folder)

    @classmethod
    def kubernetes(  # noqa: PLR0913 - keyword-only; each has a default that suits most
        cls,
        pool: str = "default",
        *,
        namespace: str = "",
        release: str = "blockyard",
        client: str = "",
        context: str = "",
        kubeconfig: str = "",
        run: str = "",
        take_over: bool = False,
        keep: bool | None = None,
        on_full: str = "wait",
        name: str = "",
        timeout: float | None = None,
    ) -> Self:
        """The interchange of a cluster; tasks go to its WorkerPool `pool`, unless their options say otherwise.

        `namespace`: the pool's, by default the kubeconfig context's own; a pool elsewhere is ``NAMESPACE/POOL``.
        `release`: the Helm release, or ``NAMESPACE/RELEASE`` when it is neither in that namespace nor in one of its own
        name. `client`: the name of one of the release's further clients, whose key may be good for some pools only.
        From outside the cluster a port-forward is opened, which follows the interchange when its pod moves.
        `timeout`: seconds until an interchange that does not answer is an error, and a pool it does not know: one that
        was applied a moment ago is waited for. The rest is as for `connect`.
        Raises ConfigError, also when ``blockyard[kubernetes]`` is not installed; NoCluster, ApiError, ApiUnreachable,
        BadKey; BrokenBlockyard when the interchange does not answer; UnknownPool, with what its WorkerPool says.
        """
        given.places("Client.kubernetes", kubeconfig=kubeconfig)
        given.texts("Client.kubernetes", pool=pool, namespace=namespace, release=release, client=client)
        given.texts("Client.kubernetes", context=context, run=run, name=name)
        given.flags("Client.kubernetes", take_over=take_over, keep=keep)
        from blockyard import config  # files are read, and modules loaded, only for those who connect
        from blockyard.remote import RemoteSettings

        access = _kubernetes()
        where = access.Where(
            namespace=namespace, release=release, client=client, context=context, kubeconfig=kubeconfig
        )
        opened = access.open_access(where)
        keep = bool(run) if keep is None else keep
        remote = RemoteSettings(
            opened.link,
            run=run,
            take_over=take_over,
            keep=keep,
            name=name,
            on_full=on_full,
            finish=not keep,
            patience=config.load().timeout if timeout is None else timeout,
        )
        engine, queue = access.open_engine(where, opened, pool, remote)
        return cls(engine, pool=queue, below=opened.forward)

    @classmethod
    def threads(
        cls,
        threads: int | None = None,
        *,
        run: str = "",
        monitoring: bool | str | Monitoring | None = None,
        radio: RadioConfig | None = None,
        **settings: Any,
    ) -> Self:
        """The same on threads of this process: no socket, no child process, nothing pickled.

        `threads`: how many; without it as many as a `ThreadPoolExecutor` has, four more than CPUs, 32 at most.
        `monitoring`: as for `local`; hub and sinks are then threads of this process, too. `run`: what the history calls
        it. Further settings: see `ThreadEngine`.
        """
        given.texts("Client.threads", run=run)
        from blockyard.threading_engine import ThreadedEngine  # costs nothing to those who do not use it

        if threads is None:
            threads = min(32, (os.cpu_count() or 1) + 4)
        if monitoring is None and radio is None:
            return cls(ThreadedEngine(threads, **settings), run=run)
        from blockyard import monitoring as monitoring_of
        from blockyard import saying

        asked = monitoring_of.read(monitoring, radio)
        if asked is None:
            return cls(ThreadedEngine(threads, **settings), run=run)
        from blockyard.hub_here import HubHere
        from blockyard.threads.telling import Teller

        hub = HubHere(asked)
        try:
            teller = Teller(hub.create_sender("threads"), threads, run)
            engine = ThreadedEngine(threads, observer=teller, **settings)
        except BaseException:
            hub.stop()
            raise
        teller.start()
        saying.speak_by(teller)
        hub.on_stop = teller.close
        return cls(engine, below=hub, run=teller.run_name, folder=hub.folder)

    def reattach(self) -> list[TaskFuture[Any]]:
        """Futures of this run's unfinished and uncollected tasks that other clients, perhaps dead by now, submitted."""
        if self._remote is None:
            raise ConfigError("reattach: threads of this process have no run that outlives them")
        return self._remote.reattach()

    def pool(self, name: str = "default") -> BlockExecutor | BlocklessExecutor:
        """The handle on the blocks of one of this client's own pools; on threads of this process, one without blocks.

        Raises UnknownPool with the nearest name.
        """
        if self._remote is not None:
            self._remote.check_process()
        if self._system is not None:
            return self._system.pool(name)
        from blockyard.threading_engine import ThreadedEngine  # costs nothing to those who do not use it

        if isinstance(self._engine, ThreadedEngine):
            return self._engine.pool(name, Submitter(self._engine, self._options))
        raise UnknownPool(f"pool {name!r}: this client started no pools; those of others are theirs to handle")

    def events(
        self, *, kinds: Iterable[str] = (), pools: Iterable[str] = (), runs: Iterable[str] = (), after: str = ""
    ) -> AsyncIterator[dict[str, Any]]:
        """What happens, as it happens: ``async for event in client.events(kinds=["Tries"])``. See `events.follow`.

        Raises ConfigError when this client knows that there is no hub.
        """
        from blockyard import events  # asyncio, which not everybody uses

        if self._folder is not None and not is_monitored(self._folder):
            raise ConfigError("events: there is no hub; make the client, or its local system, with monitoring")
        if self._remote is not None:
            return events.follow(self._remote.begin, kinds=kinds, pools=pools, runs=runs, after=after)
        if self._folder is None:
            raise ConfigError("events: there is no hub; make the client with monitoring")
        where = events.Where(self._folder / STREAM_SOCKET)
        return events.follow_http(where, kinds=kinds, pools=pools, runs=runs, after=after)

    @property
    def folder(self) -> Path | None:
        """Where the system keeps its files when it is on this machine; None for others."""
        return self._folder

    @property
    def run(self) -> RunHandle:
        """The run that this client's tasks belong to: ``client.run.summary()``. Called, it starts a workflow's run."""
        from blockyard.runs import RunHandle

        if self._handle is None:
            name = self._remote.run_name if self._remote is not None else self._run
            self._handle = RunHandle(name, self._folder, self._engine, self._options.pool)
        return self._handle

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as Executor
        """As `Executor.shutdown`; a local system ends with it.

        It is how a program ends in good order: results of a named run that nobody looked at are freed. They are kept
        when a ``with`` block ends by an exception, and when the program ends without a word.
        """
        if self._remote is not None:
            self._remote.release()
        self._end(wait, cancel_futures=cancel_futures)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if kind is None:
            self.shutdown()
            return None
        if not issubclass(kind, (Exception, SystemExit, GeneratorExit)):  # Ctrl-C, or the end of a coroutine or task
            self._engine.interrupt()
        self._end(wait=True, cancel_futures=False)
        return None

    def _end(self, wait: bool, *, cancel_futures: bool) -> None:  # noqa: FBT001 - as Executor.shutdown
        if self._folder is not None and is_monitored(self._folder):
            _ = self.run  # it finds the history also when the folder is gone
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait and self._below is not None:
            self._below.stop()
        if wait:
            self._finalizer.detach()


def _kubernetes() -> ModuleType:
    try:
        from blockyard.kube import access
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in ("kubernetes", "aiohttp"):
            raise
        raise NotInstalled(
            f"Client.kubernetes needs the package {package!r}, which is not installed: "
            "pip install 'blockyard[kubernetes]'"
        ) from missing
    return access
