"""A cluster and an interchange as the operator's decisions see them, in virtual time: objects, kubelets, managers.

Effects are carried out at once and one by one; `crash_after` lets the operator die behind any of them, whereupon all
that it kept in memory is gone. Nothing here reads a clock or draws a number.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from blockyard.blocks.scaling import BlockLoad, Demand
from blockyard.ids import BlockId
from blockyard.kube import manifest
from blockyard.kube.pods import Pod, read_pod
from blockyard.kube.times import text
from blockyard_operator.core import plan as do
from blockyard_operator.core.blocks import reconcile_block
from blockyard_operator.core.manifests import Terms, pods_of
from blockyard_operator.core.objects import Block, Pool, read_block, read_pool, template_hash
from blockyard_operator.core.pool_world import PoolWorld
from blockyard_operator.core.pools import reconcile_pool
from blockyard_operator.core.sight import BlockWorld
from blockyard_operator.core.view import Load, QueueView, Refusal, TemplateCheck
from blockyard_operator.resources.fields import API_VERSION
from blockyard_operator.resources.shape import builtins

Raw = dict[str, Any]
TERMS = Terms(image="worker:1")
START = 1_800_000_000.0
_UNPLACED = {"gated": "SchedulingGated", "unschedulable": "Unschedulable"}


class Crash(Exception):
    """The operator died."""


class Memory(msgspec.Struct):
    """What an operator knows beside the API server's objects; a new one begins without it."""

    checks: dict[str, TemplateCheck] = {}
    ghosts: dict[str, Pod] = {}
    refusals: dict[str, Refusal] = {}
    secrets: set[str] = set()
    asked: dict[str, float] = {}
    """Pools of which the interchange was told, and when."""
    heard: dict[str, float] = {}
    """Those of which it says how they stand, and since when."""


