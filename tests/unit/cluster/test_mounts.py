"""Mount points are read as the kernel writes them."""

from pathlib import Path

from tests.cluster.mounts import mounted_below

TABLE = """\
20 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 20 0:5 / /a/b rw - tmpfs none rw
31 30 0:6 / /a/b/c\\040d rw shared:1 - tmpfs none rw
32 20 0:7 / /a/bc rw - tmpfs none rw
"""


def test_the_last_mounted_comes_first_and_neighbours_are_left_out() -> None:
    assert mounted_below(Path("/a/b"), TABLE) == [Path("/a/b/c d"), Path("/a/b")]


def test_nothing_is_mounted_below_a_plain_folder() -> None:
    assert mounted_below(Path("/x"), TABLE) == []
