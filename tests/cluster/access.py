"""A cluster as tests hold it, whichever it is: our own, or one that KUBECONFIG names."""

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.cluster import control_plane
from tests.cluster.building import Workshop
from tests.cluster.cluster import ClusterRefused, ClusterRunner
from tests.cluster.control_plane import is_ready
from tests.cluster.kubectl import Kubectl
from tests.cluster.layout import layout_of
from tests.cluster.nodes import NodeRunner
from tests.cluster.shell import CommandFailed, run
from tests.cluster.waiting import wait_until

PUSH_SECONDS = 900.0
NODE_SECONDS = 120.0


class Cluster(Kubectl):
    """An API server with nodes. Names in it are the test's to choose; `namespace` makes one that goes with the test."""

    def __init__(self, workshop: Workshop, kubeconfig: Path, *, own: bool) -> None:
        super().__init__(workshop.kube("kubectl"), kubeconfig, own=own)
        self.workshop = workshop

    def load_image(self, image: str) -> str:
        """Give an image of our store to all nodes; the name that pods call it by."""
        raise NotImplementedError

    @contextlib.contextmanager
    def namespace(self, prefix: str = "test") -> Iterator[str]:
        """A new namespace for the time of the block."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.run("create", "namespace", name)
        try:
            yield name
        finally:
            self.run("delete", "namespace", name, "--wait=false")

    def wait_nodes(self, *ready: str, lost: str | None = None, seconds: float = NODE_SECONDS) -> float:
        """Wait until the nodes in `ready` are Ready and node `lost` is not; the seconds that took."""

        def amiss() -> str | None:
            states = {node["metadata"]["name"]: is_ready(node) for node in self.json("get", "nodes")["items"]}
            well = all(states.get(name) for name in ready) and not (lost and states.get(lost, True))
            return None if well else f"ready: {states}"

        return wait_until(f"nodes {ready} Ready, {lost} not", amiss, seconds)


class OwnCluster(Cluster):
    """Our two nodes on this machine, which may be cut off and killed."""

    def __init__(self, runner: ClusterRunner) -> None:
        super().__init__(runner.workshop, runner.layout.kubeconfig, own=True)
        self.runner = runner
        self.layout = runner.layout

    @property
    def audit_log(self) -> Path:
        """One JSON object a line for each request of service accounts and users other than the cluster's own parts."""
        return self.layout.folder / "audit.log"

    def load_image(self, image: str) -> str:
        self.runner.load_image(image)
        return image

    def give(self, image: str, archive: Path) -> str:
        """Give an image, whose name says what is in it, to the nodes that do not have it yet."""
        lacking = [node for node in self.runner.nodes.values() if image not in node.images()]
        for node in lacking:
            node.load(archive)
        return image

    def node(self, name: str) -> NodeRunner:
        """To cut, restore, kill or bring back; who does so undoes it before the test ends.."""
        return self.runner.nodes[name]

    @contextlib.contextmanager
    def cut_off(self, name: str) -> Iterator[NodeRunner]:
        """The node's cable is pulled for the time of the block; afterwards all nodes are Ready."""
        node = self.node(name)
        node.cut()
        try:
            yield node
        finally:
            node.restore()
            self.wait_nodes(*self.runner.nodes)

    @contextlib.contextmanager
    def killed(self, name: str) -> Iterator[NodeRunner]:
        """All of the node's processes are gone for the time of the block; afterwards all nodes are Ready."""
        node = self.node(name)
        node.kill()
        try:
            yield node
        finally:
            node.bring_back()
            self.wait_nodes(*self.runner.nodes)

    def kill_container(self, namespace: str, pod: str, name: str = "") -> None:
        """SIGKILL to the first process of a pod's container; '': of its first one."""
        found = self.json("get", "pod", pod, f"--namespace={namespace}")
        wanted = name or found["spec"]["containers"][0]["name"]
        states = {one["name"]: one["containerID"] for one in found["status"]["containerStatuses"]}
        self.node(found["spec"]["nodeName"]).kill_container(states[wanted])

    def logs(self, name: str) -> str:
        """The end of what one of the control plane's processes said."""
        return control_plane.tail(self.layout.folder / "logs" / f"{name}.log")


class GivenCluster(Cluster):
    """Somebody's cluster. Images go to the registry named in BLOCKYARD_REGISTRY, or into kind."""

    def load_image(self, image: str) -> str:
        registry = os.environ.get("BLOCKYARD_REGISTRY")
        if registry:
            name = f"{registry.rstrip('/')}/{image.removeprefix('localhost/')}"
            run(self.workshop.store.argv("push", "--quiet", image, f"docker://{name}"), timeout=PUSH_SECONDS)
            return name
        context = self.run("config", "current-context").strip()
        if not context.startswith("kind-") or shutil.which("kind") is None:
            raise CommandFailed(f"no way to load {image} into {context}; name a registry in BLOCKYARD_REGISTRY")
        with tempfile.TemporaryDirectory(prefix="blockyard-image-", dir="/var/tmp") as folder:
            archive = Path(folder) / "image.tar"
            save = self.workshop.store.argv("push", "--quiet", image, f"docker-archive:{archive}:{image}")
            run(save, timeout=PUSH_SECONDS)
            run(["kind", "load", "image-archive", archive, "--name", context.removeprefix("kind-")], timeout=600)
        return image


@contextlib.contextmanager
def cluster_for_tests(workshop: Workshop, checkout: Path) -> Iterator[Cluster]:
    """The cluster that KUBECONFIG names, else the checkout's own; one that runs is used and left running."""
    given = os.environ.get("KUBECONFIG")
    runner = ClusterRunner(layout_of(checkout, os.environ), workshop)
    if given and Path(given) != runner.layout.kubeconfig:
        yield GivenCluster(workshop, Path(given), own=False)
        return
    made, keep = True, os.environ.get("BLOCKYARD_KEEP_CLUSTER")  # one that fails while it starts is ours, too
    try:
        made = runner.up()
        runner.renew_volumes()  # tests before this one may have used them
        yield OwnCluster(runner)
    except ClusterRefused:
        made = False  # another's, or none at all
        raise
    finally:
        if made and not keep:
            runner.down()
