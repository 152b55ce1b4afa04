"""One cgroup per node in every hierarchy: made before its kubelet starts, emptied and removed after."""

import contextlib
import errno
import functools
import os
from pathlib import Path

from tests.cluster import processes
from tests.cluster.waiting import wait_until

ROOT = Path("/sys/fs/cgroup")
REMOVE_SECONDS = 10.0


def hierarchies() -> list[Path]:
    """Where cgroups are made: each mounted v1 controller, or the one v2 tree."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    # several names may be links to one hierarchy
    return sorted({path.resolve() for path in ROOT.iterdir() if path.is_dir() and (path / "tasks").exists()})


def everywhere() -> list[Path]:
    """Where cgroups may be: beside v1 hierarchies runc makes one in the v2 tree, too."""
    beside = ROOT / "unified"
    return [*hierarchies(), *([beside] if (beside / "cgroup.controllers").exists() else [])]


def make(name: str) -> None:
    """Make cgroup `name` (``/NAME``) everywhere. A cpuset takes no process before it knows its processors."""
    for root in hierarchies():
        group = root / name.lstrip("/")
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (root / "tasks").exists() and (root / setting).exists():
                (group / setting).write_text((root / setting).read_text())
        if root == ROOT:
            _delegate(root)
            _delegate(group)


def members(name: str) -> set[int]:
    """Pids of all processes in cgroup `name` and below."""
    found: set[int] = set()
    for root in everywhere():
        for group in _tree(root / name.lstrip("/")):
            with contextlib.suppress(OSError):  # just removed
                found.update(map(int, (group / "cgroup.procs").read_text().split()))
    return found - {0}  # 0 stands for processes of another pid namespace


def end_members(name: str) -> None:
    """SIGKILL all processes in it, again while new ones appear."""
    for _ in range(10):
        pids = members(name)
        if not pids:
            return
        processes.kill(pids)
    raise TimeoutError(f"cgroup {name} fills again and again: {sorted(members(name))}")


def remove(name: str) -> None:
    """Remove it and all below it, wherever it is; its processes must be gone."""
    for root in everywhere():
        for group in _tree(root / name.lstrip("/")):
            wait_until(f"{group} removed", functools.partial(_removed, group), REMOVE_SECONDS)


def with_prefix(prefix: str) -> set[str]:
    """Names of the cgroups at the top of any hierarchy that begin with `prefix`."""
    return {f"/{path.name}" for root in everywhere() for path in root.glob(f"{prefix}*") if path.is_dir()}


def _tree(top: Path) -> list[Path]:
    """A cgroup and all below it, children before their parents; none of it need be there any more when it is used."""
    return [Path(folder) for folder, _, _ in os.walk(top, topdown=False)]


def _removed(group: Path) -> str | None:
    """Try to; the kernel refuses for a moment after the last process of a cgroup ended."""
    try:
        group.rmdir()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return str(error)
    return None


def _delegate(group: Path) -> None:
    controllers = (group / "cgroup.controllers").read_text().split()
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
