"""The operator as a process: parts put together, started in order, ended in order.

A replica waits for the Lease with everything imported and nothing watched. The leader sees to the keys, connects to the
interchange, fills its cache, and then reconciles. On SIGTERM it stops, gives the Lease back and exits with 0; when it
loses the Lease, or cannot watch any more, it exits with 1 at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import signal
import sys
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any, Final

from blockyard.errors import BadKey, BlockyardError, ConfigError
from blockyard.kube.api import Api, ApiSettings
from blockyard.kube.faults import ApiError, ApiUnreachable, NoCluster
from blockyard.kube.kinds import POD_GROUP, Kind
from blockyard.session import LinkSettings
from blockyard_operator import keys, logs
from blockyard_operator.applier import CALM_SECONDS, Applier, Rim
from blockyard_operator.cache import Cache, Key
from blockyard_operator.core.manifests import Terms
from blockyard_operator.election import Election, NotLeader
from blockyard_operator.election import Terms as LeaseTerms
from blockyard_operator.hub import HubLine
from blockyard_operator.interchange import Interchange
from blockyard_operator.metrics import CONTENT_TYPE, Metrics
from blockyard_operator.news import News
from blockyard_operator.observe import Observer
from blockyard_operator.queue import WorkQueue
from blockyard_operator.reconciler import Reconciler
from blockyard_operator.resync import Resync
from blockyard_operator.settings import Settings, read_settings
from blockyard_operator.watches import Watches
from blockyard_operator.web import Web

log = logging.getLogger(__name__)

STUCK_SECONDS: Final = 120.0
"""A key that waits for so long means that reconciling has stopped."""
UNHEARD_SECONDS: Final = 60.0
"""Without a word from the API server for so long, a replica is not ready."""
KEYS_PAUSE: Final = 2.0
RUN_ENDS_SECONDS: Final = 10.0
"""Until a run that was cancelled has surely ended."""


class Operator:
    """One replica."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._cache = Cache()
        self._queue: WorkQueue[Key] = WorkQueue(time.monotonic)
        self._election: Election | None = None
        self._whole = False
        self._ended = asyncio.Event()
        self._interchange: Interchange | None = None
        self._hub: HubLine | None = None

    async def run(self) -> int:
        """Run until told to stop, or until this replica must not go on. Returns the exit code."""
        settings = self._settings
        web = Web(settings.listen, self._live, self._ready, lambda: (self._metrics.render(), CONTENT_TYPE))
        self._gauges()
        async with await Api.connect(self._api_settings()) as plain:
            namespace = settings.namespace or plain.namespace
            self._election = election = Election(plain, self._lease(namespace))
            fenced = await Api.connect(self._api_settings(election))
            await web.start()
            async with fenced:
                stopping = _on_signals()
                lead = asyncio.create_task(self._lead(fenced, namespace), name="lead")
                try:
                    await asyncio.wait({lead, stopping}, return_when=asyncio.FIRST_COMPLETED)
                    return 0 if stopping.done() and not lead.done() else self._fate(lead)
                finally:
                    await self._end(lead, election)
                    await web.stop()

    def _fate(self, lead: asyncio.Task[None]) -> int:
        """Say why it is over; a Lease that is lost is no fault in here, of which a trace would tell."""
        error = lead.exception()
        if isinstance(error, BaseExceptionGroup):
            known, unknown = error.split((NotLeader, Over))
            if known is not None and unknown is None:
                log.error("the operator ends: %s", "; ".join(sorted({str(one) for one in _leaves(known)})))
                return 1
        if error is not None:
            log.error("the operator ends: %s", error, exc_info=error)
        return 1

    async def _end(self, lead: asyncio.Task[None], election: Election) -> None:
        lead.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await lead
        await election.give_back()
        if self._interchange is not None:
            self._interchange.stop()
        if self._hub is not None:
            self._hub.stop()
        log.info("ended")

    async def _lead(self, api: Api, namespace: str) -> None:
        """Lead once the Lease is won; returns, or raises, when this process must not go on."""
        assert self._election is not None
        await self._election.win()
        settings = self._settings
        async with asyncio.TaskGroup() as group:
            group.create_task(_fatal(self._election.hold(), "the Lease is lost"))
            found = await self._release_keys(api, namespace)
            link = LinkSettings(settings.clients_endpoint, found.clients.public, found.operator)
            self._interchange = interchange = Interchange(link, self._heard)
            interchange.start()
            terms = Terms(
                image=settings.worker_image,
                pull_policy=settings.pull_policy,
                pull_secrets=tuple(settings.pull_secrets),
            )
            self._hub = hub = self._connect_hub(found)
            observer = Observer(self._cache, interchange, terms, pod_groups=await api.serves(POD_GROUP), hub=hub)
            rim = Rim(
                api=api, cache=self._cache, observer=observer, interchange=interchange, metrics=self._metrics,
                terms=terms, server_key=found.managers.public, managers=settings.managers_endpoint,
                reporter=self._identity, namespace=namespace, hub=hub,
            )  # fmt: skip
            reconciler = Reconciler(self._queue, self._cache, observer, interchange, self._metrics)
            reconciler.applier = Applier(rim, self._changed, self._later)
            reconciler.hub = hub
            reconciler.on_run_gone = self._forget_runs
            await self._watch(api)
            resync = Resync(api, self._cache, settings.namespaces, self._metrics, self._changed)
            began = time.monotonic()
            count = await resync.wait_until_whole()
            await interchange.wait_heard()  # else every status would say for a moment that it is silent
            self._whole = True
            log.info("the cache is whole", extra={"objects": count, "seconds": round(time.monotonic() - began, 3)})
            self._changed(set(self._cache.keys()))
            interchange.sweep(self._is_stray)
            interchange.runs.sweep(self._is_stray_run)
            group.create_task(self._resync(resync, rim, found))
            group.create_task(_fatal(self._ended.wait(), "the watches ended"))
            for _ in range(settings.concurrency):
                group.create_task(reconciler.run())

    def _connect_hub(self, found: keys.ReleaseKeys) -> HubLine | None:
        """The line to the hub; None when the release has none."""
        if not self._settings.hub_endpoint:
            return None
        link = LinkSettings(self._settings.hub_endpoint, found.operators.public, found.operator)
        hub = HubLine(link, self._heard_of_radio, self._has_no_pods)
        hub.start()
        return hub

    async def _release_keys(self, api: Api, namespace: str) -> keys.ReleaseKeys:
        clients = {name: [pool.replace("/", ".") for pool in pools] for name, pools in self._settings.clients.items()}
        while True:
            try:
                return await keys.release_keys(api, self._settings.release, namespace, self._endpoints, clients)
            except (ApiError, ApiUnreachable, BadKey) as error:
                log.warning("the release's keys could not be seen to: %s", error)
                await asyncio.sleep(KEYS_PAUSE)

    async def _watch(self, api: Api) -> None:
        loop = asyncio.get_running_loop()

        def login() -> Any:
            return asyncio.run_coroutine_threadsafe(api.credentials(), loop).result(30)

        def see(kind: Kind, raw: Mapping[str, Any], deleted: bool) -> None:  # noqa: FBT001 - the watches' signature
            loop.call_soon_threadsafe(self._see, kind, raw, deleted)

        def ended() -> None:
            loop.call_soon_threadsafe(self._ended.set)

        Watches(login, self._settings.namespaces, see, ended).start()

    def _see(self, kind: Kind, raw: Mapping[str, Any], deleted: bool) -> None:  # noqa: FBT001 - called by the loop
        self._metrics.events.labels(kind.plural).inc()
        keys_of = self._cache.see(kind, raw, deleted=deleted)
        if self._whole:
            self._changed(keys_of)

    def _is_stray(self, queue: str) -> bool:
        """Whether a pool of the interchange has the name of a WorkerPool, or block on its own, that is not there."""
        namespace, dot, name = queue.partition(".")
        served = not self._settings.namespaces or namespace in self._settings.namespaces
        there = any(self._cache.is_there(Key(kind, namespace, name)) for kind in ("pool", "block"))
        return bool(dot) and served and not there

    def _has_no_pods(self, queue: str) -> bool:
        """Whether a pool is gone, and all of its pods, which may have something to tell to their last moment."""
        namespace, _, name = queue.partition(".")
        return self._whole and self._is_stray(queue) and not self._cache.has_pods(namespace, name)

    def _is_stray_run(self, run: str) -> bool:
        """Whether a run of the interchange has a name as we give them, and its WorkflowRun is not there."""
        namespace, _, rest = run.partition(".")
        name, _, uid = rest.rpartition(".")
        served = not self._settings.namespaces or namespace in self._settings.namespaces
        found = self._cache.runs.get(Key("run", namespace, name))
        return bool(name) and len(uid) == 8 and served and (found is None or found.name != run)

    def _forget_runs(self) -> None:
        """Now, and once more when what still ran has had time to end."""
        interchange = self._interchange
        if interchange is not None:
            interchange.runs.sweep(self._is_stray_run)
            asyncio.get_running_loop().call_later(RUN_ENDS_SECONDS, interchange.runs.sweep, self._is_stray_run)

    async def _resync(self, resync: Resync, rim: Rim, found: keys.ReleaseKeys) -> None:
        while True:
            await asyncio.sleep(self._settings.resync_seconds)
            if self._interchange is not None:
                self._interchange.runs.sweep(self._is_stray_run)
            try:
                await resync.look_through()
                await keys.keep(rim.api, self._settings.release, rim.namespace, self._endpoints, found)
                self._changed(await rim.observer.lost_secrets(rim.api))
            except (ApiError, ApiUnreachable) as error:
                log.warning("the cache could not be held against what there is: %s", error)

    # --- news -------------------------------------------------------------------------------------------------------

    def _changed(self, changed: set[Key]) -> None:
        for key in changed:
            self._queue.add(key)

    def _later(self, key: Key, seconds: float) -> None:
        self._queue.add_at(key, time.monotonic() + seconds)

    def _heard(self, news: News) -> None:
        """The interchange has news of a pool, or of all; of mere counts it is enough to know now and then."""
        if not self._whole:
            return
        if news.run is not None:
            self._changed({Key("run", *news.run)})
            return
        if not news.queue:
            self._changed(set(self._cache.keys()))
            return
        namespace, _, name = news.queue.partition(".")
        alone = Key("block", namespace, name)
        self._changed({Key("pool", namespace, name), *([alone] if self._cache.is_there(alone) else [])})
        self._changed(
            {Key("block", namespace, block) for block in news.blocks} | self._cache.waiting_for(namespace, name)
        )
        for block in news.counts:
            self._later(Key("block", namespace, block), CALM_SECONDS)

    def _heard_of_radio(self, queue: str) -> None:
        """The hub has news of a pool's radio; '': of all."""
        if not self._whole:
            return
        namespace, _, name = queue.partition(".")
        self._changed({Key("pool", namespace, name)} if queue else set(self._cache.pools))

    # --- health -----------------------------------------------------------------------------------------------------

    def _live(self) -> str:
        since = self._queue.waits_since
        if since is not None and time.monotonic() - since > STUCK_SECONDS:
            return f"a key has waited for {time.monotonic() - since:.0f} s"
        return ""

    def _ready(self) -> str:
        election = self._election
        if election is None:
            return "starting"
        unheard = time.monotonic() - election.heard_at
        if unheard > UNHEARD_SECONDS:
            return f"the API server has not answered for {unheard:.0f} s"
        if election.leads and not self._whole:
            return "leading, and reading what there is"
        return ""

    def _gauges(self) -> None:
        gauge = self._metrics.gauge
        gauge(
            "leader", "Whether this replica leads", lambda: float(self._election is not None and self._election.leads)
        )
        gauge("queue_length", "Keys that wait", lambda: float(len(self._queue)))
        gauge("pools", "Pools that are known", lambda: float(len(self._cache.pools)))
        gauge("blocks", "Blocks that are known", lambda: float(len(self._cache.blocks)))
        gauge("pods", "Pods that are known", lambda: float(self._cache.count_pods()))
        gauge(
            "interchange_connected",
            "Whether the interchange answers",
            lambda: float(self._interchange is not None and self._interchange.connected),
        )
        gauge(
            "hub_connected",
            "Whether the hub answers; 0 without one, too",
            lambda: float(self._hub is not None and self._hub.connected),
        )

    # --- settings ---------------------------------------------------------------------------------------------------

    @property
    def _endpoints(self) -> keys.Endpoints:
        return keys.Endpoints(clients=self._settings.clients_endpoint, managers=self._settings.managers_endpoint)

    @property
    def _identity(self) -> str:
        return self._settings.pod or platform.node()

    def _api_settings(self, election: Election | None = None) -> ApiSettings:
        return ApiSettings(
            context=self._settings.context,
            kubeconfig=self._settings.kubeconfig,
            user_agent="blockyard-operator",
            read_timeout=30.0 if election is not None else self._settings.write_timeout,
            write_timeout=self._settings.write_timeout,
            may_write=election.may_write if election is not None else None,
            on_request=self._metrics.request,
            attempts=5 if election is not None else 1,
        )

    def _lease(self, namespace: str) -> LeaseTerms:
        settings = self._settings
        return LeaseTerms(
            namespace=namespace,
            name=f"{settings.release}-operator",
            identity=self._identity,
            duration=settings.lease_seconds,
            renew=settings.renew_seconds,
            retry=settings.retry_seconds,
            write_timeout=settings.write_timeout,
        )


class Over(BlockyardError):
    """Something is over without which this process must not go on."""


async def _fatal(wait: Coroutine[Any, Any, object], what: str) -> None:
    """End the task group, and with it the process, when something is over that must not be."""
    await wait
    raise Over(what)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one


def _on_signals() -> asyncio.Task[None]:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, told.set)

    async def stopping() -> None:
        await told.wait()

    return loop.create_task(stopping(), name="stopping")


async def _run(settings: Settings) -> int:
    return await Operator(settings).run()


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the operator; returns the exit code: 0 after SIGTERM, 1 when it must not go on, 2 for wrong settings."""
    try:
        settings = read_settings(argv, environment)
        logs.set_up(settings.log_level)
        return asyncio.run(_run(settings))
    except (ConfigError, NoCluster) as error:
        print(f"blockyard_operator: {error}", file=sys.stderr)  # noqa: T201 - before logging is set up
        return 2
