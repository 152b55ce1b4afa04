"""One worker process as the manager's shell sees it: its socket, tokens, page and output."""

import os
import secrets
import socket

from blockyard_worker import pipe
from blockyard_worker.page import Page, make_page
from blockyard_worker.pipe import FrameBuffer
from blockyard_worker.records import FromWorker, Now, ToWorker
from blockyard_worker.shell.output import Outputs, Stream
from blockyard_worker.tokens import Tokens
from blockyard_worker.worker.capture import NONCE_BYTES


class Child:
    """A worker from before its birth until after its end. `pid` is None until it is born."""

    def __init__(self, number: int, outputs: Outputs) -> None:
        self.number = number
        self.pid: int | None = None
        self.nonce = secrets.token_bytes(NONCE_BYTES)
        self.tokens = Tokens()
        self.output = Stream(outputs, self.nonce)
        self.link, self._theirs = socket.socketpair()
        self.link.setblocking(False)  # noqa: FBT003 - that is its signature
        descriptor = make_page()
        self.page_inode = os.fstat(descriptor).st_ino
        self.page = Page(descriptor)
        self.descriptors = [self._theirs.detach(), os.dup(self.tokens.descriptor), descriptor, self.output.writer]
        """For the worker; closed by who passes them on."""
        self.peak_bytes = 0
        self.accelerators = ""
        """Names of those that are its own, with commas between."""
        self.backlog = bytearray()
        """What the socket did not take yet."""
        self._frames = FrameBuffer()

    def now(self) -> Now | None:
        """What it does."""
        return self.page.read()

    def send(self, record: ToWorker) -> None:
        """Send a record; what the socket does not take now is kept for `send_more`."""
        self.backlog += pipe.frame(record)
        self.send_more()

    def send_more(self) -> bool:
        """Send what is left over; False when there is still something."""
        while self.backlog:
            try:
                sent = self.link.send(self.backlog)
            except BlockingIOError:
                return False
            except (BrokenPipeError, ConnectionResetError):
                self.backlog.clear()  # it is dead or dying; what it had is dealt with when its end is known
                return True
            del self.backlog[:sent]
        return True

    def receive(self, *, to_end: bool = False) -> list[FromWorker]:
        """What it said. `to_end`: it is dead; read until there is nothing more."""
        said: list[FromWorker] = []
        while True:
            try:
                more = self._frames.read_from(self.link)
            except (BlockingIOError, ConnectionResetError):
                return said
            said += [pipe.from_worker.decode(frame) for frame in self._frames.frames()]
            if not more or not to_end:
                return said

    def close(self) -> None:
        """Let go of everything."""
        self.link.close()
        self.tokens.close()
        self.output.close()
        self.page.close()
