"""Everything on this machine that carries a cluster's name, and its removal: what `down` does, also after a killed run.

Found by name, never by what a previous run wrote down: processes by mark and cgroup, interfaces, namespaces and rules
by the cluster's id, mounts and sockets by its folder.
"""

import contextlib
import json
import shlex
import shutil
import socket
from pathlib import Path

import msgspec

from tests.cluster import cgroups, mounts, processes
from tests.cluster.layout import Layout, Node
from tests.cluster.shell import CommandFailed, run

TERM_SECONDS = 4.0
"""More than the 2 s that etcd takes; an API server with open watches would take a minute, and has nothing to lose."""
TALKERS = ("kubelet", "kube-proxy", "kube-controller-manager", "kube-scheduler")
"""End first: they would start again what is ended next."""
LIBCNI = Path("/var/lib/cni/results")
LOG_LINKS = Path("/var/log/containers")
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins/kubelet.sock")
"""Where each kubelet listens, whatever its root-dir. It empties the folder first; who loses it misses nothing."""
FIXED = (
    LIBCNI,
    LIBCNI.parent,
    LOG_LINKS,
    Path("/run/containerd/s"),
    Path("/run/containerd"),
    DEVICE_PLUGINS.parent,
    DEVICE_PLUGINS.parent.parent,
)
"""Folders that containerd, libcni and the kubelet make wherever they are told to live; gone with the last cluster."""


class Remains(msgspec.Struct, frozen=True):
    """What is there, by kind; all empty after `down`."""

    processes: list[str]
    mounts: list[str]
    namespaces: list[str]
    cgroups: list[str]
    interfaces: list[str]
    rules: list[str]
    files: list[str]

    def __bool__(self) -> bool:
        return any(self.as_lists())

    def as_lists(self) -> list[list[str]]:
        return [getattr(self, name) for name in self.__struct_fields__]

    def __str__(self) -> str:
        kinds = zip(self.__struct_fields__, self.as_lists(), strict=True)
        return "; ".join(f"{kind}: {', '.join(what)}" for kind, what in kinds if what) or "nothing"


def find(cluster: Layout) -> Remains:
    """All that carries the cluster's name now."""
    groups = sorted(cgroups.with_prefix(f"{cluster.id}-"))
    pids = {*processes.marked(cluster.id), *(pid for name in groups for pid in cgroups.members(name))}
    return Remains(
        processes=[f"{pid} ({processes.name_of(pid)})" for pid in sorted(pids)],
        mounts=[str(point) for point in mounts.mounted_below(cluster.folder, Path("/proc/self/mountinfo").read_text())],
        namespaces=_namespaces(cluster),
        cgroups=groups,
        interfaces=_interfaces(cluster),
        rules=_rules(cluster),
        files=[str(path) for path in [cluster.folder, *_files(cluster)] if path.exists() or path.is_symlink()],
    )


def remove(cluster: Layout) -> None:
    """End and remove all of it. RuntimeError names what could not be removed."""
    _end_processes(cluster)
    files = _files(cluster)  # before the folder goes that says where they are
    mounts.unmount_below(cluster.folder)
    for rule in _rules(cluster):
        run(["iptables", "--wait", *_deleting(rule)])
    for interface in _interfaces(cluster):
        with contextlib.suppress(CommandFailed):  # a cable goes with its other end
            run(["ip", "link", "delete", interface])
    for namespace in _namespaces(cluster):
        run(["ip", "netns", "delete", namespace])
    for name in cgroups.with_prefix(f"{cluster.id}-"):
        cgroups.remove(name)
    for path in files:
        path.unlink(missing_ok=True)
    shutil.rmtree(cluster.folder, ignore_errors=True)
    if not _is_listening(DEVICE_PLUGINS):
        DEVICE_PLUGINS.unlink(missing_ok=True)
    for folder in FIXED:
        with contextlib.suppress(OSError):  # another's things are in it, or it is not there
            folder.rmdir()
    left = find(cluster)
    if left:
        raise RuntimeError(f"could not remove all of cluster {cluster.id}: {left}")


def _is_listening(path: Path) -> bool:
    """Whether a process accepts connections at a Unix socket: the kubelet of another cluster."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        return caller.connect_ex(str(path)) == 0


def shim_sockets(node: Node) -> list[Path]:
    """Of the node's containers; containerd puts them all into one folder, under names that tell nothing."""
    addresses = node.folder.glob("containerd/state/io.containerd.runtime.v2.task/k8s.io/*/address")
    return [Path(file.read_text().strip().removeprefix("unix://")) for file in addresses]


def _end_processes(cluster: Layout) -> None:
    by_name = [(pid, processes.name_of(pid)) for pid in processes.marked(cluster.id)]
    processes.end([pid for pid, name in by_name if name in TALKERS], TERM_SECONDS)
    for name in cgroups.with_prefix(f"{cluster.id}-"):
        cgroups.end_members(name)
    processes.end(processes.marked(cluster.id), TERM_SECONDS)
    for _ in range(10):  # a shim may have been started between the look and the signal
        left = processes.marked(cluster.id)
        if not left:
            return
        processes.kill(left)


def _namespaces(cluster: Layout) -> list[str]:
    folder = Path("/run/netns")
    return sorted(path.name for path in folder.glob(f"{cluster.id}-*")) if folder.exists() else []


def _interfaces(cluster: Layout) -> list[str]:
    names = [link["ifname"] for link in json.loads(run(["ip", "-json", "link", "show"]))]
    return [name for name in names if name == cluster.bridge or name.startswith(f"{cluster.id}-")]


def _rules(cluster: Layout) -> list[str]:
    """As `iptables -S` prints them."""
    if shutil.which("iptables") is None:
        return []
    return [line for line in run(["iptables", "--wait", "-S", "FORWARD"]).splitlines() if cluster.id in line]


def _deleting(rule: str) -> list[str]:
    return ["--delete", *shlex.split(rule)[1:]]


def _files(cluster: Layout) -> list[Path]:
    """Outside the cluster's folder: sockets of containerd's shims, results of CNI plug-ins, links to pods' logs."""
    sockets = [path for node in cluster.nodes for path in shim_sockets(node)]
    links = [link for link in _children(LOG_LINKS) if link.is_symlink() and cluster.folder in link.readlink().parents]
    results = [path for path in _children(LIBCNI) if _mentions(path, f"{cluster.folder}/")]
    return [*sockets, *results, *links]


def _mentions(path: Path, text: str) -> bool:
    try:
        return text in path.read_text(errors="replace")
    except FileNotFoundError:  # another cluster's, just removed
        return False


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