class Model:
    """`fate` says what a pod does once it may start: 'runs', 'waits', or the exit code that it ends with.

    'gated': a queue holds it; 'unschedulable': no node has room. The scheduler's condition is False all the while.
    """

    def __init__(self, fate: Callable[[str], str] = lambda name: "runs") -> None:
        self.now = START
        self.fate = fate
        self.refuse: Callable[[str], Refusal | None] = lambda pod: None
        self.problem = ""
        self.refuse_of_pool: type[do.Effect] | None = None
        """Effects of this kind, of a pool, exceed a quota."""
        self.pools: dict[str, Raw] = {}
        self.blocks: dict[str, Raw] = {}
        self.pods: dict[str, Raw] = {}
        self.services: set[str] = set()
        self.secrets: set[str] = set()
        self.memory = Memory()
        self.connected = True
        self.queued = 0.0
        self.managers: dict[str, dict[str, float | None]] = {}
        """Block to manager pods with the instant since when they have been idle; None: busy."""
        self.draining: set[str] = set()
        self.done: dict[str, int] = {}
        self.effects: list[do.Effect] = []
        self.pod_times: list[float] = []
        self.log = ""
        """How the log of a pod that fails ends."""
        self.obeys = True
        """Whether managers that are being drained leave before their pods are deleted."""
        self.crash_after: int | None = None
        self.writes = 0
        self._uids = 0

    # --- users ------------------------------------------------------------------------------------------------------

    def add_pool(self, name: str = "p", **spec: Any) -> None:
        self.pools[name] = self._made(
            {"kind": "WorkerPool", "metadata": {"name": name, "namespace": "n"}, "spec": spec}
        )

    def edit_pool(self, name: str = "p", **spec: Any) -> None:
        pool = self.pools[name]
        pool["spec"] = {**pool["spec"], **spec}
        pool["metadata"]["generation"] += 1

    def delete_pod(self, name: str) -> None:
        self._delete_pod(name)

    # --- the operator -----------------------------------------------------------------------------------------------

    def work(self) -> int:
        """Reconcile everything once; returns how many effects there were."""
        before = len(self.effects)
        for name in list(self.pools):
            self._carry_out(reconcile_pool(self.pool_world(name), self.now))
        for name in list(self.blocks):
            self._carry_out(reconcile_block(self.block_world(name), self.now))
        return len(self.effects) - before

    def run(self, seconds: float, step: float = 1.0) -> None:
        """Let the cluster and the operator live on for a while, the operator being started again if it dies."""
        end = self.now + seconds
        while self.now < end:
            self._operate()
            self.now += step
            self._live()
        self._operate()

    def _operate(self) -> None:
        for _ in range(200):
            try:
                if not self.work():
                    return
            except Crash:
                self.memory = Memory()
        raise AssertionError(f"no end of effects; the last were {self.effects[-5:]}")

    def pool_world(self, name: str) -> PoolWorld:
        pool = self.pool(name)
        current = template_hash(pool.spec, TERMS.image)
        blocks = tuple(self.block(one) for one in self.blocks)
        return PoolWorld(
            pool=pool,
            hash=current,
            blocks=tuple(block for block in blocks if block.meta.owner == pool.meta.uid),
            queue=self._queue(name),
            connected=self.connected,
            answer_due=self.memory.asked.get(name, self.now) + 10,
            check=self.memory.checks.get(current),
            slots=pool.spec.workers_per_node or 1,
            has_secret=name in self.memory.secrets,
            announced=name in self.memory.heard,
            refusal=self.memory.refusals.get(name),
        )

    def block_world(self, name: str) -> BlockWorld:
        block = self.block(name)
        mine = {pod.name: pod for pod in self.all_pods() if pod.block == name}
        ghosts = {pod.name: pod for pod in self.memory.ghosts.values() if pod.block == name and pod.name not in mine}
        return BlockWorld(
            block=block,
            pods=tuple({**mine, **ghosts}.values()),
            queue=self._queue(block.spec.pool),
            refusal=self.memory.refusals.get(name),
            announced=block.spec.pool in self.memory.heard,
            has_service=name in self.services,
        )

    def pool(self, name: str = "p") -> Pool:
        return read_pool(self.pools[name])

    def block(self, name: str) -> Block:
        return read_block(self.blocks[name])

    def all_blocks(self) -> list[Block]:
        return [self.block(name) for name in self.blocks]

    def all_pods(self) -> Iterator[Pod]:
        return (read_pod(raw) for raw in self.pods.values())

    def living(self) -> list[Block]:
        return [block for block in self.all_blocks() if block.state in ("", "PENDING", "RUNNING", "HELD", "UNKNOWN")]

    def condition(self, kind: str, name: str = "p") -> tuple[str, str]:
        found = next(one for one in self.pool(name).status.conditions if one.type == kind)
        return found.status.value, found.reason

    def _queue(self, pool: str) -> QueueView | None:
        if not self.connected or pool not in self.memory.heard:
            return None
        loads = {}
        for name, managers in self.managers.items():
            if managers:
                busy = sum(since is None for since in managers.values())
                idle = None if busy else max(since for since in managers.values() if since is not None)
                loads[name] = Load(
                    managers=len(managers), workers=len(managers), busy=busy, idle_since=idle,
                    done=self.done.get(name, 0), draining=name in self.draining,
                )  # fmt: skip
        demand = Demand(
            queued_slots=self.queued, outstanding=int(self.queued),
            running_slots=float(sum(load.busy for load in loads.values())),
            loads=tuple(
                BlockLoad(block=BlockId(name), managers=load.managers, slots=load.workers, busy=load.busy)
                for name, load in loads.items()
            ),
        )  # fmt: skip
        return QueueView(demand=demand, loads=loads, since=self.memory.heard[pool])

    # --- carrying out -----------------------------------------------------------------------------------------------

    def _carry_out(self, plan: do.Plan) -> None:
        for effect in plan.effects:
            self.effects.append(effect)
            refused = self.refuse_of_pool is not None and isinstance(effect, self.refuse_of_pool)
            go_on = self._exceed() if refused else self._apply(effect)
            if self.crash_after is not None and len(self.effects) > self.crash_after:
                self.crash_after = None
                raise Crash
            if not go_on:
                return

    def _exceed(self) -> bool:
        before = self.memory.refusals.get("p")
        pause = 5.0 if before is None else min(60.0, 2.0 * (before.retry_at - before.at))
        self.memory.refusals["p"] = Refusal(
            reason="QuotaExceeded", message="no", at=self.now, lasting=False, retry_at=self.now + pause
        )
        return False

    def _apply(self, effect: do.Effect) -> bool:  # noqa: C901 - one flat case for each effect
        match effect:
            case do.CreateBlock(manifest=raw):
                self.blocks.setdefault(raw["metadata"]["name"], self._made(copy.deepcopy(raw)))
            case do.DrainBlock(block=block, ending=ending):
                raw = self.blocks[block.name]
                raw["spec"]["drain"] = True
                raw["metadata"].setdefault("annotations", {})["blockyard.dev/ending"] = ending
            case do.DeleteBlock(block=block):
                self.blocks.pop(block.name, None)
            case do.CreatePod(block=block, index=index):
                return self._create_pod(block.name, index)
            case do.CreateService(block=block):
                self.services.add(block.name)
            case do.DeletePod(name=name):
                self._delete_pod(name)
            case do.MarkEvictable(name=name, evictable=evictable):
                notes = self.pods[name]["metadata"]["annotations"]
                notes[manifest.SAFE_TO_EVICT] = "true" if evictable else "false"
            case do.MakeSecret(owner=owner):
                self.secrets.add(owner.name)
                self.memory.secrets.add(owner.name)
                self.memory.asked[owner.name] = self.now
            case do.CheckTemplate(hash=of):
                self.memory.checks[of] = TemplateCheck(hash=of, problem=self.problem, at=self.now)
            case do.DrainManagers(block=name):
                self.draining.add(name)
            case do.FailTasks():
                self.queued = 0.0
            case do.SayGone(block=name):
                self.managers.pop(name, None)
            case do.WriteBlockStatus(block=block, status=status):
                self.blocks[block.name]["status"] = builtins(status)
                self.writes += 1
            case do.WritePoolStatus(pool=pool, status=status):
                self.pools[pool.name]["status"] = builtins(status)
                self.writes += 1
        return True

    def _create_pod(self, block: str, index: int) -> bool:
        name = manifest.pod_name(block, index)
        refusal = self.refuse(name)
        if refusal is not None:
            self.memory.refusals[block] = refusal
            return False
        self.memory.refusals.pop(block, None)
        if name not in self.pods:
            raw = self._made(manifest.pod(pods_of(self.block(block), TERMS), index))
            raw["status"] = {"phase": "Pending"}
            self.pods[name] = raw
            self.pod_times.append(self.now)
        return True

    def _delete_pod(self, name: str) -> None:
        raw = self.pods.get(name)
        if raw is not None and "deletionTimestamp" not in raw["metadata"]:
            raw["metadata"]["deletionTimestamp"] = text(self.now + raw["spec"]["terminationGracePeriodSeconds"])

    def _made(self, raw: Raw) -> Raw:
        self._uids += 1
        raw["metadata"] |= {"uid": f"uid-{self._uids}", "creationTimestamp": text(self.now), "generation": 1}
        return {"apiVersion": API_VERSION, **raw}

    # --- kubelets, managers, garbage collection -----------------------------------------------------------------------

    def _live(self) -> None:
        self._answer()
        uids = {raw["metadata"]["uid"] for raw in (*self.pools.values(), *self.blocks.values())}
        self.blocks = {name: raw for name, raw in self.blocks.items() if _owner(raw) in uids or not _owner(raw)}
        for name, raw in list(self.pods.items()):
            if _owner(raw) not in uids:
                self._delete_pod(name)
            self._age(name, raw)

    def _answer(self) -> None:
        """The interchange is heard of every pool that it was told of, or, while it is silent, of none."""
        if not self.connected:
            self.memory.heard.clear()
            return
        for name in self.memory.asked:
            self.memory.heard.setdefault(name, self.now)

    def _age(self, name: str, raw: Raw) -> None:
        status, block = raw["status"], raw["metadata"]["labels"][manifest.BLOCK_LABEL]
        deleting = "deletionTimestamp" in raw["metadata"]
        if deleting and status["phase"] in ("Succeeded", "Failed", "Pending"):
            self._remove(name, raw, block)
        elif deleting:
            self._end(status, 0)  # SIGTERM: hands back and leaves
            self._leave(block, name)
        elif status["phase"] == "Pending" and self.fate(name) in _UNPLACED:
            detail = {"reason": _UNPLACED[self.fate(name)], "lastTransitionTime": raw["metadata"]["creationTimestamp"]}
            status["conditions"] = [{"type": "PodScheduled", "status": "False", **detail}]
        elif status["phase"] == "Pending" and self.fate(name) != "waits":
            raw["status"] = {"phase": "Running", "containerStatuses": [_running(self.now)]}
        elif status["phase"] == "Running":
            self._run_pod(name, status, block)

    def _run_pod(self, name: str, status: Raw, block: str) -> None:
        fate = self.fate(name)
        if fate.lstrip("-").isdigit():
            self._end(status, int(fate))
            self._leave(block, name)
        elif fate == "runs" and block in self.draining and self.obeys:
            self._leave(block, name)
            self._end(status, 0)
        elif fate == "runs":
            self.managers.setdefault(block, {}).setdefault(name, self.now)
        else:
            self._leave(block, name)

    def _end(self, status: Raw, code: int) -> None:
        status["phase"] = "Failed" if code else "Succeeded"
        detail = {"exitCode": code, "reason": "Error" if code else "Completed", "finishedAt": text(self.now)}
        if code and self.log:
            detail["message"] = self.log
        status["containerStatuses"] = [{"name": "worker", "state": {"terminated": detail}}]

    def _remove(self, name: str, raw: Raw, block: str) -> None:
        del self.pods[name]
        self._leave(block, name)
        self.memory.ghosts[name] = msgspec.structs.replace(read_pod(raw), gone=True)

    def _leave(self, block: str, name: str) -> None:
        self.managers.get(block, {}).pop(name, None)


def _owner(raw: Raw) -> str:
    return next((str(one["uid"]) for one in raw["metadata"].get("ownerReferences", ())), "")


def _running(now: float) -> Raw:
    return {"name": "worker", "state": {"running": {"startedAt": text(now)}}}
