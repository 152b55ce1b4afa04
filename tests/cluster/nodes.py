"""One node: its processes, its images, and what tests do to it: cut it off, kill it, bring it back."""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.cluster import cgroups, commands, configs, mounts, network, processes, remains
from tests.cluster.certificates import Authority
from tests.cluster.commands import Program
from tests.cluster.control_plane import tail, write_kubeconfig
from tests.cluster.kubectl import Json
from tests.cluster.layout import Node
from tests.cluster.shell import CommandFailed, run
from tests.cluster.waiting import wait_until

CONTAINERD_SECONDS = 60.0
LOAD_SECONDS = 600.0
KUBELET_SECONDS = 60.0
KUBELET, KUBE_PROXY, CONTAINERD = "kubelet", "kube-proxy", "containerd"


class NodeRunner:
    """Acts on one node of a cluster on this machine. `program` finds Kubernetes' programs."""

    def __init__(self, node: Node, program: Program) -> None:
        self.node = node
        self._program = program

    def prepare(self, authority: Authority) -> None:
        """Make its namespace, cgroup, certificates and configuration."""
        node, folder = self.node, self.node.folder
        for name in ("cni", "pod-logs", "volume-plugins"):
            (folder / name).mkdir(parents=True)
        for argv in network.make_node(node):
            run(argv)
        cgroups.make(node.cgroup)
        serving = authority.issue(f"{node.name}-serving", node.name, None, [node.name], [node.address])
        shutil.copy(serving.certificate, folder / "kubelet.crt")
        shutil.copy(serving.key, folder / "kubelet.key")
        server = node.cluster.api
        as_kubelet = authority.issue(node.name, f"system:node:{node.name}", "system:nodes")
        write_kubeconfig(folder / "kubelet.kubeconfig", server, authority, as_kubelet)
        as_proxy = authority.issue(f"{node.name}-proxy", "system:kube-proxy")
        write_kubeconfig(folder / "proxy.kubeconfig", server, authority, as_proxy)
        (folder / "containerd.toml").write_text(configs.containerd(node))
        (folder / "cni" / "10-bridge.conflist").write_text(configs.cni(node))
        (folder / "kubelet.json").write_text(configs.kubelet(node, authority.pair.certificate))
        (folder / "kube-proxy.json").write_text(configs.kube_proxy(node))
        (folder / "resolv.conf").write_text("# names outside the cluster are not resolved\n")

    def start_containerd(self) -> None:
        """Start it and wait until it answers."""
        processes.start(commands.containerd(self.node), self.node.cluster.id, self.log(CONTAINERD))

        def amiss() -> str | None:
            try:
                run(commands.ctr(self.node, "version"), timeout=10)
            except CommandFailed as error:
                return f"{error}; {tail(self.log(CONTAINERD))}"
            return None

        wait_until(f"containerd of {self.node.name} answers", amiss, CONTAINERD_SECONDS)

    def start_kubelet(self) -> None:
        """Start kube-proxy and the kubelet, and wait until the next kubelet may start; kubectl says when it is Ready.

        Of two that come to `remains.DEVICE_PLUGINS` in the same moment one ends: "address already in use".
        """
        mark = self.node.cluster.id
        processes.start(commands.kube_proxy(self.node, self._program), mark, self.log(KUBE_PROXY))
        remains.DEVICE_PLUGINS.unlink(missing_ok=True)
        processes.start(commands.kubelet(self.node, self._program), mark, self.log(KUBELET))

        def amiss() -> str | None:
            return None if remains.DEVICE_PLUGINS.exists() else tail(self.log(KUBELET))

        wait_until(f"the kubelet of {self.node.name} listens at {remains.DEVICE_PLUGINS}", amiss, KUBELET_SECONDS)

    def load(self, archive: Path) -> None:
        """Take the images of an OCI archive."""
        run(commands.ctr(self.node, "images", "import", str(archive)), timeout=LOAD_SECONDS)

    def images(self) -> list[str]:
        """Names of the images that are there."""
        return run(commands.ctr(self.node, "images", "list", "--quiet")).split()

    def name_again(self, image: str, name: str) -> None:
        """Give an image that is there a second name."""
        run(commands.ctr(self.node, "images", "tag", "--force", image, name))

    def cut(self) -> None:
        """Pull its cable: it and its pods run on and reach nobody."""
        run(network.cut(self.node))

    def restore(self) -> None:
        """Put the cable back."""
        run(network.restore(self.node))

    def kill(self) -> None:
        """What a power cut does: all its processes and containers are gone at once. Idempotent."""
        pids = [processes.started(self.log(name)) for name in (KUBELET, KUBE_PROXY, CONTAINERD)]
        processes.kill(pid for pid in pids if pid is not None)
        processes.kill(self._shims())
        cgroups.end_members(self.node.cgroup)

    def kill_container(self, identity: str) -> None:
        """SIGKILL to the first process of a container, by the id that its pod's status has."""
        run(commands.ctr(self.node, "tasks", "kill", "--signal", "SIGKILL", identity.removeprefix("containerd://")))

    @contextlib.contextmanager
    def without_kubelet(self) -> Iterator[None]:
        """Its kubelet stands still for the time of the block: containers run on, whatever is decided about them."""
        pid = processes.started(self.log(KUBELET))
        if pid is None:
            raise RuntimeError(f"the kubelet of {self.node.name} does not run: {tail(self.log(KUBELET))}")
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def log_of(self, pod: Json, container: str) -> str:
        """What a container has written, as far as the node keeps it; also while nobody can be asked."""
        meta = pod["metadata"]
        folder = self.node.folder / "pod-logs" / f"{meta['namespace']}_{meta['name']}_{meta['uid']}" / container
        return "".join(path.read_text(errors="replace") for path in sorted(folder.glob("*.log")))

    def bring_back(self) -> None:
        """Start a killed node again: images and the kubelet's files are as they were, nothing runs."""
        folder = self.node.folder
        for socket in remains.shim_sockets(self.node):
            socket.unlink(missing_ok=True)
        for volatile in (folder / "containerd" / "state", folder / "runc", folder / "ipam"):
            mounts.unmount_below(volatile)
            shutil.rmtree(volatile, ignore_errors=True)
        self.start_containerd()
        self.start_kubelet()

    def log(self, name: str) -> Path:
        """Where a process of the node writes what it says."""
        return self.node.folder / "logs" / f"{name}.log"

    def _shims(self) -> list[int]:
        """Of its containers: they outlive containerd, and name its socket on their command line."""
        socket = str(self.node.socket)
        mark = self.node.cluster.id
        return [pid for pid in processes.marked(mark) if socket in processes.words_of(pid)]
