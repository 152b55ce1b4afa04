"""Functions that somebody uses: kept once, journaled once, forgotten with their last user."""

from collections.abc import Iterable
from hashlib import blake2b

from blockyard.ids import FunctionId
from blockyard.wire.records import Function
from blockyard_interchange.core.entries import Registered
from blockyard_interchange.core.state import FunctionEntry, State


def is_genuine(function: Function) -> bool:
    """Whether a function's name is the hash of its body, so that nobody can pass off a body of his own under it."""
    return blake2b(function.body, digest_size=16).digest() == function.id


def learn(state: State, functions: Iterable[Function]) -> None:
    """Keep functions and journal those that are new. Who calls this counts itself as a user at once."""
    fresh = [function for function in functions if FunctionId(function.id) not in state.functions]
    for function in fresh:
        restore(state, function)
    if fresh:
        state.effects.entries.append(Registered(fresh))


def restore(state: State, function: Function) -> None:
    """Keep a function that the journal holds."""
    key = FunctionId(function.id)
    if key not in state.functions:
        state.functions[key] = FunctionEntry(function)
        state.live_bytes += len(function.body)


def release(state: State, entry: FunctionEntry) -> None:
    """One user less."""
    entry.users -= 1
    if not entry.users:
        _forget(state, entry)


def forget_unused(state: State, names: Iterable[bytes] | None = None) -> None:
    """Drop functions without users, of these or of all; after a replay those that only sessions used.

    Clients register theirs again when they come back.
    """
    found = state.functions if names is None else state.functions.keys() & set(names)
    for entry in [state.functions[FunctionId(name)] for name in found]:
        if not entry.users:
            _forget(state, entry)


def _forget(state: State, entry: FunctionEntry) -> None:
    del state.functions[FunctionId(entry.function.id)]
    state.live_bytes -= len(entry.function.body)
