"""How many workers a pod gets, and what they may use: from sizes given, else from what the container requests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from blockyard.kube.quantities import amount

ACCELERATORS: Final = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe", "habana.ai/gaudi")
"""Extended resources that count as accelerators; a pod that requests several kinds has their sum."""

SLACK: Final = 1e-9


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What a container has: cores, memory in bytes, accelerators; None where it says nothing."""

    cores: float | None = None
    memory: float | None = None
    accelerators: int = 0


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker is to have of it; None: not counted."""

    cores: float | None = None
    memory: float | None = None
    accelerators: int | None = None


def room_of(container: Mapping[str, Any]) -> Room:
    """Read a container's resources: the request, or the limit where only that is given. Raises ValueError by field."""
    resources = container.get("resources") or {}
    if not isinstance(resources, Mapping):
        raise ValueError(f"resources: must be an object, found {resources!r}")
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    if not isinstance(limits, Mapping) or not isinstance(requests, Mapping):
        raise ValueError("resources: limits and requests must be objects")
    wanted = {**limits, **requests}
    read = {}
    for name in ("cpu", "memory", *ACCELERATORS):
        if wanted.get(name) is not None:
            try:
                read[name] = amount(wanted[name])
            except ValueError as error:
                raise ValueError(f"resources[{name}]: {error}") from error
    accelerators = sum(int(read.get(name, 0)) for name in ACCELERATORS)
    return Room(cores=read.get("cpu"), memory=read.get("memory"), accelerators=accelerators)


def workers(room: Room, share: Share | None, fixed: int | None) -> int:
    """How many workers fit: `fixed` if given, else by `share`, else one for each whole core requested; at least one."""
    if fixed is not None:
        return fixed
    if share is None:
        return max(1, math.floor((room.cores or 1.0) + SLACK))
    ratios = [
        have / want
        for have, want in (
            (room.cores, share.cores),
            (room.memory, share.memory),
            (float(room.accelerators), share.accelerators),
        )
        if have is not None and want
    ]
    return max(1, math.floor(min(ratios) + SLACK)) if ratios else 1
