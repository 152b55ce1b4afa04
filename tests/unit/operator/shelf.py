"""An API server as far as making objects goes: it keeps what is made, and refuses what it is told to."""

import copy
from typing import Any

from blockyard.kube.api import Object
from blockyard.kube.faults import ApiError
from blockyard.kube.kinds import Kind


class Shelf:
    """`refusals` by kind. `writes` are the kinds and names of what was written, in order."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.refusals: dict[str, ApiError] = {}
        self.writes: list[tuple[str, str]] = []

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        found = self.objects.get((kind.name, namespace, name))
        if found is None:
            raise ApiError(f"get {kind.plural}", 404, "NotFound", f"{kind.plural} {name!r} not found")
        return copy.deepcopy(found)

    async def create(self, kind: Kind, made: Object, **_: Any) -> Object:
        if kind.name in self.refusals:
            raise self.refusals[kind.name]
        return self._put(kind, made)

    async def apply(self, kind: Kind, made: Object, **_: Any) -> Object:
        return self._put(kind, made)

    def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """By somebody else."""
        del self.objects[kind.name, namespace, name]

    def _put(self, kind: Kind, made: Object) -> Object:
        meta = made["metadata"]
        self.writes.append((kind.name, meta["name"]))
        version = str(len(self.writes))
        kept = copy.deepcopy(made) | {"metadata": {"uid": f"uid-{version}", **meta, "resourceVersion": version}}
        self.objects[kind.name, meta["namespace"], meta["name"]] = kept
        return kept
