"""Pools and blocks as the API shows them, read into records; what cannot be read is kept as a sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from blockyard.kube.pods import version_of
from blockyard.kube.times import instant
from blockyard_operator.resources.block import BlockSpec, BlockStatus
from blockyard_operator.resources.cron import CronStatus
from blockyard_operator.resources.fields import API_VERSION
from blockyard_operator.resources.pool import PoolSpec, PoolStatus
from blockyard_operator.resources.run import RunStatus

HASH_LABEL: Final = "blockyard.dev/template-hash"
ORDINAL_LABEL: Final = "blockyard.dev/ordinal"
REPLACES: Final = "blockyard.dev/replaces"
"""Annotation: the outdated block in whose place a block was made."""
ENDING: Final = "blockyard.dev/ending"
"""Annotation: why the pool drains a block."""

ROTATE: Final = "blockyard.dev/rotate-key"
"""Annotation on a pool: each new text asks for a new key of its managers."""
CRON_LABEL: Final = "blockyard.dev/cron"
"""Label of a run: the CronWorkflowRun that made it."""
SCHEDULED_AT: Final = "blockyard.dev/scheduled-at"
"""Annotation of a run: the time for which it was made (RFC 3339)."""

T = TypeVar("T", bound=msgspec.Struct)


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What every object has. `created_at` in epoch seconds; `owner`: uid of the object that controls it."""

    namespace: str
    name: str
    uid: str
    generation: int = 0
    version: int = 0
    created_at: float = 0.0
    deleting: bool = False
    owner: str = ""


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """A WorkerPool. `unreadable`: what is wrong with its spec, '' when nothing is. `rotation`: what `ROTATE` says."""

    meta: Meta
    spec: PoolSpec
    status: PoolStatus = PoolStatus()
    unreadable: str = ""
    rotation: str = ""

    @property
    def queue(self) -> str:
        """Its name to the interchange."""
        return f"{self.meta.namespace}.{self.meta.name}"


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A WorkerBlock. `hash`, `ordinal`, `replaces` and `ending` are what its pool noted on it."""

    meta: Meta
    spec: BlockSpec
    status: BlockStatus = BlockStatus()
    unreadable: str = ""
    hash: str = ""
    ordinal: int = 0
    replaces: str = ""
    ending: str = ""

    @property
    def queue(self) -> str:
        """The interchange's pool that it works for."""
        return f"{self.meta.namespace}.{self.spec.pool or self.meta.name}"

    @property
    def state(self) -> str:
        """Name of its JobState; '' before the operator has looked at it."""
        return self.status.job_status.state if self.status.job_status else ""


def read_pool(raw: Mapping[str, Any]) -> Pool:
    """Read a WorkerPool; one that does not fit its records comes with `unreadable`."""
    spec, unreadable = _read(raw.get("spec") or {}, PoolSpec, "spec")
    status, _ = _read(raw.get("status") or {}, PoolStatus, "status")
    rotation = (raw["metadata"].get("annotations") or {}).get(ROTATE, "")
    return Pool(meta=read_meta(raw), spec=spec, status=status, unreadable=unreadable, rotation=rotation)


def read_block(raw: Mapping[str, Any]) -> Block:
    """Read a WorkerBlock; one that does not fit its records comes with `unreadable`."""
    spec, unreadable = _read(raw.get("spec") or {}, BlockSpec, "spec")
    status, _ = _read(raw.get("status") or {}, BlockStatus, "status")
    labels = raw["metadata"].get("labels") or {}
    annotations = raw["metadata"].get("annotations") or {}
    ordinal = labels.get(ORDINAL_LABEL, "")
    return Block(
        meta=read_meta(raw),
        spec=spec,
        status=status,
        unreadable=unreadable,
        hash=labels.get(HASH_LABEL, ""),
        ordinal=int(ordinal) if ordinal.isdigit() else 0,
        replaces=annotations.get(REPLACES, ""),
        ending=annotations.get(ENDING, ""),
    )


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A WorkflowRun. Its spec is as it came: what is wrong with it, all of it, is `workflows`' to say."""

    meta: Meta
    spec: dict[str, Any]
    status: RunStatus = RunStatus()
    scheduled_at: float = 0.0
    """The time of its schedule that it was made for; 0 for none."""

    @property
    def group(self) -> str:
        """Runs of one group are held against one another, by their `concurrencyPolicy`; '' for none."""
        if key := self.spec.get("concurrencyKey"):
            return f"{self.meta.namespace}/key/{key}"
        return self.meta.owner or (f"{self.meta.namespace}/template/{self.template}" if self.template else "")

    @property
    def name(self) -> str:
        """The interchange's name for it: another WorkflowRun of its name is another run."""
        return f"{self.meta.namespace}.{self.meta.name}.{self.meta.uid[:8]}"

    @property
    def template(self) -> str:
        """The WorkflowTemplate that it takes its steps from; '' for none."""
        found = self.spec.get("templateRef")
        return str(found.get("name", "")) if isinstance(found, dict) else ""

    @property
    def has_templates(self) -> bool:
        """Whether what it is depends on WorkflowTemplates."""
        steps = self.spec.get("steps")
        steps = steps if isinstance(steps, list) else []
        return bool(self.template) or any(isinstance(one, dict) and "template" in one for one in steps)


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A WorkflowTemplate, as it came."""

    meta: Meta
    spec: dict[str, Any]


class CronRun(msgspec.Struct, frozen=True, kw_only=True):
    """A CronWorkflowRun. Its spec is as it came, as a run's is."""

    meta: Meta
    spec: dict[str, Any]
    status: CronStatus = CronStatus()


