"""The real API server and etcd alone, on loopback: seconds to start, needs neither root nor containers.

Objects are validated, defaulted, admitted, watched and listed as in any cluster. Nothing acts on them unless asked for:
without controllers an owner's children stay, a namespace never finishes terminating and pods have no account. No
kubelet runs a pod; kwok may pretend to (`kwok.py`).
"""

import contextlib
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from tests.cluster import control_plane, processes
from tests.cluster.building import Workshop
from tests.cluster.certificates import Authority
from tests.cluster.commands import Place
from tests.cluster.kubectl import Kubectl
from tests.ports import free_port

LOOPBACK = IPv4Address("127.0.0.1")
SERVICES = IPv4Network("10.96.0.0/16")
END_SECONDS = 2.0


class ApiServer(Kubectl):
    """A running API server; `url` is where it listens, `certificates` holds the administrator's pair and ca.crt."""

    def __init__(self, workshop: Workshop, place: Place, authority: Authority) -> None:
        super().__init__(workshop.kube("kubectl"), place.folder / "kubeconfig", own=True)
        self.workshop = workshop
        self.url = control_plane.url(place)
        self.folder = place.folder
        self.certificates = authority.folder


@contextlib.contextmanager
def running_api_server(workshop: Workshop, *, controllers: bool = False) -> Iterator[ApiServer]:
    """An empty API server for the time of the block; with `controllers` the controller manager and scheduler too."""
    with tempfile.TemporaryDirectory(prefix="blockyard-api-") as name:
        folder = Path(name)
        api, etcd, peer, controller, scheduler = (free_port() for _ in range(5))
        place = Place(folder, LOOPBACK, api, etcd, peer, controller, scheduler, SERVICES, accounts=controllers)
        authority = Authority(folder / "certificates")
        keys = control_plane.write_keys(place, authority)
        server = ApiServer(workshop, place, authority)
        mark = folder.name
        try:
            control_plane.start_api_server(place, keys, workshop.kube, mark)
            control_plane.wait_ready(server, folder / "logs")
            if controllers:
                control_plane.start_controllers(place, keys, authority, workshop.kube, mark)
            yield server
        finally:
            processes.end(processes.marked(mark), END_SECONDS)
