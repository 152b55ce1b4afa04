"""Kills parts of a running system."""

import random
from enum import StrEnum

from tests.integration.processes import House, Process, kill, wait_until
from tests.machine import Size


class Target(StrEnum):
    """What is killed."""

    INTERCHANGE = "interchange"
    MANAGER = "manager"
    WORKER = "worker"
    BLOCK = "block"
    ALL = "all"


def plan(size: Size, dice: random.Random) -> list[Target]:
    """What to kill in which order: each target three times; full: 200 kills in all."""
    targets = [target for target in Target for _ in range(3)]
    if size is Size.FULL:
        targets += dice.choices(list(Target), k=200 - len(targets))
    dice.shuffle(targets)
    return targets


def strike(house: House, target: Target, dice: random.Random) -> None:
    """Wait until there is such a thing, and kill it."""

    def was_hit() -> list[Process]:
        return [victim for victim in _victims(house, target, dice) if kill(victim)]

    wait_until(f"there is a {target} to kill", was_hit, bool)


def _victims(house: House, target: Target, dice: random.Random) -> list[Process]:
    match target:
        case Target.INTERCHANGE:
            return house.interchanges()
        case Target.MANAGER:
            return _one(house.managers(), dice)
        case Target.WORKER:
            return _one(house.workers(), dice)
        case Target.BLOCK:
            return [one for manager in _one(house.managers(), dice) for one in house.block_of(manager)]
        case Target.ALL:
            return house.everything()


def _one(found: list[Process], dice: random.Random) -> list[Process]:
    return [dice.choice(found)] if found else []