def owner_reference(kind: str, owner: Meta) -> dict[str, Any]:
    """An entry of ``metadata.ownerReferences`` for what is made for an object of one of our kinds."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def read_run(raw: Mapping[str, Any]) -> Run:
    """Read a WorkflowRun."""
    status, _ = _read(raw.get("status") or {}, RunStatus, "status")
    return Run(
        meta=read_meta(raw),
        spec=dict(raw.get("spec") or {}),
        status=status,
        scheduled_at=_scheduled((raw["metadata"].get("annotations") or {}).get(SCHEDULED_AT)),
    )


def _scheduled(text: str | None) -> float:
    """People may write anything into an annotation."""
    try:
        return instant(text) or 0.0
    except ValueError:
        return 0.0


def read_cron(raw: Mapping[str, Any]) -> CronRun:
    """Read a CronWorkflowRun."""
    status, _ = _read(raw.get("status") or {}, CronStatus, "status")
    return CronRun(meta=read_meta(raw), spec=dict(raw.get("spec") or {}), status=status)


def read_template(raw: Mapping[str, Any]) -> Template:
    """Read a WorkflowTemplate."""
    return Template(meta=read_meta(raw), spec=dict(raw.get("spec") or {}))


def read_meta(raw: Mapping[str, Any]) -> Meta:
    """Read an object's metadata."""
    meta = raw["metadata"]
    return Meta(
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        version=version_of(meta),
        created_at=instant(meta.get("creationTimestamp")) or 0.0,
        deleting=bool(meta.get("deletionTimestamp")),
        owner=next((one["uid"] for one in meta.get("ownerReferences") or () if one.get("controller")), ""),
    )


def _read(raw: Any, record: type[T], where: str) -> tuple[T, str]:
    try:
        return msgspec.convert(raw, record), ""
    except msgspec.ValidationError as error:
        return record(), str(error).replace("$.", f"{where}.").replace("`$`", f"`{where}`")


_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_SPREAD: Final = 0x9E3779B1
"""Odd, so that multiplying by it permutes the numbers below a power of two."""


def block_name(pool: str, uid: str, ordinal: int) -> str:
    """The name of a pool's block number `ordinal`, from 1: POOL-XXXXX, another one for each of 2^25 numbers."""
    seed = int.from_bytes(hashlib.blake2b(uid.encode(), digest_size=4).digest())
    number = (ordinal * _SPREAD + seed) % 2**25
    return f"{pool}-" + "".join(_ALPHABET[number >> shift & 31] for shift in (20, 15, 10, 5, 0))


def template_hash(spec: PoolSpec, image: str, rotation: str = "") -> str:
    """What of a pool makes its blocks different: ten characters that change when it does."""
    parts = msgspec.to_builtins(block_spec("", spec))
    parts |= {"drain": None, "image": image, "rotation": rotation}
    if spec.monitoring.radio not in (None, "none"):  # else as it was before there were radios
        parts["monitoring"] = msgspec.to_builtins(spec.monitoring)
    text = msgspec.json.encode(parts, order="deterministic")
    number = int.from_bytes(hashlib.blake2b(text, digest_size=7).digest())
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(0, 50, 5))


def block_spec(pool: str, spec: PoolSpec) -> BlockSpec:
    """What a block of this pool is made from."""
    return BlockSpec(
        pool=pool,
        nodes=spec.nodes_per_block,
        template=spec.template,
        workers_per_node=spec.workers_per_node,
        worker=spec.worker,
        worker_init=spec.worker_init,
        launcher=spec.launcher,
        walltime=spec.walltime,
        pending_deadline=spec.pending_deadline,
        register_timeout=spec.register_timeout,
        drain_timeout=spec.drain.timeout,
        queue_name=spec.queue_name,
        priority_class_name=spec.priority_class_name,
        pod_failure_rules=spec.pod_failure_rules,
    )
