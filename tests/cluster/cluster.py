"""Bring a whole cluster up, and take it down: two nodes, a control plane, CoreDNS, volumes."""

import contextlib
import fcntl
import os
import shutil
import string
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster import commands, configs, control_plane, machine_state, network, processes, remains
from tests.cluster.building import Workshop
from tests.cluster.cache import say
from tests.cluster.certificates import Authority
from tests.cluster.kubectl import Kubectl
from tests.cluster.layout import Layout
from tests.cluster.nodes import NodeRunner
from tests.cluster.shell import CommandFailed, run
from tests.cluster.waiting import wait_until

MANIFESTS = Path(__file__).parent / "manifests"
READY_SECONDS = 180.0
VOLUMES = 8
"""Static volumes on each node."""


class ClusterRefused(Exception):
    """This machine cannot have the cluster; says why, and what to do."""


class ClusterRunner:
    """The cluster of one checkout on this machine."""

    def __init__(self, layout: Layout, workshop: Workshop) -> None:
        self.layout = layout
        self.workshop = workshop
        self.nodes = {node.name: NodeRunner(node, workshop.kube) for node in layout.nodes}

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(self.workshop.kube("kubectl"), self.layout.kubeconfig, own=True)

    @property
    def _whole(self) -> Path:
        """Written last: an `up` that was killed leaves a cluster that may run and lack something."""
        return self.layout.folder / "whole"

    def is_up(self) -> bool:
        """Whether it was brought up whole, all its processes run and the API server is ready."""
        return self._whole.exists() and not self._stopped() and self._api_answers()

    def up(self) -> bool:
        """Make sure that it runs; False when it did already. Takes minutes where its parts are not built yet.

        What a killed run left is removed first. ClusterRefused when this machine lacks something, or another cluster
        has its name or addresses.
        """
        lacks = machine_state.missing()
        if lacks:
            raise ClusterRefused(f"no cluster on this machine: {'; '.join(lacks)}")
        with _one_at_a_time(self.layout):
            if self.is_up():
                return False
            self.workshop.for_cluster()
            self._start()
        return True

    def down(self) -> None:
        """Leave nothing of it; a cluster that is not there is none to complain about."""
        with _one_at_a_time(self.layout):
            self._clear()
        with contextlib.suppress(OSError):  # other clusters' folders are there
            self.layout.folder.parent.rmdir()

    def load(self, archive: Path) -> None:
        """Give every node the images of an OCI archive."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda node: node.load(archive), self.nodes.values()))

    def load_image(self, image: str) -> None:
        """Give every node an image of our store."""
        with tempfile.TemporaryDirectory(prefix="blockyard-image-", dir="/var/tmp") as folder:
            archive = Path(folder) / "image.tar"
            self.workshop.store.save(image, archive)
            self.load(archive)

    def renew_volumes(self) -> None:
        """Make the static volumes that are not there, and empty ones of those whose claim is gone."""
        there = {one["metadata"]["name"]: one for one in self.kubectl.json("get", "persistentvolumes")["items"]}
        released = [name for name, volume in there.items() if volume["status"]["phase"] == "Released"]
        if released:
            self.kubectl.run("delete", "persistentvolume", *released)
        missing = []
        for node in self.layout.nodes:
            for ordinal in range(1, VOLUMES + 1):
                volume = configs.volume(node, ordinal)
                if volume["metadata"]["name"] in there and volume["metadata"]["name"] not in released:
                    continue
                path = Path(volume["spec"]["local"]["path"])
                shutil.rmtree(path, ignore_errors=True)
                path.mkdir(parents=True)
                path.chmod(0o777)  # pods are no root
                missing.append(volume)
        if missing:
            self.kubectl.apply({"apiVersion": "v1", "kind": "List", "items": missing})

    def _start(self) -> None:
        layout = self.layout
        self._clear()
        taken = machine_state.conflict(layout, machine_state.routes())
        if taken:
            raise ClusterRefused(taken)
        claim = machine_state.claim(layout)
        if claim is None:
            raise ClusterRefused(f"another process takes the name {layout.id} of the cluster of {layout.checkout}")
        layout.folder.mkdir(parents=True, mode=0o755)
        with claim:
            authority = Authority(layout.folder / "certificates")
            place = commands.place_of(layout)
            keys = control_plane.write_keys(place, authority)
            for argv in network.make_bridge(layout):
                run(argv)
            control_plane.start_api_server(place, keys, self.workshop.kube, layout.id, claim)
        for node in self.nodes.values():
            node.prepare(authority)
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            containerds = [pool.submit(self._fill, node) for node in self.nodes.values()]
            took = control_plane.wait_ready(self.kubectl, layout.folder / "logs")
            say(f"the API server is ready after {took:.1f} s")
            for one in layout.nodes:
                self.kubectl.run("create", "--filename=-", given=configs.node_object(one))
            control_plane.start_controllers(place, keys, authority, self.workshop.kube, layout.id)
            for job in containerds:
                job.result()
        for node in self.nodes.values():
            node.start_kubelet()
        self._apply_manifests()
        say(f"all is ready after {wait_until('the cluster', self._amiss, READY_SECONDS):.1f} s more")
        self._whole.touch()

    def _fill(self, node: NodeRunner) -> None:
        node.start_containerd()
        for archive in (self.workshop.pause_image(), self.workshop.coredns_image(), self.workshop.python_image()):
            node.load(archive)

    def _apply_manifests(self) -> None:
        for path in sorted(MANIFESTS.glob("*.yaml")):
            text = string.Template(path.read_text()).substitute(configs.substitutions(self.layout))
            self.kubectl.apply(text)
        self.renew_volumes()

    def _amiss(self) -> str | None:
        """What a new cluster still waits for, or None when it is whole."""
        stopped = self._stopped()
        if stopped:
            name = stopped[0]
            raise RuntimeError(f"{name.stem} ended: {control_plane.tail(name)}")
        nodes = self.kubectl.json("get", "nodes")["items"]
        unready = [node["metadata"]["name"] for node in nodes if not control_plane.is_ready(node)]
        if unready:
            return f"{', '.join(unready)} not Ready"
        deployment = self.kubectl.json("get", "deployment", "coredns", "--namespace=kube-system")
        if not deployment["status"].get("availableReplicas"):
            return f"CoreDNS has no replica: {deployment['status']}"
        return None

    def _stopped(self) -> list[Path]:
        """Logs of the processes that should run and do not."""
        folder = self.layout.folder / "logs"
        names = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
        logs = [folder / f"{name}.log" for name in names]
        logs += [node.log(name) for node in self.nodes.values() for name in ("containerd", "kubelet", "kube-proxy")]
        return [log for log in logs if processes.started(log) is None]

    def _api_answers(self) -> bool:
        try:
            self.kubectl.run("get", "--raw", "/readyz", timeout=10)
        except CommandFailed:
            return False
        return True

    def _clear(self) -> None:
        """Remove what is there by our name, unless it belongs to a cluster that this process cannot see."""
        claim = machine_state.claim(self.layout)
        if claim is not None:
            claim.close()
        elif not processes.marked(self.layout.id):
            raise ClusterRefused(
                f"cluster {self.layout.id} for {self.layout.checkout} runs in another root file system or container on"
                " this machine; take it down there"
            )
        remains.remove(self.layout)


@contextlib.contextmanager
def _one_at_a_time(layout: Layout) -> Iterator[None]:
    """Two calls of `up` or `down` for one cluster follow one another."""
    if os.geteuid() != 0:
        raise ClusterRefused("only root can make or remove a cluster (network namespaces, containers)")
    lock = Path(f"/run/blockyard-test-cluster-{layout.id}.lock")
    while True:
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not lock.exists() or lock.stat().st_ino != os.fstat(file.fileno()).st_ino:
                continue  # removed by who held it while we waited
            try:
                yield
            finally:
                lock.unlink()
            return
