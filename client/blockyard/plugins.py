"""Finds plug-ins by name: those that come with Blockyard, and those that other distributions register.

A third party adds one with an entry point in its own `pyproject.toml`, for example

    [project.entry-points."blockyard.strategies"]
    seesaw = "my_package.scaling:seesaw"

What a plug-in of a group must look like is said where the group's port is, and what tests it must pass in the `suites`
beside that: docs/architecture.md lists both. Discovery fails loudly: nothing is skipped.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from blockyard.errors import ConfigError
from blockyard.suggestion import hint

LAUNCHERS: Final = "blockyard.launchers"
STRATEGIES: Final = "blockyard.strategies"
ERROR_HANDLERS: Final = "blockyard.error_handlers"
PROVIDERS: Final = "blockyard.providers"
EXECUTORS: Final = "blockyard.executors"
RADIOS: Final = "blockyard.radios"
RECEIVERS: Final = "blockyard.receivers"
"""Receivers of our own radios, which live with the hub; a radio of others makes its own."""
SINKS: Final = "blockyard.sinks"
RESULT_SINKS: Final = "blockyard.result_sinks"
"""Of managed tasks."""
STAGERS: Final = "blockyard.stagers"
"""By the scheme of their URLs."""
MEMO_IDS: Final = "blockyard.memo_ids"

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
        PROVIDERS: {
            "local": "blockyard.blocks.provider:LocalProvider",
            "kubernetes": "blockyard.kube.provider:KubernetesProvider",
        },
        EXECUTORS: {
            "blocks": "blockyard.blocks.executor:BlockExecutor",
            "blockless": "blockyard.blocks.blockless:BlocklessExecutor",
        },
        RADIOS: {
            "thread": "blockyard.radios.thread:ThreadRadio",
            "interchange": "blockyard.radios.interchange:InterchangeRadio",
            "zmq": "blockyard.radios.zmq:ZmqRadio",
            "udp": "blockyard.radios.udp:UdpRadio",
            "filesystem": "blockyard.radios.filesystem:FilesystemRadio",
        },
        RECEIVERS: {
            "zmq": "blockyard_monitoring.radios.zmq:ZmqReceiver",
            "udp": "blockyard_monitoring.radios.udp:UdpReceiver",
            "filesystem": "blockyard_monitoring.radios.filesystem:FilesystemReceiver",
        },
        SINKS: {
            "sql": "blockyard_monitoring.sinks.sql:SqlSink",
            "prometheus": "blockyard_monitoring.sinks.metrics:PrometheusSink",
            "stream": "blockyard_monitoring.sinks.stream:StreamSink",
            "jsonl": "blockyard_monitoring.sinks.jsonl:JsonlSink",
        },
        RESULT_SINKS: {"elog": "blockyard.managed.elog:from_environment"},
        STAGERS: {
            "file": "blockyard.files.stagers.local:FileStager",
            "pvc": "blockyard.files.stagers.local:PvcStager",
            "http": "blockyard.files.stagers.web:HttpStager",
            "https": "blockyard.files.stagers.web:HttpStager",
            "ftp": "blockyard.files.stagers.ftp:FtpStager",
            "s3": "blockyard.files.stagers.s3:S3Stager",
        },
    }
)
"""Known without installed metadata, so that a source tree works as it is."""


class PluginError(ConfigError):
    """A plug-in was named that is unknown, does not load, or claims a name that is taken. Use one that is listed."""


def is_known(group: str, name: str) -> bool:
    """Tell whether there is a plug-in of that name, without a look at other distributions if it is our own."""
    return name in BUILT_IN.get(group, {}) or name in registered(group)


def registered(group: str) -> dict[str, str]:
    """Return every name of `group` with its `module:attribute`, sorted by name.

    Raises PluginError when two distributions claim one name for different things.
    """
    found = dict(BUILT_IN.get(group, {}))
    for name, value in _entry_points(group):
        known = found.setdefault(name, value)
        if known != value:
            raise PluginError(
                f"two plug-ins of group {group!r} are called {name!r}: {known} and {value}; "
                f"uninstall one of them or rename it"
            )
    return dict(sorted(found.items()))


def load(group: str, name: str) -> object:
    """Import the plug-in `name` of `group`; one of our own is found at once and cannot be replaced by others.

    Raises PluginError, listing what there is, when the name is unknown, and naming the cause when it does not import.
    """
    value = BUILT_IN.get(group, {}).get(name) or _look_up(group, name)
    module, _, attribute = value.partition(":")
    try:
        found: object = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise PluginError(f"plug-in {name!r} of group {group!r} does not load from {value}: {error}") from error
    return found


def _look_up(group: str, name: str) -> str:
    known = registered(group)
    if name not in known:
        there = f"{hint(name, known)}there are: {', '.join(known) or 'none'}"
        raise PluginError(f"no plug-in {name!r} in group {group!r}; {there}")
    return known[name]


def _entry_points(group: str) -> list[tuple[str, str]]:
    # Imported late: reading the metadata of everything installed costs more than all else that starts a pool.
    from importlib.metadata import entry_points

    return [(point.name, point.value) for point in entry_points(group=group)]
