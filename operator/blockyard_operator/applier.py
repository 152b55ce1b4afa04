"""Carries plans out, one effect after the other; what follows a failure is left to the next reconcile.

Each answer of the API server goes into the cache, so that the next reconcile knows what this one did. Writes are
fenced by leadership in the API connection itself, and counts that merely changed are written seldom.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import msgspec

from blockyard.errors import BadKey
from blockyard.kube import manifest
from blockyard.kube.api import Api
from blockyard.kube.faults import ApiError, ApiUnreachable
from blockyard.kube.kinds import BLOCK, CONFIG_MAP, CRON, EVENT, POD, POD_GROUP, POOL, RUN, SERVICE, Kind
from blockyard.kube.quantities import misread
from blockyard.kube.strategic import MergeConflict
from blockyard.workflow.compiling import compile_again, compile_run
from blockyard.workflow.sources import ConfigMap
from blockyard_operator import keys
from blockyard_operator.cache import Cache, Key
from blockyard_operator.core import plan as do
from blockyard_operator.core.manifests import Terms, pods_of, sample_of
from blockyard_operator.core.objects import ENDING, Meta
from blockyard_operator.core.refusals import OF_THE_TEMPLATE, bad_key, problem_of_template, read_refusal
from blockyard_operator.core.view import HeldRadio, MapsRead, Refusal, TemplateCheck
from blockyard_operator.hub import HubLine
from blockyard_operator.interchange import Interchange
from blockyard_operator.metrics import Metrics
from blockyard_operator.observe import Observer
from blockyard_operator.resources.fields import API_VERSION, Record
from blockyard_operator.resources.shape import builtins

log = logging.getLogger(__name__)

CALM_SECONDS: Final = 5.0
"""Counts that merely changed are written no more often, and more seldom the more objects there are."""
CALM_PER_OBJECT: Final = 0.05
TOLD: Final = 4096
"""Events that are remembered, so that none is written twice."""
TOLD_SECONDS: Final = 3600.0


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
        self._told: OrderedDict[str, float] = OrderedDict()

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
            case do.StartRun() | do.RetryRun() | do.AskRun() | do.HoldRun() | do.EndRun():
                self._order_run(effect)
            case do.Tell():
                await self._tell(effect)
            case _:
                self._say(effect)
        return True

    def _say(
        self, effect: do.DrainManagers | do.SayGone | do.ReportBlock | do.FailTasks | do.AskRadio | do.ShutRadio
    ) -> None:
        """What interchange and hub are told needs no answer: it is said again as long as the world does not show it."""
        line = self._rim.interchange
        match effect:
            case do.DrainManagers(queue=queue, block=block, grace=grace):
                line.drain(queue, block, grace)
            case do.SayGone(queue=queue, block=block, reason=reason):
                line.gone(queue, block, reason)
            case do.ReportBlock(queue=queue, block=block, status=status):
                line.report(queue, block, status)
                if status.terminal:
                    self._rim.metrics.ends.labels(str(status.state)).inc()
            case do.FailTasks(queue=queue, reason=reason):
                line.fail_tasks(queue, reason)
            case do.AskRadio() | do.ShutRadio():
                self._ask_hub(effect)

    def _order_run(self, effect: do.StartRun | do.RetryRun | do.AskRun | do.HoldRun | do.EndRun) -> None:
        """The same of runs; their answers bring their key back."""
        line = self._rim.interchange.runs
        match effect:
            case do.StartRun(run=run, name=name, spec=spec):
                order = compile_run(spec, name, queue_of=lambda pool: f"{run.namespace}.{pool}")
                line.start(order, (run.namespace, run.name))
            case do.RetryRun(run=run, name=name, spec=spec, attempt=attempt):
                again = partial(compile_again, spec, queue_of=lambda pool: f"{run.namespace}.{pool}")
                line.retry(name, again, attempt, (run.namespace, run.name))
            case do.AskRun(run=run, name=name):
                line.ask(name, (run.namespace, run.name))
            case do.HoldRun(name=name, held=held, running=running):
                line.hold(name, held=held, running=running)
            case do.EndRun(name=name):
                line.end(name)

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
                await self._tell(_failed_create(cron, f"{name}: {error.message}"))
            raise
        found = self._rim.cache.runs.get(Key("run", cron.namespace, name))
        if found is not None and found.meta.owner != cron.uid:
            await self._tell(_failed_create(cron, f"{name}: there is another WorkflowRun of this name"))

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

    def _ask_hub(self, effect: do.AskRadio | do.ShutRadio) -> None:
        hub = self._rim.hub
        assert hub is not None, "there is none to ask"
        match effect:
            case do.AskRadio(queue=queue, wanted=wanted, known=known):
                hub.ask(queue, wanted, known)
            case do.ShutRadio(queue=queue):
                hub.shut(queue)

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

    # --- status and events ------------------------------------------------------------------------------------------

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

    async def _tell(self, effect: do.Tell) -> None:
        """Write an Event, unless it was written within the hour. That nobody hears of it is no reason to stop."""
        about, now = effect.about, time.time()
        text = f"{about.uid}/{effect.reason}/{effect.note}".encode()
        digest = hashlib.blake2b(text, digest_size=8).hexdigest()
        if now - self._told.get(digest, 0.0) < TOLD_SECONDS:
            return
        self._told[digest] = now
        while len(self._told) > TOLD:
            self._told.popitem(last=False)
        event = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {"name": f"{about.name}.{digest}", "namespace": about.namespace},
            "eventTime": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": "blockyard.dev/operator",
            "reportingInstance": self._rim.reporter[:128],
            "action": "Reconcile",
            "type": "Warning" if effect.warning else "Normal",
            "reason": effect.reason[:128],
            "note": effect.note[:1024],
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": effect.kind,
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
            },
        }
        try:
            await self._rim.api.create(EVENT, event)
        except (ApiError, ApiUnreachable) as error:
            if not (isinstance(error, ApiError) and error.already_exists):
                log.warning("an Event could not be written: %s", error, extra={"reason": effect.reason})


def _failed_create(cron: Meta, note: str) -> do.Tell:
    return do.Tell(cron, "CronWorkflowRun", "FailedCreate", note, warning=True)
