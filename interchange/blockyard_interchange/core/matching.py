"""Which queued task goes to which manager: who is idle first, then a little ahead, as much as tasks are short.

A task that waits only for tasks in the hands of one manager may travel right behind them, so that a chain costs no
round trip for each link.
"""

import itertools
import math

from blockyard.ids import FunctionId, ManagerId
from blockyard.wire import manager as wire
from blockyard.wire.records import NONE_BODY, Assigned, Blob, Body, Lease, Need, Status, body_bytes
from blockyard_interchange.core import gangs
from blockyard_interchange.core.pools import Manager, Pool
from blockyard_interchange.core.state import Flag, Order, State, Task, TaskState

_PER_TASK_SECONDS = 5e-6
"""What a task costs a worker besides its own running time."""
_STAYS = Flag.SHADOW | Flag.CACHED
"""Tasks that never travel behind what they need: it may turn out that they need not run."""
_LONG_SECONDS = 1.0
"""Tasks this long gain nothing from waiting in front of a busy worker, wherever it is."""
_MOST_ASIDE = 16
"""Tasks that do not fit a manager, behind which is looked for one that does."""


def is_queued(task: Task) -> bool:
    """For the queue: whether a task is still to be handed out."""
    return task.state is TaskState.QUEUED


def _costs(task: Task) -> float:
    """For the queue: seconds of one worker that a task will have had of its client's share, as far as can be known."""
    return task.order.session.seconds * task.order.slots


def ends_in_time(manager: Manager, order: Order, now: float) -> bool:
    """Whether a task may be given to a manager whose block has a walltime: only if it should end before that."""
    return now + lasts(order) < manager.ends_at


def lasts(order: Order) -> float:
    """How many seconds a task of this order may run, or as far as it has no limit, how many such tasks ran."""
    return order.spec.timeout or order.entry.seconds or 0.0


def match(state: State, now: float) -> None:
    """Hand out tasks in all pools in which something changed."""
    hungry, state.hungry = state.hungry, {}
    for pool in hungry.values():
        pool.is_stirred = True
        if pool.gangs:
            gangs.reserve(state, pool, now)
        if pool.queue.size and (pool.roomy or pool.idle):
            state.is_busy = True
            _Dealer(state, pool, now).deal()


def ahead(state: State, order: Order, *, near: bool) -> int:
    """How many tasks of this kind a worker may hold beyond the one it runs.

    What is held there, another client's shorter tasks must wait for: so nothing long is while there is another client,
    on this machine, `near`, where to ask for the next one costs a hundredth or two of it.
    """
    settings, seconds = state.settings, order.entry.seconds
    if not order.spec.idempotent:
        return 0
    if seconds is None:
        return 1
    has_rivals = near and len(state.peers) > 1
    if seconds > (settings.prefetch_seconds if has_rivals else _LONG_SECONDS):
        return 0
    return max(1, min(settings.prefetch_tasks, int(settings.prefetch_seconds / (seconds + _PER_TASK_SECONDS))))


