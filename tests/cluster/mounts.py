"""What is mounted below a folder, and its removal."""

import contextlib
from pathlib import Path

from tests.cluster.shell import CommandFailed, run


def mounted_below(folder: Path, table: str) -> list[Path]:
    """Mount points at or below `folder` in the text of a /proc/PID/mountinfo, the last mounted first."""
    points = [Path(_plain(line.split()[4])) for line in table.splitlines()]
    return [point for point in reversed(points) if point == folder or folder in point.parents]


def unmount_below(folder: Path) -> list[Path]:
    """Unmount all at or below `folder`, detaching what is busy; the mount points that are still there."""
    folder = folder.resolve()
    for point in mounted_below(folder, _table()):
        try:
            run(["umount", point])
        except CommandFailed:
            with contextlib.suppress(CommandFailed):  # what remains is returned
                run(["umount", "--lazy", point])
    return mounted_below(folder, _table())


def _table() -> str:
    return Path("/proc/self/mountinfo").read_text()


def _plain(field: str) -> str:
    """mountinfo writes blanks, tabs, newlines and backslashes in octal."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
