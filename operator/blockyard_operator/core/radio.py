"""A pool's radio: from what the pool wants, the hub says and the Secret holds to what is to be done. Pure.

No block is started before the Secret has the radio that its managers shall send by; but monitoring is no reason not to
compute: when the hub says no, or has not answered for `PATIENCE` seconds, blocks start without, and the pool says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from blockyard.kube.quantities import seconds
from blockyard_operator.core import plan as do
from blockyard_operator.core.standing import FALSE, TRUE, UNKNOWN, Said
from blockyard_operator.core.view import HeldRadio
from blockyard_operator.resources.pool import Monitoring

if TYPE_CHECKING:
    from blockyard_operator.core.pool_world import PoolWorld

PATIENCE: Final = 15.0
"""Seconds that a pool's first blocks wait for the hub."""
DEFAULT: Final = "zmq"
"""Of pools that say nothing, in a release with a hub."""
NO_RADIO: Final = "none"


class RadioChoice(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided. `ready`: blocks may start, as far as the radio goes."""

    effects: tuple[do.Effect, ...] = ()
    ready: bool = True
    said: Said = Said("Monitored", FALSE, "Off")
    wake_at: float | None = None


def wanted_of(monitoring: Monitoring, *, has_hub: bool) -> str:
    """What is asked of the hub, as JSON that is the same whenever the wish is; '' for no radio."""
    kind = monitoring.radio or DEFAULT
    if not has_hub or kind == NO_RADIO:
        return ""
    return msgspec.json.encode({"kind": kind, "settings": monitoring.settings}, order="deterministic").decode()


def decide(world: PoolWorld, now: float) -> RadioChoice:
    """Decide. Once the effects are carried out and seen, there are none any more."""
    pool, view, held = world.pool, world.radio, world.held_radio
    wanted = wanted_of(pool.spec.monitoring, has_hub=view is not None)
    if not wanted:
        return _without(world)
    if held is None or not world.has_secret:  # the Secret is seen to first, and then it is known what it holds
        return RadioChoice(ready=False, said=_PREPARING)
    assert view is not None
    period = seconds(pool.spec.monitoring.sample_period)
    holds = held.wanted == wanted
    if view.asked != wanted:
        ask = do.AskRadio(pool.queue, wanted, held.radio if holds else "")
        stale = [] if holds or not held.wanted else [_write(world, HeldRadio())]
        return RadioChoice(effects=(*stale, ask), ready=holds, said=_PREPARING)
    if view.radio:
        now_held = HeldRadio(wanted=wanted, radio=view.radio, sample_seconds=period)
        if held != now_held:
            return RadioChoice(effects=(_write(world, now_held),), ready=holds, said=_PREPARING)
    if view.refusal:
        return RadioChoice(said=Said("Monitored", FALSE, "RadioRefused", view.refusal))
    if view.silent:
        message = "the hub does not answer; what workers measure is told when it is back"
        silent = Said("Monitored", FALSE, "HubSilent", message)
        return _waiting(view.asked_at, silent, now, holds=holds)
    if not holds:
        return _waiting(view.asked_at, _PREPARING, now, holds=False)
    return RadioChoice(said=Said("Monitored", TRUE, "Monitored"))


def _without(world: PoolWorld) -> RadioChoice:
    effects: list[do.Effect] = []
    if world.radio is not None and (world.radio.asked or world.radio.listens):
        effects.append(do.ShutRadio(world.pool.queue))
    if world.held_radio is not None and world.held_radio.wanted and world.has_secret:
        effects.append(_write(world, HeldRadio()))
    named = world.pool.spec.monitoring.radio
    said = Said("Monitored", FALSE, "Off")
    if named not in (None, NO_RADIO):
        said = Said("Monitored", FALSE, "NoHub", f"radio {named!r} needs a hub: set hub.enabled of the chart")
    return RadioChoice(effects=tuple(effects), said=said)


def _waiting(since: float, said: Said, now: float, *, holds: bool) -> RadioChoice:
    due = since + PATIENCE
    ready = holds or now >= due
    return RadioChoice(ready=ready, said=said, wake_at=None if ready else due)


def _write(world: PoolWorld, radio: HeldRadio) -> do.Effect:
    return do.MakeSecret(world.pool.meta, "WorkerPool", radio)


_PREPARING: Final = Said("Monitored", UNKNOWN, "Preparing", "the hub has been asked for the pool's radio")
