"""The launchers' words for given shapes; that they work is tested with processes."""

import pytest

from blockyard import plugins
from blockyard.blocks import launchers
from blockyard.blocks.launchers import Argv, BlockShape, Launcher, mpi, per_node, single
from blockyard.plugins import PluginError

COMMAND = ("python3", "-m", "blockyard_worker")


@pytest.mark.parametrize(
    "launcher, shape, words",
    [
        (single, BlockShape(nodes=4), ()),
        (per_node, BlockShape(nodes=1), ()),
        (per_node, BlockShape(nodes=3, python="py"), ("py", "-m", "blockyard.blocks.fanout", "3")),
        (mpi, BlockShape(nodes=2), ("mpirun", "-n", "2", "--bind-to", "none", "--oversubscribe")),
        (
            mpi,
            BlockShape(nodes=2, hosts=("a", "b"), options=("--allow-run-as-root",)),
            (
                "mpirun",
                "-n",
                "2",
                "--bind-to",
                "none",
                "--host",
                "a,b",
                "--map-by",
                "ppr:1:node",
                "--allow-run-as-root",
            ),
        ),
    ],
)
def test_a_launcher_puts_its_words_in_front_of_the_command(launcher: Launcher, shape: BlockShape, words: Argv) -> None:
    assert launcher(COMMAND, shape) == (*words, *COMMAND)


def test_a_block_has_a_node_and_a_host_for_each_node() -> None:
    with pytest.raises(ValueError, match="nodes=0: a block has at least one node"):
        BlockShape(nodes=0)
    with pytest.raises(ValueError, match="are 1, nodes=2"):
        BlockShape(nodes=2, hosts=("a",))


def test_launchers_are_found_by_name() -> None:
    assert [launchers.find(name) for name in ("single", "per-node", "mpi")] == [single, per_node, mpi]
    with pytest.raises(PluginError, match="did you mean 'per-node'"):
        launchers.find("per_node")


def test_what_is_no_function_is_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plugins.BUILT_IN[plugins.LAUNCHERS], "odd", "sys:path")
    with pytest.raises(PluginError, match="a launcher is a function"):
        launchers.find("odd")
