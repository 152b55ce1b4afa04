"""Breaks of a promise, each a small change of the code, by which the simulation is tested itself."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from blockyard.wire import codec
from blockyard_interchange import loop
from blockyard_interchange.core import caching, entries, managers, outcomes, queueing, replay, submit, timers
from blockyard_interchange.core.effects import Effects
from blockyard_interchange.core.state import State


def _edit(module: ModuleType, name: str, old: str, new: str) -> None:
    """Change the text of one function."""
    source = inspect.getsource(getattr(module, name))
    assert source.count(old) == 1, f"{name} does not hold {old!r} once: the mutation has lost its place"
    exec(source.replace(old, new), module.__dict__)


def accept_any_epoch() -> None:
    """A late result of a lost try counts like that of the try that replaced it."""
    _edit(outcomes, "on_outcomes", " or task.epoch != outcome.epoch", "")


def tell_before_the_commit() -> None:
    """Clients hear of acceptance and results before the journal holds them."""
    honest = loop.Loop._perform

    def mutant(self: loop.Loop, effects: Effects, now: float) -> None:
        told, effects.after_clients = effects.after_clients, []
        for peer, message in told:
            self._clients.send(peer, codec.encode(message))
        honest(self, effects, now)

    loop.Loop._perform = mutant  # type: ignore[method-assign]


def forget_who_may_run_what() -> None:
    """After a restart tasks are handed out at once, whoever may still run them."""
    honest = replay.replay

    def mutant(state: State, journal: Any, now: float) -> None:
        honest(state, journal, now)
        state.awaited.clear()
        for task in state.orphans.values():
            queueing.requeue(state, task, now)
        state.orphans.clear()

    replay.replay = mutant


def hand_out_before_the_journal_knows() -> None:
    """Tries that must not be repeated are given away before the commit that says so."""
    honest = loop.Loop._perform

    def mutant(self: loop.Loop, effects: Effects, now: float) -> None:
        effects.before += effects.after_managers
        effects.after_managers = []
        honest(self, effects, now)

    loop.Loop._perform = mutant  # type: ignore[method-assign]


def rerun_what_must_not_be() -> None:
    """A lost try is run again, idempotent or not."""
    honest = outcomes.lost

    def mutant(state: State, task: Any, failure: Any, now: float, *, suspected: bool, **rest: Any) -> None:
        honest(state, task, failure, now, suspected=suspected and task.order.spec.idempotent, **rest)

    outcomes.lost = mutant


def take_submissions_twice() -> None:
    """A submission that comes again after a reconnect is taken for a new one."""
    honest = submit.on_submit

    def mutant(state: State, session: Any, message: Any, now: float) -> None:
        session.accepted = min(session.accepted, message.number - 1)
        honest(state, session, message, now)

    submit.on_submit = mutant


def keep_the_leases_of_the_silent() -> None:
    """Managers that fall silent keep what they hold."""

    def mutant(state: State, manager: Any, failure: Any, now: float, **rest: Any) -> None:
        del state, manager, failure, now, rest

    managers.gone = mutant


def lose_the_timers() -> None:
    """Back-offs and deadlines never end."""
    honest = timers.on_time

    def mutant(state: State, now: float, *, hears_clients: bool) -> bool:
        state.timers[:] = [timer for timer in state.timers if timer[0] > now]
        return honest(state, now, hears_clients=hears_clients)

    timers.on_time = mutant


def forget_what_keepers_ordered() -> None:
    """After a restart, pools that a keeper defined are as if they never had been."""
    honest = replay._gather

    def mutant(state: State, gathered: Any, entry: Any, now: float) -> None:
        if not isinstance(entry, entries.PoolSet):
            honest(state, gathered, entry, now)

    replay._gather = mutant


def cache_failures() -> None:
    """What a failed task left is taken for its result."""
    _edit(caching, "on_end", "outcome.status is not Status.DONE or ", "")


ALL: dict[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        accept_any_epoch, tell_before_the_commit, forget_who_may_run_what, hand_out_before_the_journal_knows,
        forget_what_keepers_ordered, rerun_what_must_not_be, take_submissions_twice, keep_the_leases_of_the_silent,
        lose_the_timers, cache_failures,
    )
}  # fmt: skip
