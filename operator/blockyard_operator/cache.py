"""What the API server holds, as far as it was seen: kept current by watches, and by the answers to our own writes.

An older version never replaces a newer one, and what was deleted stays so, whatever order news come in. So an object
that we made is there for the next reconcile, though the watch has yet to tell of it.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from blockyard.kube.kinds import BLOCK, CRON, POD, POOL, RUN, TEMPLATE, Kind
from blockyard.kube.pods import Pod, read_pod
from blockyard_operator.core.objects import (
    Block,
    CronRun,
    Pool,
    Run,
    Template,
    read_block,
    read_cron,
    read_pool,
    read_run,
    read_template,
)
from blockyard_operator.core.view import MapsRead, Refusal, TemplateCheck
from blockyard_operator.core.workflows import is_over

BURIED: Final = 20_000
"""So many deleted objects are remembered, against news of them that come late."""


class Key(NamedTuple):
    """Of a pool, a block, a run or what makes runs: what is to be reconciled."""

    kind: str
    namespace: str
    name: str


class Cache:
    """Pools, blocks and pods, with the ways between them. Methods return the keys that a change concerns."""

    def __init__(self) -> None:
        self.pools: dict[Key, Pool] = {}
        self.blocks: dict[Key, Block] = {}
        self.runs: dict[Key, Run] = {}
        self.crons: dict[Key, CronRun] = {}
        self.templates: dict[Key, Template] = {}
        self._groups: dict[str, set[Key]] = defaultdict(set)
        self._runs_of: dict[str, set[Key]] = defaultdict(set)
        """Runs by their group, and by the uid of their owner."""
        self._cron_of: dict[str, Key] = {}
        self.checks: dict[str, TemplateCheck] = {}
        """By the pool's uid."""
        self.maps: dict[str, MapsRead] = {}
        """By the run's uid, until it has started."""
        self.refusals: dict[Key, Refusal] = {}
        """By block, or pool: what the API server would not make of it."""
        self.services: set[Key] = set()
        self.groups: set[Key] = set()
        """Blocks whose Service, or PodGroup, was made."""
        self._pods: dict[Key, dict[str, Pod]] = defaultdict(dict)
        """By block; those that are gone stay until their block does."""
        self._blocks_of: dict[str, set[Key]] = defaultdict(set)
        """By the pool's uid."""
        self._pool_of: dict[str, Key] = {}
        self._buried: OrderedDict[str, None] = OrderedDict()
        self._templates: dict[bytes, Any] = {}

    # --- news -------------------------------------------------------------------------------------------------------

    def see(self, kind: Kind, raw: Mapping[str, Any], *, deleted: bool = False) -> set[Key]:
        """Take an object in, or its deletion."""
        uid = raw["metadata"]["uid"]
        if uid in self._buried:
            return set()
        if deleted:
            self._bury(uid)
        if kind is POD:
            return self._see_pod(read_pod(raw), deleted=deleted)
        if kind is BLOCK:
            return self._see_block(read_block(raw), deleted=deleted)
        if kind is POOL:
            return self._see_pool(read_pool(raw), deleted=deleted)
        if kind is RUN:
            return self._see_run(read_run(raw), deleted=deleted)
        if kind is TEMPLATE:
            return self._see_template(read_template(raw), deleted=deleted)
        if kind is CRON:
            return self._see_cron(read_cron(raw), deleted=deleted)
        raise ValueError(f"{kind.name}: pools, blocks, runs, what makes runs, templates and pods are kept")

    def vanished(self, kind: Kind, listed: set[str], seen_before: int) -> set[Key]:
        """Objects up to a version that a list of that version does not have were deleted while nobody looked."""
        found: set[Key] = set()
        lost = {uid for uid, version in self._versions(kind).items() if uid not in listed and version <= seen_before}
        for uid in lost:
            self._bury(uid)
        tables: tuple[tuple[Kind, Mapping[Key, Any], Callable[..., set[Key]]], ...] = (
            (POOL, self.pools, self._see_pool),
            (BLOCK, self.blocks, self._see_block),
            (RUN, self.runs, self._see_run),
            (CRON, self.crons, self._see_cron),
            (TEMPLATE, self.templates, self._see_template),
        )
        for of, table, see in tables:
            if kind is of:
                for one in [one for one in table.values() if one.meta.uid in lost]:
                    found |= see(one, deleted=True)
        if kind is POD:
            for pod in [one for pods in self._pods.values() for one in pods.values() if one.uid in lost]:
                found |= self._see_pod(pod, deleted=True)
        return found

    def behind(self, kind: Kind, versions: Mapping[str, int]) -> set[str]:
        """Of these objects (uid to version) those not seen in this version or a later one, nor known to be deleted."""
        seen = self._versions(kind)
        return {uid for uid, version in versions.items() if seen.get(uid, -1) < version and uid not in self._buried}

    def _versions(self, kind: Kind) -> dict[str, int]:
        if kind is POD:
            return {pod.uid: pod.version for pods in self._pods.values() for pod in pods.values() if not pod.gone}
        tables: dict[Kind, Iterable[Pool | Block | Run | CronRun | Template]] = {
            POOL: self.pools.values(),
            BLOCK: self.blocks.values(),
            RUN: self.runs.values(),
            CRON: self.crons.values(),
            TEMPLATE: self.templates.values(),
        }
        objects = tables[kind]
        return {one.meta.uid: one.meta.version for one in objects}

    def _see_pool(self, pool: Pool, *, deleted: bool) -> set[Key]:
        key = Key("pool", pool.meta.namespace, pool.meta.name)
        old = self.pools.get(key)
        if old is not None and old.meta.uid == pool.meta.uid and old.meta.version > pool.meta.version:
            return set()
        if deleted:
            if old is not None and old.meta.uid == pool.meta.uid:
                del self.pools[key]
            self._pool_of.pop(pool.meta.uid, None)
            self.checks.pop(pool.meta.uid, None)
            self.refusals.pop(key, None)
        else:
            self.pools[key] = pool
            self._pool_of[pool.meta.uid] = key
        return {key}

    def _see_run(self, run: Run, *, deleted: bool) -> set[Key]:
        """Concerns those of its group that have not ended, and what made it."""
        key = Key("run", run.meta.namespace, run.meta.name)
        before = self.runs.get(key)
        _keep(self.runs, key, run, deleted=deleted)
        now = self.runs.get(key)
        if before is not None and (now is None or now.meta.uid != before.meta.uid):
            self.maps.pop(before.meta.uid, None)
        for one in (before, now):
            if one is not None:
                _file(self._groups, one.group, key, there=one is now)
                _file(self._runs_of, one.meta.owner, key, there=one is now)
        rivals = {other for other in self._groups.get(run.group, ()) if not is_over(self.runs[other])}
        maker = self._cron_of.get(run.meta.owner)
        return {key, *rivals, *([maker] if maker is not None else [])}

    def _see_cron(self, cron: CronRun, *, deleted: bool) -> set[Key]:
        key = Key("cron", cron.meta.namespace, cron.meta.name)
        _keep(self.crons, key, cron, deleted=deleted)
        if deleted:
            self._cron_of.pop(cron.meta.uid, None)
        else:
            self._cron_of[cron.meta.uid] = key
        return {key}

    def _see_template(self, template: Template, *, deleted: bool) -> set[Key]:
        """Concerns the runs that take steps from it, maybe by way of another template."""
        meta = template.meta
        _keep(self.templates, Key("template", meta.namespace, meta.name), template, deleted=deleted)
        return {key for key, run in self.runs.items() if key.namespace == meta.namespace and run.has_templates}

    def _see_block(self, block: Block, *, deleted: bool) -> set[Key]:
        key = Key("block", block.meta.namespace, block.meta.name)
        old = self.blocks.get(key)
        if old is not None and old.meta.uid == block.meta.uid and old.meta.version > block.meta.version:
            return set()
        if deleted:
            if old is not None and old.meta.uid == block.meta.uid:
                del self.blocks[key]
                self._forget(key)
            self._blocks_of[block.meta.owner].discard(key)
            if not self._blocks_of[block.meta.owner]:
                del self._blocks_of[block.meta.owner]
        else:
            self.blocks[key] = self._shared(block)
            self._blocks_of[block.meta.owner].add(key)
        pool = self._pool_of.get(block.meta.owner)
        return {key} if pool is None else {key, pool}

    def _see_pod(self, pod: Pod, *, deleted: bool) -> set[Key]:
        key = Key("block", pod.namespace, pod.block)
        pods = self._pods[key]
        old = pods.get(pod.name)
        if old is not None and old.uid == pod.uid and (old.version > pod.version or old.gone):
            return set()
        if deleted and (key not in self.blocks or (old is not None and old.uid != pod.uid)):
            if old is not None and old.uid == pod.uid:
                del pods[pod.name]
            if not pods:
                del self._pods[key]
            return set()
        pods[pod.name] = msgspec.structs.replace(pod, gone=True) if deleted else pod
        return {key}

    def _forget(self, block: Key) -> None:
        """A block is gone; its pods that are still there follow by themselves."""
        pods = {name: pod for name, pod in self._pods.pop(block, {}).items() if not pod.gone}
        if pods:
            self._pods[block] = pods
        self.refusals.pop(block, None)
        self.services.discard(block)
        self.groups.discard(block)

    def _bury(self, uid: str) -> None:
        self._buried[uid] = None
        while len(self._buried) > BURIED:
            self._buried.popitem(last=False)

    def _shared(self, block: Block) -> Block:
        """The blocks of a pool carry the same template; it is kept once."""
        if not block.hash:
            return block
        text = f"{block.meta.owner}/{block.hash}".encode()
        template = self._templates.setdefault(text, block.spec.template)
        if template != block.spec.template:
            return block
        return msgspec.structs.replace(block, spec=msgspec.structs.replace(block.spec, template=template))

    # --- looking ----------------------------------------------------------------------------------------------------

    def waiting_for(self, namespace: str, pool: str) -> set[Key]:
        """Blocks that were applied by hand to work for a pool, and whose pods are yet to be made."""
        alone = (key for key in self._blocks_of.get("", ()) if key.namespace == namespace)
        found = ((key, self.blocks[key]) for key in alone if key in self.blocks)
        return {key for key, block in found if block.spec.pool == pool and not block.status.pods.created}

    def blocks_of(self, pool: Pool) -> tuple[Block, ...]:
        """The blocks that a pool owns."""
        return tuple(self.blocks[key] for key in self._blocks_of.get(pool.meta.uid, ()) if key in self.blocks)

    def pods_of(self, block: Key) -> tuple[Pod, ...]:
        """A block's pods, those that are gone included; of an earlier block of the same name, none."""
        owner = self.blocks[block].meta.uid
        return tuple(pod for pod in self._pods.get(block, {}).values() if pod.owner in ("", owner))

    def group_of(self, run: Run) -> tuple[Run, ...]:
        """The other runs of its group."""
        found = [self.runs[key] for key in self._groups.get(run.group, ())]
        return tuple(one for one in found if one.meta.uid != run.meta.uid)

    def runs_of(self, cron: CronRun) -> tuple[Run, ...]:
        """The runs that a CronWorkflowRun owns."""
        return tuple(self.runs[key] for key in self._runs_of.get(cron.meta.uid, ()))

    def has_pods(self, namespace: str, pool: str) -> bool:
        """Whether a pool that is gone has pods that are not, by the names that its blocks had."""
        return any(
            key.namespace == namespace and key.name.rpartition("-")[0] == pool
            for key, pods in self._pods.items()
            if any(not pod.gone for pod in pods.values())
        )

    def keys(self) -> list[Key]:
        """Everything there is to reconcile."""
        return [*self.pools, *self.blocks, *self.runs, *self.crons]

    def is_there(self, key: Key) -> bool:
        """Whether this pool or block is there."""
        return key in self.pools or key in self.blocks

    def count_pods(self) -> int:
        """How many pods are there."""
        return sum(not pod.gone for pods in self._pods.values() for pod in pods.values())


_Kept = TypeVar("_Kept", Run, CronRun, Template)


def _file(index: dict[str, set[Key]], name: str, key: Key, *, there: bool) -> None:
    """Put a key under a name, or take it away; names without keys are not kept."""
    if there and name:
        index[name].add(key)
    elif name in index:
        index[name].discard(key)
        if not index[name]:
            del index[name]


def _keep(table: dict[Key, _Kept], key: Key, one: _Kept, *, deleted: bool) -> None:
    """Put an object into its table, unless a newer one is there; or take it out, if it is the one that is there."""
    old = table.get(key)
    same = old is not None and old.meta.uid == one.meta.uid
    if deleted:
        if same:
            del table[key]
    elif not same or old is None or old.meta.version <= one.meta.version:
        table[key] = one