class _Dealer:
    """Hands out one pool's tasks for one turn; gathers them into one message for each manager."""

    def __init__(self, state: State, pool: Pool, now: float) -> None:
        self._now = now
        self._state = state
        self._pool = pool
        self._groups: dict[ManagerId, list[wire.AssignGroup]] = {}
        self._last: dict[ManagerId, Order] = {}
        self._held: dict[ManagerId, list[wire.AssignGroup]] = {}
        """The same for tasks that must not be handed out before the journal knows it."""
        self._ahead: dict[tuple[int, bool], int] = {}
        """By the identity of an order, and whether a manager is near, how many of its tasks a worker may hold ahead."""
        self._least_epoch = least_epoch(state)
        self._timed: Order | None = None
        self._waited = 0
        """Tasks of this order handed out now that waited since their submission: they are timed together."""
        self._since = 0.0
        self._late = 0
        """Tasks handed out now that waited since this moment, when they became ready: they are, too."""

    def deal(self) -> None:
        pool, queue = self._pool, self._pool.queue
        idle = list(itertools.islice(pool.idle.values(), queue.size))
        for place, manager in enumerate(idle):
            self._fill(manager, math.ceil(queue.size / (len(idle) - place)), only_idle=True)
        if queue.size:
            roomy = sorted(pool.roomy.values(), key=_share)
            for place, manager in enumerate(roomy):
                self._fill(manager, math.ceil(queue.size / (len(roomy) - place)), only_idle=False)
        self._time_waits(None)
        self._time_late(0.0)
        for name, groups, effects in (
            *((manager, groups, self._state.effects.before) for manager, groups in self._groups.items()),
            *((manager, groups, self._state.effects.after_managers) for manager, groups in self._held.items()),
        ):
            manager = pool.managers[name]
            for part in self._frames(groups, near=manager.near):
                recorded = manager.recorded if self._state.unconfirmed.pop(name, None) is not None else 0
                effects.append((manager.peer, wire.Assign(part, recorded)))

    def _frames(self, groups: list[wire.AssignGroup], *, near: bool) -> list[list[wire.AssignGroup]]:
        """Cut what is too large for one frame. Few tasks with small bodies, as nearly always, need no look at each."""
        most = self._state.settings.max_frame_bytes
        if near and sum(len(group.tasks) for group in groups) * self._state.settings.blob_threshold <= most:
            return [groups]
        if sum(_all_bytes(one, near=near) for group in groups for one in group.tasks) <= most:
            return [groups]
        frames: list[list[wire.AssignGroup]] = [[]]
        left = most
        for group in groups:
            tasks: list[Assigned] = []
            for one in group.tasks:
                size = _all_bytes(one, near=near)
                if size > left and left < most:
                    if tasks:
                        frames[-1].append(wire.AssignGroup(group.spec, tasks))
                    frames.append([])
                    tasks, left = [], most
                tasks.append(one)
                left -= size
            frames[-1].append(wire.AssignGroup(group.spec, tasks))
        return frames

    def _fill(self, manager: Manager, share: int, *, only_idle: bool) -> None:
        """Give a manager at most `share` tasks; it leaves `roomy` when it can take no more."""
        pool = self._pool
        aside: list[Task] = []
        while share and len(aside) <= _MOST_ASIDE:
            task = pool.queue.take(is_queued, _costs)
            if task is None:
                break
            order = task.order
            if manager.load >= (manager.workers if only_idle else self._room(manager, order)):
                aside.append(task)
                if not only_idle:
                    pool.roomy.pop(manager.id, None)
                break
            if order.slots > manager.workers or not ends_in_time(manager, order, self._now):
                aside.append(task)  # for a larger manager, or one that stays longer; what is behind may fit here
                continue
            pool.queued_beyond -= order.slots - 1
            self._give(manager, task)
            share -= 1
        for task in reversed(aside):
            pool.queue.put_back(task, priority=task.order.spec.priority, line=task.order.session.id)

    def _give(self, manager: Manager, task: Task) -> None:
        """Assign a task, and behind it those that wait for nothing else than what this manager holds."""
        self._assign(manager, task)
        followed, room = None, 0
        while task.dependents is not None:
            follower = task.dependents[0]
            if follower.order is not followed:
                followed, room = follower.order, self._room_behind(manager, follower.order)
            if (
                manager.load >= room
                or len(task.dependents) > 1
                or follower.state is not TaskState.WAITING
                or follower.flags & _STAYS
                or (follower.waiting > 1 and not _is_all_with(manager, follower))
            ):
                return
            follower.since = self._now  # it never waited for a worker
            self._assign(manager, follower)
            task = follower

    def _room(self, manager: Manager, order: Order) -> int:
        """How many workers' worth of tasks a manager may hold, this order's among them."""
        key = id(order), manager.near
        deep = self._ahead.get(key)
        if deep is None:
            deep = self._ahead[key] = ahead(self._state, order, near=manager.near)
        return manager.workers * (1 + deep)

    def _room_behind(self, manager: Manager, order: Order) -> int:
        """`_room` for tasks that travel behind others; 0: these never do."""
        stays = order.is_ruled or order.slots > 1 or order.pool is not manager.pool or not order.spec.idempotent
        return 0 if stays else self._room(manager, order)

    def _time_waits(self, following: Order | None) -> None:
        order = self._timed
        if order is not None:
            order.pool.stages.queued.add(self._now + self._state.wall_offset - order.at, self._waited)
        self._timed, self._waited = following, 0

    def _time_late(self, following: float) -> None:
        if self._late:
            self._pool.stages.queued.add(self._now - self._since, self._late)
        self._since, self._late = following, 0

    def _assign(self, manager: Manager, task: Task) -> None:
        order, state = task.order, self._state
        task.state = TaskState.ASSIGNED
        task.manager = manager
        if task.since:
            if task.since != self._since:
                self._time_late(task.since)
            self._late += 1
            if state.notes is not None:
                state.notes.on_assigned_late(task)
        else:
            if order is not self._timed:
                self._time_waits(order)
            self._waited += 1
        task.since = self._now
        epoch = task.epoch + 1
        task.epoch = epoch if epoch > self._least_epoch else self._least_epoch
        manager.leases[task.id] = task
        manager.load += order.slots
        if manager.load >= manager.workers:
            manager.pool.idle.pop(manager.id, None)
        assigned = Assigned(task.id, task.epoch, task.body, needs_of(task) if task.needs else [])
        if self._last.get(manager.id) is order:
            self._groups[manager.id][-1].tasks.append(assigned)
            return
        send_function(state, manager, order)
        if not order.spec.idempotent:
            state.given.append(Lease(task.id, task.epoch))
            self._held.setdefault(manager.id, []).append(wire.AssignGroup(order.spec, [assigned]))
        else:
            self._last[manager.id] = order
            self._groups.setdefault(manager.id, []).append(wire.AssignGroup(order.spec, [assigned]))


