"""A release of the chart of this checkout, with the images of this checkout, on a real cluster."""

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from blockyard import Client
from tests.cluster import deployables
from tests.cluster.access import Cluster, OwnCluster
from tests.cluster.kubectl import Json
from tests.cluster.shell import CommandFailed, run
from tests.cluster.waiting import wait_until
from tests.machine import ROOT

CHART = ROOT / "charts" / "blockyard"
READY_SECONDS = 180.0
GONE_SECONDS = 120.0
POOL = "blockyard.dev/pool"


class Release(msgspec.Struct, frozen=True):
    """One release; its name and its namespace's are the same, so that a client finds it by one of them."""

    cluster: Cluster
    namespace: str

    @property
    def name(self) -> str:
        return self.namespace

    def helm(self, *words: str | Path, timeout: float = READY_SECONDS) -> str:
        """Call helm in the release's namespace."""
        program = self.cluster.workshop.program("helm")
        with tempfile.TemporaryDirectory(prefix="blockyard-helm-") as home:
            folders = {f"HELM_{what}_HOME": home for what in ("CACHE", "CONFIG", "DATA")}
            environment = {"KUBECONFIG": str(self.cluster.kubeconfig), **folders}
            return run([program, *words, "--namespace", self.namespace], env=environment, timeout=timeout)

    def install(self, values: Mapping[str, Any], chart: Path = CHART) -> None:
        """Install, or upgrade to, a chart, and wait until all of it is ready."""
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(values, file)
            file.flush()
            self.helm("upgrade", "--install", self.name, chart, "--values", file.name)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until every pod of interchange and operator is the newest of its kind, and serves."""
        within = f"--namespace={self.namespace}"
        ours = f"--selector=app.kubernetes.io/instance={self.name},app.kubernetes.io/part-of=blockyard"
        for workload in self.cluster.run("get", "deployments,statefulsets", within, ours, "--output=name").split():
            patience = f"--timeout={READY_SECONDS:.0f}s"
            self.cluster.run("rollout", "status", workload, within, patience, timeout=READY_SECONDS + 10)

    def pods(self, selector: str) -> list[Json]:
        """Pods of the release's namespace that are not on their way out."""
        found = self.cluster.json("get", "pods", f"--namespace={self.namespace}", f"--selector={selector}")["items"]
        return [one for one in found if not one["metadata"].get("deletionTimestamp")]

    def apply_pool(self, name: str, spec: Mapping[str, Any]) -> None:
        """Make a pool, or change it."""
        metadata = {"name": name, "namespace": self.namespace}
        self.cluster.apply(
            {"apiVersion": "blockyard.dev/v1alpha1", "kind": "WorkerPool", "metadata": metadata, "spec": spec}
        )

    def pool(self, name: str) -> Json:
        """A pool as the API has it."""
        return self.cluster.json("get", "workerpool", name, f"--namespace={self.namespace}")

    def wait_no_blocks(self, name: str, seconds: float = GONE_SECONDS) -> float:
        """Wait until a pool has neither blocks nor pods; the seconds that took."""

        def amiss() -> str | None:
            pods = [one["metadata"]["name"] for one in self.pods(f"{POOL}={name}")]
            blocks = self.pool(name).get("status", {}).get("blocks", {})
            return None if not pods and not blocks.get("living") else json.dumps({"pods": pods, "blocks": blocks})

        return wait_until(f"no blocks of pool {name}", amiss, seconds)

    @contextlib.contextmanager
    def client(self, pool: str, **given: Any) -> Iterator[Client]:
        """A client outside of the cluster, through a port-forward; keywords are `Client.kubernetes`'s."""
        usual: dict[str, Any] = {
            "release": self.name,
            "kubeconfig": str(self.cluster.kubeconfig),
            "timeout": READY_SECONDS,
        }
        with Client.kubernetes(pool, namespace=self.namespace, **(usual | given)) as client:
            yield client

    def story(self) -> str:
        """What happened, for the message of a failed test: events, pods, and the ends of logs."""
        within = f"--namespace={self.namespace}"
        said = [
            self.cluster.run("get", "workerpools,workerblocks,pods", within, "--output=wide"),
            self.cluster.run("get", "events", within, "--sort-by=.lastTimestamp"),
        ]
        for pod in self.pods(""):
            name = pod["metadata"]["name"]
            for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
                with contextlib.suppress(CommandFailed):  # one that never ran has no log
                    log = self.cluster.run("logs", name, within, f"--container={container['name']}", "--tail=30")
                    said.append(f"--- {name} {container['name']}\n{log}")
        return "\n".join(said)


def image_values(cluster: Cluster, names: tuple[str, ...] = tuple(deployables.DOCKERFILES)) -> dict[str, Any]:
    """Build the images, give them to all nodes, and name them as the chart wants it."""
    return named(cluster, deployables.images(cluster.workshop, names))


def named(cluster: Cluster, images: Mapping[str, deployables.Image]) -> dict[str, Any]:
    """Give images to all nodes, and name them as the chart wants it."""
    values: dict[str, Any] = {"pullPolicy": "IfNotPresent"}
    for name, image in images.items():
        repository, _, tag = give(cluster, image).rpartition(":")
        values[name] = {"repository": repository, "tag": tag}
    return values


def give(cluster: Cluster, image: deployables.Image) -> str:
    """Give an image to all nodes; the name that pods call it by."""
    if isinstance(cluster, OwnCluster):
        return cluster.give(image.reference, image.archive)
    return cluster.load_image(image.reference)


@contextlib.contextmanager
def released(
    cluster: Cluster,
    values: Mapping[str, Any],
    chart: Path = CHART,
    *,
    before: Callable[[Release], None] = lambda release: None,
) -> Iterator[Release]:
    """A release in a namespace of its own, whose pods must fit restricted Pod Security; all is gone afterwards.

    `before` may put into the namespace what the values speak of.
    """
    with cluster.namespace("yard") as namespace:
        cluster.run("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
        release = Release(cluster, namespace)
        try:
            before(release)
            release.install(values, chart)
            yield release
        except BaseException:
            sys.stderr.write(release.story())
            raise
        finally:
            with contextlib.suppress(CommandFailed):  # the test may have done it
                release.helm("uninstall", release.name, "--ignore-not-found")
