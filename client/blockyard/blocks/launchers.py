"""How a command is started inside a block: once, once per node, or by MPI.

A launcher is a pure function from a command and the shape of its block to the argv that the provider runs. It starts
nothing, reads nothing, and its result ends with the command, unchanged: words in front of it, never inside it, and
never a shell. Each copy finds its place in the block in `BLOCKYARD_NODE_INDEX` (see `fanout`) or in its rank.
Plug-ins: entry-point group `blockyard.launchers`, suite `suites.LauncherSuite`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from blockyard import plugins
from blockyard.plugins import PluginError

Argv: TypeAlias = tuple[str, ...]


class BlockShape(msgspec.Struct, frozen=True, kw_only=True):
    """What a launcher may know about a block.

    `nodes`: how many, from 1. `hosts`: their names in order, empty when the block has yet to learn them or all nodes
    are this machine. `python`: the interpreter on the nodes. `options`: further words for the tool that launches.
    """

    nodes: int = 1
    hosts: tuple[str, ...] = ()
    python: str = sys.executable
    options: Argv = ()

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise ValueError(f"nodes={self.nodes}: a block has at least one node")
        if self.hosts and len(self.hosts) != self.nodes:
            raise ValueError(f"hosts={self.hosts!r} are {len(self.hosts)}, nodes={self.nodes}: give one host per node")


Launcher: TypeAlias = Callable[[Argv, BlockShape], Argv]


def single(command: Argv, shape: BlockShape) -> Argv:
    """Start the command once, whatever the number of nodes: for programs that spread themselves."""
    return command


def per_node(command: Argv, shape: BlockShape) -> Argv:
    """Start one copy of the command for each node, all on the machine where the block begins.

    With one node that is the command itself. Otherwise `fanout` starts the copies, ends them together, and ends with
    the first exit code that is not 0.
    """
    if shape.nodes == 1:
        return command
    return (shape.python, "-m", "blockyard.blocks.fanout", *shape.options, str(shape.nodes), *command)


def mpi(command: Argv, shape: BlockShape) -> Argv:
    """Start one copy of the command for each node by `mpirun`, which knows how to reach the nodes.

    Words as Open MPI's mpirun(1) has them. Ranks are not bound, since a manager pins its own workers. Without hosts
    all copies run on this machine, which has fewer slots than ranks when it is small: hence `--oversubscribe`.
    """
    place: Argv = ("--oversubscribe",)
    if shape.hosts:
        place = ("--host", ",".join(shape.hosts), "--map-by", "ppr:1:node")
    return ("mpirun", "-n", str(shape.nodes), "--bind-to", "none", *place, *shape.options, *command)


def find(name: str) -> Launcher:
    """Return the launcher that is registered as `name`; raises PluginError with the list of those there are."""
    found = plugins.load(plugins.LAUNCHERS, name)
    if not callable(found):
        raise PluginError(f"launcher {name!r} is {found!r}: a launcher is a function of a command and a BlockShape")
    return found
