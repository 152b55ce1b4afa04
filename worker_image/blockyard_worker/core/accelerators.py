"""Which accelerators a task gets, and which belong to a worker for its life.

Where each worker can have equally many, they are its own from its birth, so that an initializer can put a model there
and tasks find it; a task that asks for some gets those of the workers that it busies. Otherwise a task gets any that
are free. Either way a number is in one task's hands at a time.
"""

from collections.abc import Sequence
from typing import Final

from blockyard_worker.core.state import Policy, State
from blockyard_worker.core.workers import Worker

VARIABLE: Final = "BLOCKYARD_ACCELERATORS"
"""In a process's environment, beside the setting `accelerator_variable`: those that it has, by name."""


def own(policy: Policy, place: int) -> range:
    """The numbers of those that belong to the worker at this place; none where they can't be shared out equally."""
    size, rest = divmod(policy.capacity.accelerators, policy.capacity.workers)
    return range(0) if rest else range(size * place, size * (place + 1))


def take(state: State, workers: Sequence[Worker], count: int) -> bool:
    """Give so many to the first of these workers, for a task that busies them all; False when they are not free.

    They may be another task's although the workers are free: one of that task's idle ones was replaced.
    """
    free = state.free_accelerators
    owned = [number for worker in workers for number in own(state.policy, worker.place) if number in free]
    chosen = (owned if own(state.policy, 0) else free)[:count]
    if len(chosen) < count:
        return False
    workers[0].accelerators = chosen
    state.free_accelerators = [number for number in free if number not in chosen]
    return True


def give_back(state: State, worker: Worker) -> None:
    """The task has ended."""
    state.free_accelerators = sorted(state.free_accelerators + worker.accelerators)
    worker.accelerators = []


def environment(policy: Policy, numbers: Sequence[int]) -> dict[str, str]:
    """How a process learns which ones it has; nothing when it has none."""
    if not numbers:
        return {}
    names = policy.accelerator_names
    given = ",".join(names[number] if names else str(number) for number in numbers)
    return {VARIABLE: given, policy.accelerator_variable: given}
