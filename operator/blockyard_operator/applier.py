"""Carries plans out, one effect after the other; what follows a failure is left to the next reconcile.

Each answer of the API server goes into the cache, so that the next reconcile knows what this one did. Writes are
fenced by leadership in the API connection itself, and counts that merely changed are written seldom.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from blockyard.errors import BadKey
from blockyard.kube import manifest
from blockyard.kube.api import Api
from blockyard.kube.faults import ApiError
from blockyard.kube.kinds import BLOCK, CONFIG_MAP, CRON, POD, POD_GROUP, POOL, RUN, SERVICE, Kind
from blockyard.kube.quantities import misread
from blockyard.kube.strategic import MergeConflict
from blockyard.workflow.sources import ConfigMap
from blockyard_operator import keys, orders
from blockyard_operator.cache import Cache, Key
from blockyard_operator.core import plan as do
from blockyard_operator.core.manifests import Terms, pods_of, sample_of
from blockyard_operator.core.objects import ENDING, Meta
from blockyard_operator.core.refusals import OF_THE_TEMPLATE, bad_key, problem_of_template, read_refusal
from blockyard_operator.core.view import HeldRadio, MapsRead, Refusal, TemplateCheck
from blockyard_operator.events import Events
from blockyard_operator.hub import HubLine
from blockyard_operator.interchange import Interchange
from blockyard_operator.metrics import Metrics
from blockyard_operator.observe import Observer
from blockyard_operator.resources.fields import Record
from blockyard_operator.resources.shape import builtins

log = logging.getLogger(__name__)

CALM_SECONDS: Final = 5.0
"""Counts that merely changed are written no more often, and more seldom the more objects there are."""
CALM_PER_OBJECT: Final = 0.05


class Rim(msgspec.Struct, frozen=True, kw_only=True):
    """What effects are carried out through. `managers`: where pods reach the interchange; `reporter`: our name."""

    api: Api
    cache: Cache
    observer: Observer
    interchange: Interchange
    metrics: Metrics
    terms: Terms
    server_key: bytes
    managers: str
    reporter: str
    namespace: str
    hub: HubLine | None = None


class Applier:
    """`on_change` is told the keys that an answer concerns, `later` a key and seconds from now."""

    def __init__(self, rim: Rim, on_change: Callable[[set[Key]], None], later: Callable[[Key, float], None]) -> None:
        self._rim = rim
        self._on_change = on_change
        self._later = later
        self._written: dict[str, float] = {}
        self._events = Events(rim.api, rim.reporter)

    async def carry_out(self, key: Key, plan: do.Plan) -> None:
        """Do all of a plan. Raises ApiError, ApiUnreachable, NotLeader."""
        for effect in plan.effects:
            self._rim.metrics.effects.labels(type(effect).__name__).inc()
            if not await self._do(key, effect):
                return

    def forget(self, uid: str) -> None:
        """An object is gone."""
        self._written.pop(uid, None)

    async def _do(self, key: Key, effect: do.Effect) -> bool:  # noqa: C901, PLR0912 - one flat case for each effect
        """Carry one effect out; False when what follows in the plan makes no sense any more."""
        rim = self._rim
        match effect:
            case do.CreateBlock(manifest=made):
                return await self._granted(key, self._create(BLOCK, made))
            case do.DrainBlock(block=block, ending=ending):
                notes = {"uid": block.uid, "annotations": {ENDING: ending}}
                await self._patch(BLOCK, block, {"metadata": notes, "spec": {"drain": True}})
            case do.DeleteBlock(block=block):
                await rim.api.delete(BLOCK, block.namespace, block.name, uid=block.uid)
            case do.CreatePod(block=block, index=index):
                return await self._create_pod(key, block, index)
            case do.CreateService(block=block):
                return await self._granted(key, self._create_service(key))
            case do.CreatePodGroup(block=block):
                return await self._granted(key, self._create_group(key, block))
            case do.DeletePod(namespace=namespace, name=name, uid=uid):
                await rim.api.delete(POD, namespace, name, uid=uid)
            case do.MarkEvictable(namespace=namespace, name=name, uid=uid, evictable=evictable):
                notes = {"uid": uid, "annotations": {manifest.SAFE_TO_EVICT: "true" if evictable else "false"}}
                await self._patch(POD, Meta(namespace=namespace, name=name, uid=uid), {"metadata": notes})
            case do.MakeSecret(owner=owner, kind=kind, radio=radio):
                return await self._granted(key, self._make_secret(owner, kind, radio))
            case do.CheckTemplate(pool=pool, hash=of):
                return await self._check(key, pool, of)
            case do.WriteBlockStatus(block=block, status=status, urgent=urgent):
                return await self._status(key, BLOCK, block, status, urgent=urgent)
            case do.WritePoolStatus(pool=pool, status=status, urgent=urgent):
                return await self._status(key, POOL, pool, status, urgent=urgent)
            case do.WriteRunStatus(run=run, status=status, urgent=urgent):
                return await self._status(key, RUN, run, status, urgent=urgent)
            case do.CreateRun(cron=cron, manifest=made):
                await self._create_run(cron, made)
            case do.WriteCronStatus(cron=cron, status=status):
                return await self._status(key, CRON, cron, status, urgent=True)
            case do.DeleteRun(run=run):
                await rim.api.delete(RUN, run.namespace, run.name, uid=run.uid)
            case do.ReadConfigMaps(run=run, names=names):
                await self._read_maps(key, run, names)
            case do.Tell():
                await self._events.tell(effect)
            case do.StartRun() | do.RetryRun() | do.AskRun() | do.HoldRun() | do.EndRun():
                orders.give_of_run(rim.interchange.runs, effect)
            case do.AskRadio() | do.ShutRadio():
                orders.give_of_radio(rim.hub, effect)
            case _:
                orders.give(rim.interchange, effect)
                if isinstance(effect, do.ReportBlock) and effect.status.terminal:
                    rim.metrics.ends.labels(str(effect.status.state)).inc()
        return True

    # --- objects ----------------------------------------------------------------------------------------------------

    async def _create(self, kind: Kind, made: dict[str, Any]) -> None:
        try:
            answer = await self._rim.api.create(kind, made)
        except ApiError as error:
            if not error.already_exists:
                raise
            answer = await self._rim.api.get(kind, made["metadata"]["namespace"], made["metadata"]["name"])
        self._take(kind, answer)

    async def _create_run(self, cron: Meta, made: dict[str, Any]) -> None:
        """Make a run of a CronWorkflowRun; that it is refused is told, and tried again."""
        name = made["metadata"]["name"]
        try:
            await self._create(RUN, made)
        except ApiError as error:
            if not error.transient:
                await self._events.tell(_failed_create(cron, f"{name}: {error.message}"))
            raise
        found = self._rim.cache.runs.get(Key("run", cron.namespace, name))
        if found is not None and found.meta.owner != cron.uid:
            await self._events.tell(_failed_create(cron, f"{name}: there is another WorkflowRun of this name"))

    async def _patch(self, kind: Kind, meta: Meta, patch: dict[str, Any]) -> None:
        try:
            self._take(kind, await self._rim.api.patch(kind, meta.namespace, meta.name, patch))
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise  # else it is gone, or another one has its name: news will tell

    def _take(self, kind: Kind, answer: dict[str, Any]) -> None:
        self._on_change(self._rim.cache.see(kind, answer))

    async def _create_pod(self, key: Key, meta: Meta, index: int) -> bool:
        block = self._rim.cache.blocks.get(key)
        if block is None or block.meta.uid != meta.uid:
            return False
        try:
            made = manifest.pod(pods_of(block, self._rim.terms, group=key in self._rim.cache.groups), index)
        except MergeConflict as conflict:
            said = f"spec.template.{conflict}"
            return self._refused(key, Refusal(reason="InvalidPod", message=said, at=time.time(), lasting=True))
        try:
            answer = await self._rim.api.create(POD, made)
        except ApiError as error:
            if error.transient:
                raise
            if not error.already_exists:
                return self._refused(key, self._read(key, error, made))
            answer = await self._rim.api.get(POD, meta.namespace, made["metadata"]["name"])
            if all(one["uid"] != meta.uid for one in answer["metadata"].get("ownerReferences") or ()):
                return self._refused(key, self._read(key, error, made))
        self._rim.cache.refusals.pop(key, None)
        self._take(POD, answer)
        return True

    async def _granted(self, key: Key, making: Awaitable[None]) -> bool:
        """Make something; that it cannot be is noted for the next reconcile. Raises what passes."""
        try:
            await making
        except ApiError as error:
            if error.transient:
                raise
            return self._refused(key, self._read(key, error, {"spec": {}}))
        except BadKey as error:
            return self._refused(key, bad_key(str(error), time.time(), self._rim.cache.refusals.get(key)))
        self._rim.cache.refusals.pop(key, None)
        return True

    def _read(self, key: Key, error: ApiError, made: dict[str, Any]) -> Refusal:
        fields = [(cause.field, cause.message) for cause in error.causes]
        if not fields and error.code == 400:
            fields = list(misread(made["spec"], "spec"))
        before = self._rim.cache.refusals.get(key)
        return read_refusal(error.code, error.reason, error.message, fields, time.time(), before)

    def _refused(self, key: Key, refusal: Refusal) -> bool:
        log.warning("refused: %s", refusal.message, extra={"object": "/".join(key), "reason": refusal.reason})
        self._rim.metrics.refusals.labels(refusal.reason).inc()
        self._rim.cache.refusals[key] = refusal
        self._on_change({key})
        return False

    async def _create_service(self, key: Key) -> None:
        block = self._rim.cache.blocks[key]
        try:
            await self._rim.api.create(SERVICE, manifest.service(pods_of(block, self._rim.terms)))
        except ApiError as error:
            if not error.already_exists:
                raise
        self._rim.cache.services.add(key)

    async def _create_group(self, key: Key, meta: Meta) -> None:
        nodes = self._rim.cache.blocks[key].spec.nodes
        owner = pods_of(self._rim.cache.blocks[key], self._rim.terms).owner
        group = {
            "apiVersion": POD_GROUP.api_version,
            "kind": POD_GROUP.name,
            "metadata": {"name": meta.name, "namespace": meta.namespace, "ownerReferences": [owner]},
            "spec": {"schedulingPolicy": {"gang": {"minCount": nodes}}},
        }
        try:
            await self._rim.api.create(POD_GROUP, group)
        except ApiError as error:
            if not error.already_exists:
                raise
        self._rim.cache.groups.add(key)

    async def _make_secret(self, owner: Meta, kind: str, radio: HeldRadio | None) -> None:
        key = Key("pool" if kind == "WorkerPool" else "block", owner.namespace, owner.name)
        pool = self._rim.cache.pools.get(key)
        place = keys.PoolPlace(
            owner=owner,
            kind=kind,
            queue=f"{owner.namespace}.{owner.name}",
            endpoint=self._rim.managers,
            server_key=self._rim.server_key,
        )
        found = await keys.pool_keys(self._rim.api, place, pool.rotation if pool is not None else "", radio)
        self._rim.observer.secrets[owner.uid] = found
        self._on_change({key})

    async def _check(self, key: Key, meta: Meta, of: str) -> bool:
        """A dry run of the first pod. Quota and the like are no fault of the template."""
        pool = self._rim.cache.pools.get(key)
        if pool is None or pool.meta.uid != meta.uid:
            return False
        check = TemplateCheck(hash=of, at=time.time())
        sample = manifest.pod(sample_of(pool, self._rim.terms), 0)
        try:
            await self._rim.api.create(POD, sample, dry_run=True)
        except ApiError as error:
            if error.transient:
                raise
            refusal = self._read(key, error, sample)
            if refusal.reason in OF_THE_TEMPLATE:
                problem = problem_of_template(refusal)
                check = msgspec.structs.replace(check, problem=problem, reason=refusal.reason)
        self._rim.cache.checks[meta.uid] = check
        self._on_change({key})
        return True

    async def _read_maps(self, key: Key, meta: Meta, names: tuple[str, ...]) -> None:
        """What a run's ConfigMaps hold; that one is not there, or not ours to read, is noted for the next reconcile."""
        cache = self._rim.cache
        before = cache.maps.get(meta.uid)
        found = {name: await self._read_map(meta.namespace, name) for name in names}
        run = cache.runs.get(key)
        if run is None or run.meta.uid != meta.uid:
            return
        tries = before.tries + 1 if before is not None else 1
        maps = {**before.maps, **found} if before is not None else found
        cache.maps[meta.uid] = MapsRead(maps=maps, at=time.time(), tries=tries)
        self._on_change({key})

    async def _read_map(self, namespace: str, name: str) -> ConfigMap:
        try:
            answer = await self._rim.api.get(CONFIG_MAP, namespace, name)
        except ApiError as error:
            if error.transient:
                raise
            if error.not_found:
                return ConfigMap(problem=f"there is no ConfigMap {name!r} in namespace {namespace!r}")
            return ConfigMap(problem=f"ConfigMap {name!r} cannot be read: {error.message}")
        return ConfigMap(answer.get("data") or {})

    # --- status ------------------------------------------------------------------------------------------------

    async def _status(self, key: Key, kind: Kind, meta: Meta, status: Record, *, urgent: bool) -> bool:
        now = time.monotonic()
        calm = CALM_SECONDS + CALM_PER_OBJECT * len(self._rim.cache.blocks)
        due = self._written.get(meta.uid, now - calm) + calm
        if not urgent and now < due:
            self._later(key, due - now)
            return True
        body = {
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "status": builtins(status),
        }
        try:
            answer = await self._rim.api.apply(kind, body, manager=keys.MANAGER, subresource="status")
        except ApiError as error:
            if error.not_found or error.conflict:
                return False
            raise
        self._written[meta.uid] = now
        self._take(kind, answer)
        return True


def _failed_create(cron: Meta, note: str) -> do.Tell:
    return do.Tell(cron, "CronWorkflowRun", "FailedCreate", note, warning=True)
