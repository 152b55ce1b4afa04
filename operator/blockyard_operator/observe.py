"""From the cache and the interchange's word to what a reconcile is given."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

from blockyard.blocks.states import JobState
from blockyard.files.port import schemes
from blockyard.kube import manifest
from blockyard.kube.api import Api
from blockyard.kube.quantities import seconds
from blockyard.kube.sizing import Room
from blockyard.kube.strategic import MergeConflict
from blockyard.wire import keeping
from blockyard.workflow.sources import unread
from blockyard.workflow.spec import Concurrency
from blockyard_operator.cache import Cache, Key
from blockyard_operator.core.crons import CheckedCron, CronWorld, read_cron_spec
from blockyard_operator.core.manifests import Terms, pods_of, sample_of
from blockyard_operator.core.objects import Block, Meta, Pool, Run, template_hash
from blockyard_operator.core.pool_world import PoolWorld
from blockyard_operator.core.sight import BlockWorld
from blockyard_operator.core.workflows import Checked, Rival, RunWorld, attempt_wanted, check, has_started, is_over
from blockyard_operator.hub import HubLine
from blockyard_operator.interchange import Interchange
from blockyard_operator.keys import PoolKeys, has_pool_secret
from blockyard_operator.resources.pool import PoolSpec

FORMS: Final = 4096
"""Objects of each kind whose form is remembered."""

K = TypeVar("K")
V = TypeVar("V")


def _remember(table: dict[K, V], key: K, value: V) -> V:
    if len(table) >= FORMS:
        table.clear()
    table[key] = value
    return value


class Form(NamedTuple):
    """What makes blocks alike."""

    hash: str
    """As in `template_hash`; '' of a block that is a pool of its own."""
    workers: int
    """Of a pod."""
    room: Room
    """What they have together."""
    problem: str = ""
    """Why no pod can be written down; '' if one can."""


class Observer:
    """Makes worlds. `has_secret` tells whether a pool's Secret was seen to."""

    def __init__(
        self, cache: Cache, interchange: Interchange, terms: Terms, *, pod_groups: bool, hub: HubLine | None = None
    ) -> None:
        self._cache = cache
        self._interchange = interchange
        self._terms = terms
        self._pod_groups = pod_groups
        self._hub = hub
        self._runs: dict[tuple[str, int, int, int, float], Checked] = {}
        self._crons: dict[tuple[str, int], CheckedCron] = {}
        self._forms: dict[tuple[str, int, str], Form] = {}
        self.secrets: dict[str, PoolKeys] = {}
        """Keys of the pools, and of the blocks on their own, whose Secret is there; by uid."""

    def pool(self, key: Key) -> PoolWorld | None:
        """A pool's world; None when the pool is gone."""
        pool = self._cache.pools.get(key)
        if pool is None:
            return None
        form = self._form(pool)
        blocks = self._cache.blocks_of(pool)
        rotating = any(one.hash != form.hash and JobState[one.state or "PENDING"].terminal is False for one in blocks)
        self._announce(pool.queue, pool.meta.uid, form, pool.spec, rotating=rotating)
        found = self.secrets.get(pool.meta.uid)
        return PoolWorld(
            pool=pool,
            hash=form.hash,
            blocks=blocks,
            queue=self._interchange.view(pool.queue),
            connected=self._interchange.connected,
            check=self._cache.checks.get(pool.meta.uid),
            problem=form.problem,
            slots=form.workers,
            has_secret=found is not None and found.rotation == pool.rotation,
            announced=self._interchange.is_announced(pool.queue),
            answer_due=self._interchange.answer_due(pool.queue),
            radio=self._hub.view(pool.queue) if self._hub is not None else None,
            held_radio=found.radio if found is not None else None,
            refusal=self._cache.refusals.get(key),
        )

    def run(self, key: Key) -> RunWorld | None:
        """A run's world; None when the run is gone."""
        run = self._cache.runs.get(key)
        if run is None:
            return None
        view = self._interchange.runs.view(run.name)
        if has_started(run, view) and not attempt_wanted(run):
            self._cache.maps.pop(run.meta.uid, None)
        return RunWorld(
            run=run,
            checked=self._checked(run),
            connected=self._interchange.connected,
            view=view,
            maps=self._cache.maps.get(run.meta.uid),
            rivals=tuple(filter(None, map(self._rival, self._cache.group_of(run)))),
        )

    def _rival(self, run: Run) -> Rival | None:
        """What another run of its group is to a run; nothing when it has ended, or is not in order."""
        runs = self._interchange.runs
        started = runs.is_starting(run.name) or has_started(run, runs.view(run.name))
        spec = self._checked(run).spec
        if is_over(run) or run.meta.deleting or (spec is None and not started):
            return None
        policy = spec.concurrency_policy if spec is not None else Concurrency.ALLOW
        return Rival(name=run.meta.name, created_at=run.meta.created_at, policy=policy, started=started)

    def cron(self, key: Key) -> CronWorld | None:
        """The world of what makes runs; None when it is gone."""
        cron = self._cache.crons.get(key)
        if cron is None:
            return None
        form = (cron.meta.uid, cron.meta.generation)
        checked = self._crons.get(form)
        if checked is None:
            checked = _remember(self._crons, form, read_cron_spec(cron.spec, schemes))
        return CronWorld(cron=cron, checked=checked, runs=self._cache.runs_of(cron))

    def _checked(self, run: Run) -> Checked:
        """What is wrong with a run, looked at once for each form of it and of the templates of its namespace."""
        names = {
            key.name: one
            for key, one in (self._cache.templates.items() if run.has_templates else ())
            if key.namespace == run.meta.namespace
        }
        newest = max((one.meta.version for one in names.values()), default=0)
        read = self._cache.maps.get(run.meta.uid)
        at = read.at if read is not None else 0.0
        form = (run.meta.uid, run.meta.generation, len(names), newest, at)  # one that is deleted makes them fewer
        found = self._runs.get(form)
        if found is None:
            templates = {name: one.spec for name, one in names.items()}
            look = read.maps.get if read is not None else unread
            found = check(run.spec, templates, schemes, look, owned=bool(run.meta.owner))
            _remember(self._runs, form, found)
        return found

    def block(self, key: Key) -> BlockWorld | None:
        """A block's world; None when the block is gone."""
        block = self._cache.blocks.get(key)
        if block is None:
            return None
        if not block.spec.pool:
            self._announce(
                block.queue,
                block.meta.uid,
                self._form_alone(block),
                PoolSpec(nodes_per_block=block.spec.nodes, walltime=block.spec.walltime),
            )
        return BlockWorld(
            block=block,
            pods=self._cache.pods_of(key),
            queue=self._interchange.view(block.queue),
            refusal=self._cache.refusals.get(key),
            has_secret=self._has_secret(block.meta, block.spec.pool),
            announced=self._interchange.is_announced(block.queue),
            pool_there=not block.spec.pool or Key("pool", block.meta.namespace, block.spec.pool) in self._cache.pools,
            has_service=key in self._cache.services,
            has_group=key in self._cache.groups,
            wants_group=self._pod_groups,
        )

    async def lost_secrets(self, api: Api) -> set[Key]:
        """Whose Secret was deleted by somebody: it is made again, with a new key. Raises ApiError, ApiUnreachable."""
        owners = [(key, one.meta) for table in (self._cache.pools, self._cache.blocks) for key, one in table.items()]
        lost = {
            key: meta.uid for key, meta in owners if meta.uid in self.secrets and not await has_pool_secret(api, meta)
        }
        for uid in lost.values():
            self.secrets.pop(uid, None)
        return set(lost)

    def _announce(self, queue: str, uid: str, form: Form, spec: PoolSpec, *, rotating: bool = False) -> None:
        """Keep the interchange's idea of a pool as it should be; nothing is said when it is.

        While blocks of an earlier form live, `rotating`, the key before the present one is good too.
        """
        found, room = self.secrets.get(uid), form.room
        if found is not None:
            self._interchange.announce(
                keeping.SetPool(
                    queue,
                    [found.public, *([found.previous] if rotating and found.previous else [])],
                    durability=spec.durability.value,
                    workers=form.workers,
                    cores=room.cores or 0.0,
                    memory_bytes=int(room.memory or 0),
                    accelerators=room.accelerators,
                    nodes_per_block=spec.nodes_per_block,
                    walltime=0.0 if spec.walltime is None else seconds(spec.walltime),
                )
            )

    def _has_secret(self, block: Meta, pool: str) -> bool:
        """A block of a pool uses the pool's Secret; one on its own has one of its own."""
        owner = self._cache.pools.get(Key("pool", block.namespace, pool)) if pool else None
        return (owner.meta.uid if owner is not None else block.uid) in self.secrets or bool(pool)

    def _form(self, pool: Pool) -> Form:
        key = (pool.meta.uid, pool.meta.generation, pool.rotation)
        known = self._forms.get(key)
        if known is None:
            hashed = template_hash(pool.spec, self._terms.image, pool.rotation)
            known = _remember(self._forms, key, _read_form(hashed, sample_of(pool, self._terms)))
        return known

    def _form_alone(self, block: Block) -> Form:
        """Of a block that is a pool of its own."""
        key = (block.meta.uid, block.meta.generation, "")
        known = self._forms.get(key)
        return known or _remember(self._forms, key, _read_form("", pods_of(block, self._terms)))


def _read_form(hashed: str, sample: manifest.Block) -> Form:
    try:
        manifest.pod(sample, 0)
        return Form(hashed, *manifest.capacity(sample))
    except MergeConflict as conflict:
        return Form(hashed, 1, Room(), f"spec.template.{conflict}")
