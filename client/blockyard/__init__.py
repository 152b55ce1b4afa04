"""Blockyard: blocks of warm Python workers behind a durable queue, with a `concurrent.futures` face."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blockyard.blocks.pool import LocalPool
    from blockyard.client import Client
    from blockyard.errors import Cancelled
    from blockyard.files.file import File, Output
    from blockyard.futures import TaskFuture
    from blockyard.joining import join
    from blockyard.saying import event

__all__ = ["Cancelled", "Client", "File", "LocalPool", "Output", "TaskFuture", "event", "join"]

_HOMES = {
    "Cancelled": "blockyard.errors",
    "Client": "blockyard.client",
    "File": "blockyard.files.file",
    "LocalPool": "blockyard.blocks.pool",
    "Output": "blockyard.files.file",
    "TaskFuture": "blockyard.futures",
    "event": "blockyard.saying",
    "join": "blockyard.joining",
}


def __getattr__(name: str) -> object:
    # Interchange and workers import parts of this package, and must not pay for all of it at their start (PEP 562).
    if name not in _HOMES:
        raise AttributeError(f"module 'blockyard' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
