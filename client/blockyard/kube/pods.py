"""A pod, as far as it is evidence for the state of its block: read once from what the API sends, kept small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from blockyard.kube.manifest import BLOCK_LABEL, INDEX_LABEL, SAFE_TO_EVICT
from blockyard.kube.times import instant


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """A container's state: 'waiting', 'running' or 'terminated', and what is said about it.

    `init`: it runs before the others. `sidecar`: it starts before them and goes on beside them.
    """

    name: str
    state: str
    init: bool = False
    sidecar: bool = False
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    signal: int | None = None
    restarts: int = 0
    started_at: float | None = None
    ended_at: float | None = None


class Condition(msgspec.Struct, frozen=True):
    """A condition of the pod."""

    status: str
    reason: str = ""
    message: str = ""
    since: float | None = None


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """A pod of a block. `deleting_by`: when its grace after a deletion ends. `evictable`: what the annotation says."""

    name: str
    uid: str
    namespace: str = ""
    block: str = ""
    index: int = 0
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    node: str = ""
    created_at: float = 0.0
    started_at: float | None = None
    deleting_by: float | None = None
    conditions: Mapping[str, Condition] = {}
    containers: tuple[Container, ...] = ()
    evictable: bool | None = None
    gone: bool = False
    """It was deleted; this is the last that was seen of it."""
    owner: str = ""
    version: int = 0

    @property
    def ended(self) -> bool:
        """Its containers have ended and will not start again."""
        return self.phase in ("Succeeded", "Failed")

    def condition(self, kind: str) -> Condition | None:
        """The condition of this type, if there is one."""
        return self.conditions.get(kind)

    def holds(self, kind: str, status: str, reason: str | None = None) -> bool:
        """Whether a condition has this status, and this reason when one is given."""
        found = self.conditions.get(kind)
        return found is not None and found.status == status and reason in (None, found.reason)


def read_pod(raw: Mapping[str, Any]) -> Pod:
    """Read what the API server sends."""
    meta, status, spec = raw["metadata"], raw.get("status") or {}, raw.get("spec") or {}
    labels = meta.get("labels") or {}
    index = labels.get(INDEX_LABEL, "0")
    evictable = (meta.get("annotations") or {}).get(SAFE_TO_EVICT)
    containers = _containers(spec, status)
    conditions = {one["type"]: _condition(one) for one in status.get("conditions") or ()}
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        namespace=meta.get("namespace", ""),
        block=labels.get(BLOCK_LABEL, ""),
        index=int(index) if index.isdigit() else 0,
        phase=_phase(status.get("phase") or "Pending", containers, conditions),
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        node=spec.get("nodeName") or "",
        created_at=instant(meta.get("creationTimestamp")) or 0.0,
        started_at=instant(status.get("startTime")),
        deleting_by=instant(meta.get("deletionTimestamp")),
        conditions=conditions,
        containers=containers,
        evictable=None if evictable is None else evictable == "true",
        owner=next((one["uid"] for one in meta.get("ownerReferences") or () if one.get("controller")), ""),
        version=version_of(meta),
    )


def _phase(phase: str, containers: tuple[Container, ...], conditions: Mapping[str, Condition]) -> str:
    """The pod's phase; when the manager has ended and others go on beside it, so has the pod.

    Where the kubelet ends the pod (eviction, preemption), the phase and the reason follow the last container: they are
    waited for, since the manager's own end, in order and with code 0, is not the reason.
    """
    manager = next((one for one in containers if one.name == "worker"), None)
    if phase != "Running" or manager is None or manager.state != "terminated":
        return phase
    disrupted = conditions.get("DisruptionTarget")
    others = any(one.state != "terminated" for one in containers if not one.init)
    if not others or (disrupted is not None and disrupted.status == "True"):
        return phase
    return "Succeeded" if manager.exit_code == 0 else "Failed"


def version_of(meta: Mapping[str, Any]) -> int:
    """An object's version as a number; the API server counts them up (KEP-5504)."""
    text = str(meta.get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0


def _condition(raw: Mapping[str, Any]) -> Condition:
    since = instant(raw.get("lastTransitionTime"))
    return Condition(raw.get("status", ""), raw.get("reason") or "", raw.get("message") or "", since)


def _containers(spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[Container, ...]:
    sidecars = {one["name"] for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"}
    init = [
        _container(one, init=True, sidecar=one["name"] in sidecars) for one in status.get("initContainerStatuses") or ()
    ]
    return (*init, *(_container(one) for one in status.get("containerStatuses") or ()))


def _container(raw: Mapping[str, Any], *, init: bool = False, sidecar: bool = False) -> Container:
    state, detail = next(((name, told or {}) for name, told in (raw.get("state") or {}).items()), ("waiting", {}))
    if state == "waiting" and detail.get("reason") == "CrashLoopBackOff":
        last = (raw.get("lastState") or {}).get("terminated") or {}
        detail = {**last, "reason": detail["reason"], "message": detail.get("message", "")}
    return Container(
        name=raw["name"],
        state=state,
        init=init,
        sidecar=sidecar,
        reason=detail.get("reason") or "",
        message=detail.get("message") or "",
        exit_code=detail.get("exitCode"),
        signal=detail.get("signal") or None,
        restarts=raw.get("restartCount") or 0,
        started_at=instant(detail.get("startedAt")),
        ended_at=instant(detail.get("finishedAt")),
    )