def _all_bytes(one: Assigned, *, near: bool) -> int:
    """What the bodies of an assigned task add to a frame."""
    size = _bytes(one.body, near=near)
    return size + sum(_bytes(need.body, near=near) for need in one.needs) if one.needs else size


def _bytes(body: Body | None, *, near: bool) -> int:
    """What a body adds to a frame; near managers open blobs themselves."""
    if type(body) is bytes:
        return len(body)
    return 0 if body is None or (near and type(body) is Blob) else body_bytes(body)


def _is_all_with(manager: Manager, task: Task) -> bool:
    """Whether a manager holds all that a task waits for."""
    return all(need.outcome is not None or need.manager is manager for need in task.needs)


def _share(manager: Manager) -> float:
    return manager.load / manager.workers


def next_epoch(state: State, task: Task) -> int:
    """A lease's number: higher than any that this task had, in this opening of the journal or before."""
    return max(task.epoch + 1, least_epoch(state))


def least_epoch(state: State) -> int:
    """Of the leases of this opening of the journal."""
    return state.opening << 20


def send_function(state: State, manager: Manager, order: Order) -> None:
    """Make sure that a manager knows the function of an order before it is assigned one."""
    function = order.entry.function
    if FunctionId(function.id) not in manager.functions:
        manager.functions.add(FunctionId(function.id))
        state.effects.before.append((manager.peer, wire.Functions([function])))


def needs_of(task: Task) -> list[Need]:
    """The results that a task is given, or where they will be made; where it does not wait for all, None instead.

    Behind them, what else its manager must see end before it.
    """
    order, uses = task.order, task.order.spec.uses
    if not uses:  # as most steps of workflows: they are given nothing
        return [Need(need.id) for need in task.needs if need.outcome is None] if not order.is_ruled else []
    if uses < 0:
        uses = len(task.needs)
    missing = NONE_BODY if order.is_ruled else None
    given = [
        Need(need.id, need.outcome.body)
        if need.outcome is not None and need.outcome.status is Status.DONE
        else Need(need.id, missing)
        for need in task.needs[:uses]
    ]
    if order.is_ruled or uses >= len(task.needs):
        return given
    return given + [Need(need.id) for need in task.needs[uses:] if need.outcome is None]
