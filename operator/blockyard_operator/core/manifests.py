"""From a WorkerBlock, or a pool's wish for one, to what `blockyard.kube.manifest` makes pods from. Pure."""

from __future__ import annotations

import msgspec

from blockyard.kube import manifest
from blockyard.kube.quantities import amount, seconds
from blockyard.kube.sizing import Share
from blockyard_operator.core.objects import Block, Meta, Pool, block_spec, owner_reference
from blockyard_operator.resources.block import BlockSpec
from blockyard_operator.resources.shape import WorkerSize, builtins


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the release says of all pods: our worker image, how it is pulled."""

    image: str
    pull_policy: str = ""
    pull_secrets: tuple[str, ...] = ()


def pods_of(block: Block, terms: Terms, *, group: bool = False) -> manifest.Block:
    """What a block's pods are made from. `group`: they belong to a PodGroup of the block's name."""
    owner = owner_reference("WorkerBlock", block.meta)
    made = _of(block.meta, block.spec, terms)
    return msgspec.structs.replace(made, owner=owner, pod_group=block.meta.name if group else "")


def sample_of(pool: Pool, terms: Terms) -> manifest.Block:
    """A block as this pool would make it, for a dry run."""
    meta = msgspec.structs.replace(pool.meta, name=f"{pool.meta.name}-dryrn")
    return _of(meta, block_spec(pool.meta.name, pool.spec), terms)


def secret_name(pool: str) -> str:
    """The Secret with the key and the settings of a pool's managers."""
    return f"{pool}-worker"


def _of(meta: Meta, spec: BlockSpec, terms: Terms) -> manifest.Block:
    pool = spec.pool or meta.name
    return manifest.Block(
        name=meta.name,
        namespace=meta.namespace,
        pool=pool,
        image=terms.image,
        secret=secret_name(pool),
        template=builtins(spec.template),
        nodes=spec.nodes,
        workers_per_node=spec.workers_per_node,
        share=None if spec.worker is None else _share(spec.worker),
        worker_init=spec.worker_init or "",
        walltime=None if spec.walltime is None else seconds(spec.walltime),
        pending_deadline=seconds(spec.pending_deadline),
        drain_timeout=seconds(spec.drain_timeout),
        queue=spec.queue_name or "",
        priority_class=spec.priority_class_name or "",
        pull_policy=terms.pull_policy,
        pull_secrets=terms.pull_secrets,
    )


def _share(size: WorkerSize) -> Share:
    return Share(
        cores=None if size.cores is None else amount(size.cores),
        memory=None if size.memory is None else amount(size.memory),
        accelerators=size.accelerators,
    )
