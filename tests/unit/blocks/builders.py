"""Books of a pool's blocks, and what is written into them."""

from collections.abc import Sequence
from typing import Any

from blockyard.blocks.errors import CarryOn
from blockyard.blocks.ledger import BlockLedger, Changed, Effect, Launch, Terms
from blockyard.blocks.scaling import BlockLoad, Demand, Policy, none
from blockyard.blocks.states import JobId, JobState, JobStatus
from blockyard.ids import BlockId

RUNNING = JobStatus(state=JobState.RUNNING, started_at=1.0)


EXITED = JobStatus(state=JobState.COMPLETED, exit_code=0, ended_at=2.0)


FAILED = JobStatus(state=JobState.FAILED, exit_code=1, ended_at=2.0, message="exit code 1", log_tail="words")


def ledger(**more: Any) -> BlockLedger:
    """A ledger that names its blocks 0, 1, …; policy fields and terms by name."""
    policy = Policy(
        **{"max_blocks": 4, **{key: more.pop(key) for key in list(more) if key in Policy.__struct_fields__}}
    )
    terms = Terms(policy=policy, strategy=more.pop("strategy", none), **more)
    return BlockLedger(terms, lambda number: BlockId(str(number)))


def launched(book: BlockLedger, effects: Sequence[Effect]) -> list[BlockId]:
    """Let the provider take every block that is to be launched; its job is called j-BLOCK."""
    names = [effect.block for effect in effects if isinstance(effect, Launch)]
    for name in names:
        book.launched(name, JobId(f"j-{name}"))
    return names


def running(book: BlockLedger, count: int, now: float = 0.0) -> list[BlockId]:
    """Start blocks by hand and let them run."""
    names = launched(book, book.scale_out(count, now))
    for name in names:
        assert book.reported(JobId(f"j-{name}"), RUNNING, now) == [Changed(name, RUNNING)]
    return names


def load(name: str, busy: float = 0.0, since: float = 0.0, done: int = 0) -> BlockLoad:
    idle_since = None if busy else since
    return BlockLoad(block=BlockId(name), managers=1, slots=1, busy=busy, idle_since=idle_since, done=done)


def registered(book: BlockLedger, names: Sequence[str], now: float = 0.0, busy: float = 0.0) -> None:
    book.demanded(Demand(running_slots=busy * len(names), loads=tuple(load(name, busy, now) for name in names)), now)


def effects_of(book: BlockLedger, now: float) -> tuple[Effect, ...]:
    return (*book.upkeep(now), *book.plan(CarryOn(), now).effects)
