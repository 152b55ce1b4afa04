"""A keeper's orders: which pools there are, whose managers may join them, and which clients are let in.

They are in the journal, so that after a restart tasks and managers find their pools without the keeper. All orders say
how things shall be, not what shall change: a repeat does nothing, and writes nothing. What the settings file defines,
and whom the key ring's files let in, orders do not change.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from blockyard.wire import keeping as asked
from blockyard.wire import manager as to_manager
from blockyard.wire.records import Failure
from blockyard_interchange.core import caching, compaction, entries, managers, rights, sessions
from blockyard_interchange.core.counters import Counters
from blockyard_interchange.core.pools import Origin, Pool
from blockyard_interchange.core.settings import PoolSettings, nonsense
from blockyard_interchange.core.stages import Stages
from blockyard_interchange.core.state import ClientKeys, Session, State

_KEY_BYTES = 40
_MOST_KEYS = 8
_MOST_NAME = 320
"""Characters of a pool's name: a namespace's and a resource's of Kubernetes are 63 and 253 at most."""


class Fault(NamedTuple):
    """Why an order is not carried out: the kind of a `Refused`, and a sentence."""

    kind: str
    sentence: str


def carry_out(state: State, session: Session, order: asked.KeeperOrder, now: float) -> int | Fault:
    """Do as told; returns what `Done` counts: managers sent away, or 1 when something changed."""
    if not rights.is_keeper(session):
        said = type(order).__name__
        return Fault("key", f"{said}: only a keeper's key may order this, and {session.user} is none")
    match order:
        case asked.SetPool():
            return _set_pool(state, order)
        case asked.RemovePool():
            return _remove_pool(state, order, now)
        case asked.AllowClient():
            return _allow_client(state, order)
        case asked.ForbidClient():
            return _forbid_client(state, order)


def keys(state: State) -> tuple[dict[bytes, str], dict[bytes, str]]:
    """Public key to user id of the clients and of the managers that are let in by order."""
    clients = {key: f"client:{name}" for name, one in state.clients.items() for key in one.public_keys}
    managed = {key: f"pool:{pool.name}" for pool in state.pools.values() for key in pool.keys}
    return clients, managed


def on_ring(state: State, ring: Mapping[str, frozenset[str] | None]) -> None:
    """Note whom the key ring's files let in, and the only pools that each may use; None: all."""
    state.ring = frozenset(ring)
    ordered = {f"client:{name}": frozenset(one.pools) for name, one in state.clients.items() if one.pools}
    state.limits = ordered | {user: pools for user, pools in ring.items() if pools is not None}


def define(state: State, name: str, settings: PoolSettings, public_keys: tuple[bytes, ...]) -> Pool:
    """Make a pool as it shall be. Also used by replay."""
    pool = state.pools.get(name)
    if pool is None:
        pool = state.pools[name] = Pool(name, settings)
    pool.settings, pool.keys, pool.origin = settings, public_keys, Origin.KEEPER
    return pool


def let_in(state: State, name: str, client: ClientKeys) -> None:
    """Let a client in. Also used by replay."""
    state.clients[name] = client
    user = f"client:{name}"
    if client.pools:
        state.limits[user] = frozenset(client.pools)
    else:
        state.limits.pop(user, None)


def forget_empty(state: State) -> None:
    """Forget pools that were removed and have no tasks left."""
    for pool in [one for one in state.pools.values() if not one.is_defined and not one.tasks]:
        del state.pools[pool.name]
        state.hungry.pop(pool.name, None)
        state.watched.pop(pool.name, None)
        caching.clear(state, [pool.name])
        pool.counters, pool.stages = Counters(), Stages()
        state.effects.entries.append(
            compaction.counted(pool, pool.stages.copied())
        )  # should it come back, it counts from 0, as here


def _set_pool(state: State, order: asked.SetPool) -> int | Fault:
    settings = PoolSettings(
        order.durability, order.workers, order.cores, order.memory_bytes, order.accelerators, order.nodes_per_block,
        order.max_losses, order.walltime,
    )  # fmt: skip
    public_keys = tuple(order.public_keys)
    where = f"SetPool {order.pool!r}"
    sentence = _bad_name(order.pool) or nonsense(settings) or _bad_keys(public_keys)
    sentence = sentence or _taken(state, public_keys, f"pool:{order.pool}")
    if sentence:
        return Fault("settings", f"{where}: {sentence}")
    pool = state.pools.get(order.pool)
    if pool is not None and pool.origin is Origin.SETTINGS:
        return Fault("settings", f"{where}: it is defined by the settings file, which alone can change it")
    if pool is not None and pool.is_defined and pool.settings == settings and pool.keys == public_keys:
        return 0
    if (
        pool is not None
        and pool.counters.unfinished
        and (pool.settings.durability == "memory") is not (settings.durability == "memory")
    ):
        return Fault(
            "settings",
            f"{where}: durability={settings.durability!r}, but {pool.counters.unfinished} unfinished tasks were taken "
            f"in as {pool.settings.durability!r}; wait for them, or cancel them",
        )
    pool = define(state, order.pool, settings, public_keys)
    state.effects.entries += [
        entries.PoolSet(pool.name, settings, list(public_keys)),
        compaction.counted(pool, pool.stages.copied()),
    ]
    state.effects.keys_changed = True
    state.hungry[pool.name] = pool
    return 1


