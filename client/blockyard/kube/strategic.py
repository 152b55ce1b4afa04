"""Merging pod specifications as Kubernetes does: strategic merge patch, as far as pods go.

Objects are merged field by field, a null removes; lists of the fields in `KEYS` are merged by that key, entries keep
the order in which they came first, `$patch: delete` removes one and `$patch: replace` replaces list or object; every
other list is replaced. See the `patchMergeKey` of the API reference for PodSpec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "topologySpreadConstraints": "topologyKey",
}
"""Field to the key by which entries of its list are matched. `tolerations` has none: it is replaced."""


class MergeConflict(ValueError):
    """A template cannot be merged: something has another type than the field it names. `path` is that field's."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def merge(base: Mapping[str, Any], patch: Mapping[str, Any], path: str = "spec") -> dict[str, Any]:
    """Return `base` with `patch` merged in; neither is changed. Raises MergeConflict naming the field."""
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    merged = dict(base)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif key != "$patch":
            merged[key] = _value(merged.get(key), value, key, f"{path}.{key}")
    return merged


def _value(old: Any, new: Any, key: str, path: str) -> Any:
    if isinstance(old, Mapping):
        if not isinstance(new, Mapping):
            raise MergeConflict(path, f"must be an object, found {_kind(new)}")
        return merge(old, new, path)
    if key in KEYS and (isinstance(old, list) or _is_of_objects(new)):
        if not isinstance(new, list):
            raise MergeConflict(path, f"must be a list, found {_kind(new)}")
        return _lists(old or [], new, KEYS[key], path)
    if isinstance(old, list) and not isinstance(new, list):
        raise MergeConflict(path, f"must be a list, found {_kind(new)}")
    return new


def _lists(old: Sequence[Any], new: Sequence[Any], key: str, path: str) -> list[Any]:
    if any(isinstance(entry, Mapping) and entry.get("$patch") == "replace" and key not in entry for entry in new):
        return [entry for entry in new if "$patch" not in entry]
    merged = {entry[key]: entry for entry in old}
    for place, entry in enumerate(new):
        where = f"{path}[{place}]"
        if not isinstance(entry, Mapping):
            raise MergeConflict(where, f"must be an object, found {_kind(entry)}")
        name = entry.get(key)
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise MergeConflict(f"{where}.{key}", f"is required here to match entries, found {_kind(name)}")
        if entry.get("$patch") == "delete":
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name, {}), entry, where)
    return list(merged.values())


def _is_of_objects(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
    return "an object"
