"""Finds plug-ins by name: those that come with Blockyard, and those that other distributions register.

A third party adds one with an entry point in its own `pyproject.toml`, for example

    [project.entry-points."blockyard.strategies"]
    seesaw = "my_package.scaling:seesaw"

What a plug-in of a group must look like is said where the group's port is: `launchers`, `scaling`, `errors`,
`provider`, `executor`; `suites` holds the tests that it must pass. Discovery fails loudly: nothing is skipped.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Final

from blockyard.blocks.faults import PluginError

LAUNCHERS: Final = "blockyard.launchers"
STRATEGIES: Final = "blockyard.strategies"
ERROR_HANDLERS: Final = "blockyard.error_handlers"
PROVIDERS: Final = "blockyard.providers"
EXECUTORS: Final = "blockyard.executors"

BUILT_IN: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        LAUNCHERS: {
            "single": "blockyard.blocks.launchers:single",
            "per-node": "blockyard.blocks.launchers:per_node",
            "mpi": "blockyard.blocks.launchers:mpi",
        },
        STRATEGIES: {
            "none": "blockyard.blocks.scaling:none",
            "simple": "blockyard.blocks.scaling:simple",
            "auto": "blockyard.blocks.scaling:auto",
        },
        ERROR_HANDLERS: {
            "none": "blockyard.blocks.errors:none",
            "simple": "blockyard.blocks.errors:simple",
            "windowed": "blockyard.blocks.errors:windowed",
            "breaker": "blockyard.blocks.errors:breaker",
        },
        PROVIDERS: {"local": "blockyard.blocks.provider:LocalProvider"},
        EXECUTORS: {
            "blocks": "blockyard.blocks.executor:BlockExecutor",
            "blockless": "blockyard.blocks.blockless:BlocklessExecutor",
        },
    }
)
"""Known without installed metadata, so that a source tree works as it is."""


def registered(group: str) -> dict[str, str]:
    """Return every name of `group` with its `module:attribute`, sorted by name.

    Raises PluginError when two distributions claim one name for different things.
    """
    found = dict(BUILT_IN.get(group, {}))
    for point in entry_points(group=group):
        known = found.setdefault(point.name, point.value)
        if known != point.value:
            raise PluginError(
                f"two plug-ins of group {group!r} are called {point.name!r}: {known} and {point.value}; "
                f"uninstall one of them or rename it"
            )
    return dict(sorted(found.items()))


def load(group: str, name: str) -> object:
    """Import the plug-in `name` of `group`.

    Raises PluginError, listing what there is, when the name is unknown, and naming the cause when it does not import.
    """
    known = registered(group)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise PluginError(f"no plug-in {name!r} in group {group!r}; {hint}there are: {', '.join(known) or 'none'}")
    point = EntryPoint(name=name, value=known[name], group=group)
    try:
        found: object = point.load()
        return found
    except (ImportError, AttributeError) as error:
        raise PluginError(f"plug-in {name!r} of group {group!r} does not load from {point.value}: {error}") from error
