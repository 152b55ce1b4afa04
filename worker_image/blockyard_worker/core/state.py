"""All tables of a manager, and the invariants that hold between events."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from blockyard import pace
from blockyard.wire.manager import Hold
from blockyard.wire.records import Function, Lease, Outcome
from blockyard_worker.core.effects import Effect
from blockyard_worker.core.tries import Capacity, Pace, Try
from blockyard_worker.core.workers import Phase, Worker

COMPANY: Final = pace.Limits(least=0.004, most=0.008, crowd=6)
"""For how long outcomes of short tries wait for others: a turn of the interchange costs as much for one as for ten."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that decisions depend on; see `blockyard_worker.settings` for their meaning."""

    manager: str
    pool: str
    block: str
    node: str
    python: str
    pid: int
    index: int
    near: bytes
    capacity: Capacity
    accelerator_variable: str
    max_tasks_per_worker: int
    drain_grace: float
    stop_grace: float
    chunk_seconds: float
    accelerator_names: tuple[str, ...] = ()
    """As many as there are accelerators; none: they are called by their numbers."""
    address: str = ""
    ends_at: float = 0.0
    """When the block's walltime is over; 0: never."""


@dataclass(slots=True)
class State:
    """Everything a manager knows."""

    policy: Policy
    effects: list[Effect] = field(default_factory=list)
    # tries
    held: dict[int, Try] = field(default_factory=dict)
    """By task: everything from `Assign` until `Recorded`."""
    ready: deque[Try] = field(default_factory=deque)
    """Waiting for a worker, in order. May contain tries that have ended or moved on; they are skipped."""
    functions: OrderedDict[bytes, Function] = field(default_factory=OrderedDict)
    unknown: dict[bytes, list[Try]] = field(default_factory=dict)
    """Set aside until their function has arrived."""
    paces: OrderedDict[bytes, Pace] = field(default_factory=OrderedDict)
    returned: list[Lease] = field(default_factory=list)
    """To be handed back with the next flush."""
    return_at: float = 0.0
    """Not to hand anything back before."""
    owed: int = 0
    """Tries still to be handed back for a `Retract`, from what is taken back from workers."""
    owes_answer: bool = False
    """A `Retract` is answered even when nothing can be handed back."""
    # outcomes
    told: list[bytes] = field(default_factory=list)
    """Packets of monitoring that travel with the next outcomes, and do not wait for them."""
    uses_told: Callable[[], list[bytes]] = list
    """Packets that tell what pending tries used; asked for when their outcomes go."""
    unrecorded_told: dict[int, list[bytes]] = field(default_factory=dict)
    """By the number of the outcomes that they travelled with."""
    pending: list[Outcome] = field(default_factory=list)
    """To be sent with the next flush."""
    company: pace.Pace = field(default_factory=lambda: pace.Pace(COMPANY))
    """How long they wait for others."""
    flush_at: float = math.inf
    """When what is pending goes, though other workers will soon report as well."""
    unrecorded: dict[int, list[Outcome]] = field(default_factory=dict)
    """Sent, by number, and not known to be in the journal."""
    outcomes_number: int = 0
    holds: dict[int, Hold] = field(default_factory=dict)
    """Orders to stop programs, or to let them go on, by number, that are not answered yet."""
    hold_at: float = 0.0
    """When workers are signalled next because of them."""
    # workers
    workers: dict[int, Worker] = field(default_factory=dict)
    next_worker: int = 0
    free_accelerators: list[int] = field(default_factory=list)
    restarts: int = 0
    """Workers started again. This and the next are never set back."""
    out_of_memory: int = 0
    """Tries that ended for want of memory."""
    failures: int = 0
    """Workers that ended by themselves since the last outcome."""
    start_at: float = 0.0
    """Not to start another worker before."""
    was_ready: bool = False
    """Whether any worker was ever ready."""
    # link
    is_joined: bool = False
    answered: int = 0
    """How many of its `Join`s were."""
    join_at: float = 0.0
    heartbeat: float = 1.0
    beat_at: float = 0.0
    """When the next heartbeat is due."""
    heard_at: float = 0.0
    patient_until: float = 0.0
    """Until then a large frame may be on its way, with silence behind it."""
    resident_bytes: int = 0
    """Of the workers together; noted by the shell, as the next is."""
    output_dropped_bytes: int = 0
    limits_memory: bool = False
    """Whether any task ever asked for memory, so that it must be watched."""
    # end
    is_draining: bool = False
    drain_at: float | None = None
    """When running tries are ended."""
    leave_reason: str = ""
    has_left: bool = False


def new_state(policy: Policy) -> State:
    """A manager that has not joined and has no workers yet."""
    return State(policy, free_accelerators=list(range(policy.capacity.accelerators)))


def check_invariants(state: State) -> None:
    """Walk all tables. Raises AssertionError naming what does not fit; for tests, after each event."""
    out = [attempt for worker in state.workers.values() for attempt in worker.sent]
    for attempt in out:
        assert attempt.outcome is None, f"{attempt.lease} is with a worker and has ended"
    assert len({id(attempt) for attempt in out}) == len(out), "a try is with two workers"
    for worker in state.workers.values():
        assert all(attempt.worker == worker.number for attempt in worker.sent)
        assert worker.phase is not Phase.RETIRING or not worker.sent
        if worker.held_by is not None:
            assert worker.held_by in state.workers, f"worker {worker.number} is held by one that is gone"
            assert not worker.sent, f"worker {worker.number} is held and busy"
    taken = [number for worker in state.workers.values() for number in worker.accelerators]
    everything = sorted(taken + state.free_accelerators)
    assert everything == list(range(state.policy.capacity.accelerators)), f"accelerators: {everything}"
    waiting = {id(attempt) for attempt in state.ready}
    waiting |= {id(attempt) for parked in state.unknown.values() for attempt in parked}
    waiting |= {id(waiter) for attempt in state.held.values() for waiter in attempt.waiters or ()}
    for attempt in state.held.values():
        if attempt.outcome is None and attempt.worker is None:
            assert id(attempt) in waiting, f"{attempt.lease} waits nowhere"