def _remove_pool(state: State, order: asked.RemovePool, now: float) -> int | Fault:
    pool = state.pools.get(order.pool)
    if pool is not None and pool.origin is Origin.SETTINGS:
        return Fault("settings", f"RemovePool {order.pool!r}: it is defined by the settings file; take it out there")
    if pool is None:
        return 0
    if order.cancel_tasks:  # first, so that what runs ends as cancelled and not as lost
        sessions.cancel(state, [task for task in state.tasks.values() if task.order.pool is pool], now)
    sentence = f"pool {pool.name!r} was removed" + (f": {order.reason}" if order.reason else "")
    dismissed = list(pool.managers.values())
    for manager in dismissed:
        state.effects.before.append((manager.peer, to_manager.Refused("pool", sentence)))
        managers.gone(state, manager, Failure(sentence), now)
    if pool.is_defined:
        pool.origin, pool.keys = Origin.NOBODY, ()
        state.effects.entries.append(entries.PoolRemoved(pool.name))
        state.effects.keys_changed = True
    pool.watchers.clear()
    pool.reports.clear()
    state.watched.pop(pool.name, None)
    return len(dismissed)


def _allow_client(state: State, order: asked.AllowClient) -> int | Fault:
    client = ClientKeys(tuple(order.public_keys), tuple(sorted(set(order.pools))))
    where = f"AllowClient {order.name!r}"
    sentence = _bad_name(order.name) or _bad_keys(client.public_keys)
    sentence = sentence or _taken(state, client.public_keys, f"client:{order.name}")
    if sentence:
        return Fault("settings", f"{where}: {sentence}")
    if f"client:{order.name}" in state.ring:
        return Fault("settings", f"{where}: it is let in by a file of the key ring, which alone says what it may use")
    if state.clients.get(order.name) == client:
        return 0
    let_in(state, order.name, client)
    _end_watches(state)
    state.effects.entries.append(entries.ClientAllowed(order.name, list(client.public_keys), list(client.pools)))
    state.effects.keys_changed = True
    return 1


def _forbid_client(state: State, order: asked.ForbidClient) -> int:
    if state.clients.pop(order.name, None) is None:
        return 0
    state.effects.entries.append(entries.ClientForbidden(order.name))
    state.effects.keys_changed = True
    return 1


def _end_watches(state: State) -> None:
    """Let nobody hear of a pool any more that its key is not good for."""
    for pool in state.watched.values():
        for name in list(pool.watchers):
            session = state.sessions.get(name)
            if session is not None and not rights.may_use(state, session, pool.name):
                del pool.watchers[name]


def _bad_name(name: str) -> str:
    if not 0 < len(name) <= _MOST_NAME or not all(letter.isalnum() or letter in "-_." for letter in name):
        return f"a name has 1 to {_MOST_NAME} letters, digits, '-', '_' and '.'"
    return ""


def _bad_keys(public_keys: tuple[bytes, ...]) -> str:
    if len(public_keys) > _MOST_KEYS:
        return f"{len(public_keys)} public_keys; at most {_MOST_KEYS} at a time"
    for place, key in enumerate(public_keys):
        if len(key) != _KEY_BYTES or not key.isascii() or b" " in key:
            return f"public_keys[{place}] has {len(key)} bytes; a public key has {_KEY_BYTES} characters of Z85"
    return ""


def _taken(state: State, public_keys: tuple[bytes, ...], user: str) -> str:
    """Whom one of these keys belongs to already, if to another: what a key proves must be one thing."""
    for owner, theirs in _owners(state):
        if owner != user and not set(theirs).isdisjoint(public_keys):
            return f"one of its public_keys is {owner}'s"
    return ""


def _owners(state: State) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    for name, client in state.clients.items():
        yield f"client:{name}", client.public_keys
    for pool in state.pools.values():
        yield f"pool:{pool.name}", pool.keys


__all__ = ["Fault", "carry_out", "define", "forget_empty", "keys", "let_in", "on_ring"]
