"""Takes keys from the queue, looks, decides, acts: the loop around the pure core."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from blockyard.errors import BlockyardError
from blockyard.kube.faults import ApiError, ApiUnreachable
from blockyard_operator.applier import Applier
from blockyard_operator.cache import Cache, Key
from blockyard_operator.core.blocks import reconcile_block
from blockyard_operator.core.crons import reconcile_cron
from blockyard_operator.core.plan import Plan
from blockyard_operator.core.pools import reconcile_pool
from blockyard_operator.core.workflows import reconcile_run
from blockyard_operator.election import NotLeader
from blockyard_operator.hub import HubLine
from blockyard_operator.interchange import Interchange
from blockyard_operator.metrics import Metrics
from blockyard_operator.observe import Observer
from blockyard_operator.queue import WorkQueue

log = logging.getLogger(__name__)


class Reconciler:
    """`run` works keys off, as many at a time as it is called."""

    def __init__(
        self, queue: WorkQueue[Key], cache: Cache, observer: Observer, interchange: Interchange, metrics: Metrics
    ) -> None:
        self._queue = queue
        self._cache = cache
        self._observer = observer
        self._interchange = interchange
        self._metrics = metrics
        self.applier: Applier
        self.hub: HubLine | None = None
        self.on_run_gone: Callable[[], None] = _nothing
        """A WorkflowRun is gone, and its run at the interchange is to be forgotten."""

    async def run(self) -> None:
        """Work off keys for ever. Raises NotLeader when this process must not write any more."""
        while True:
            key, waited = await self._queue.get()
            self._metrics.waited.labels(key.kind).observe(waited)
            began = time.monotonic()
            result = await self._take_up(key)
            self._metrics.reconciles.labels(key.kind, result).inc()
            self._metrics.seconds.labels(key.kind).observe(time.monotonic() - began)

    async def _take_up(self, key: Key) -> str:
        """Reconcile one key; one that goes wrong comes again later, and the others do not wait for it."""
        try:
            wake_at = await self._reconcile(key)
        except NotLeader:
            raise
        except (ApiError, ApiUnreachable, BlockyardError) as error:
            pause = self._queue.failed(key)
            log.warning("not done: %s; again in %.1f s", error, pause, extra={"object": "/".join(key)})
            return "failed"
        except Exception:
            pause = self._queue.failed(key)
            log.exception("a reconcile broke; again in %.1f s", pause, extra={"object": "/".join(key)})
            return "broke"
        self._queue.done(key)
        if wake_at is not None:
            self._queue.add_at(key, time.monotonic() + max(0.0, wake_at - time.time()))
        return "done"

    async def _reconcile(self, key: Key) -> float | None:
        plan = self._plan(key)
        if plan is None:
            return None
        await self.applier.carry_out(key, plan)
        return plan.wake_at

    def _plan(self, key: Key) -> Plan | None:
        now = time.time()
        if key.kind == "pool":
            pool = self._observer.pool(key)
            if pool is not None:
                return reconcile_pool(pool, now)
        elif key.kind == "run":
            run = self._observer.run(key)
            if run is not None:
                return reconcile_run(run, now)
            self.on_run_gone()
            return None
        elif key.kind == "cron":
            cron = self._observer.cron(key)
            return reconcile_cron(cron, now) if cron is not None else None
        else:
            block = self._observer.block(key)
            if block is not None:
                return reconcile_block(block, now)
        self._forget(key)
        return None

    def _forget(self, key: Key) -> None:
        """An object is gone; the interchange's pool of its name too, unless the other kind has one of that name."""
        if not any(self._cache.is_there(Key(kind, key.namespace, key.name)) for kind in ("pool", "block")):
            self._interchange.forget(f"{key.namespace}.{key.name}")
        if self.hub is not None and key.kind == "pool":
            self.hub.forget(f"{key.namespace}.{key.name}")


def _nothing() -> None:
    return None
