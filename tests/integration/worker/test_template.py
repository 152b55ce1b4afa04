"""The template as its manager sees it, without a manager between."""

import os
import select
import socket

from blockyard_worker import births
from blockyard_worker.births import Configuration, Spawn, WorkerConfiguration
from blockyard_worker.launch import launch
from tests.integration.processes import WITHIN


def test_it_ends_in_order_though_its_manager_left_what_it_said_unread() -> None:
    pid, link = launch("block")
    try:
        link.send(births.encode(Configuration(os.getpid(), [], WorkerConfiguration(0.005, ""))))
        ends = [end for _ in range(births.DESCRIPTORS // 2) for end in socket.socketpair()]
        socket.send_fds(link, [births.encode(Spawn(1, b"nonce", []))], [end.fileno() for end in ends])
        assert select.select([link], [], [], WITHIN)[0], "it said nothing"
    finally:
        link.close()  # as a SIGKILL of the manager would
    for end in ends:
        end.close()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
