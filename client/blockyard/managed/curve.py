"""`CurveCommunicator`: a channel over TCP for tasks on other machines, authenticated and encrypted by CURVE.

Each staging makes two key pairs, the executor's and the task's. Whoever holds the task's secret key is the task; nobody
else gets as far as to say something. The key travels in a variable of the task's environment, which is hidden in
records, and never on a command line. Each frame holds lines, as they go through a pipe; each connection is in step by
itself.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from typing import Final

from blockyard.errors import ConfigError
from blockyard.managed.communicators import WRITE_SECONDS, ChannelClosed, Communicator, Party
from blockyard.managed.frames import Lines, Message, encode
from blockyard.managed.shim import blockyard_shim
from blockyard.managed.shim.blockyard_shim import KEY_VARIABLE
from blockyard.transport import Connections, Context, Gate, KeyPair, Router

_DOMAIN: Final = "managed-task"
_MOST_FRAMES: Final = 2000
"""That are read at once."""
_SOCKETS: Final = 16


class CurveCommunicator(Communicator):
    """Listens on an address of this machine that the task's machine can reach."""

    def __init__(
        self, party: Party = Party.EXECUTOR, channel: str = "", *, host: str = "127.0.0.1", key: str = ""
    ) -> None:
        """`host`: the IPv4 address to listen on. `channel`, `key`: for the task's side, ``curve:tcp://HOST:PORT`` and
        what is in ``BLOCKYARD_CHANNEL_KEY``."""
        super().__init__(party)
        self._channel, self._host, self._key = channel, host, key
        self._side: Listening | blockyard_shim.Link | None = None
        self._lines: dict[bytes, Lines] = {}
        """By connection."""

    @property
    def description(self) -> str:
        return "TCP with CURVE, keys of its own, JSON lines"

    @property
    def address(self) -> str:
        return f"curve:{self._listening().router.endpoint}" if self.party is Party.EXECUTOR else self._channel

    @property
    def variables(self) -> dict[str, str]:
        return {**super().variables, KEY_VARIABLE: self._listening().key}

    def stage_communicator(self) -> None:
        self._lines, self._asked = {}, {}
        if self.party is Party.TASK:
            kind, _, endpoint = self._channel.partition(":")
            if kind != "curve":
                raise ConfigError(f"channel {self._channel!r}: curve:tcp://HOST:PORT is expected")
            self._side = blockyard_shim.Link(endpoint, self._key)
        else:
            self._side = Listening(self._host)

    def readers(self) -> list[int]:
        match self._side:
            case None:
                return []
            case Listening():
                return self._side.descriptors
            case _:
                return [self._side.fileno()]

    @property
    def has_messages(self) -> bool:
        # The descriptors tell of changes; what has been there since before the last one, they do not.
        return self._side is not None and (self._side.has_frames() or super().has_messages)

    def read(self, reader: int) -> list[Message]:
        match self._side:
            case None:
                return []
            case Listening():
                return self._heard(self._side)
            case _:
                data = self._side.poll()
                return self._take(self._lines.setdefault(b"", Lines()), data) if data else []

    def _heard(self, side: Listening) -> list[Message]:
        found: list[Message] = []
        refused = side.answer_handshakes()
        if refused:
            self.dropped += refused
            self.last_fault = "somebody without the task's key was refused"
        for peer, data in side.frames():
            if data:
                found += self._heard_from(peer, self._take(self._lines.setdefault(peer, Lines()), data))
        return found

    def is_finished(self) -> bool:
        side = self._side
        return not isinstance(side, Listening) or not (side.connections.are_open() or side.has_frames())

    def write(self, message: Message) -> None:
        """To who asked, if it is an answer; to all otherwise."""
        match self._side:
            case None:
                raise ChannelClosed("the channel is closed")
            case Listening():
                asker, message = self._asker(message)
                line = encode(message)
                told = [self._side.send(peer, line) for peer in [*self._lines] if asker in (None, peer)]
                if not any(told):
                    raise ChannelClosed("no process of the task is connected")
            case _:
                try:
                    self._side.send(encode(message))
                except BrokenPipeError as error:
                    raise ChannelClosed(str(error)) from error

    def clear_communicator(self) -> None:
        side, self._side = self._side, None
        if side is not None:
            side.close()

    def _listening(self) -> Listening:
        if not isinstance(self._side, Listening):
            raise ConfigError("a channel over TCP has an address while it is staged")
        return self._side


class Listening:
    """The bound side, as long as it is staged."""

    def __init__(
        self, host: str, *, ours: KeyPair | None = None, task: KeyPair | None = None, ports: Sequence[int] = ()
    ) -> None:
        """`ours`, `task`: the keys of both sides; fresh ones if not given. `ports`: listen on the first that is free,
        not just on any.

        Raises ConfigError for an address that can't be listened on.
        """
        ours, task = ours or KeyPair.new(), task or KeyPair.new()
        self.key = f"{ours.public.decode()},{task.secret.decode()}"
        with contextlib.ExitStack() as stack:
            self._context = stack.enter_context(contextlib.closing(Context(_SOCKETS)))
            self._gate = Gate(self._context)
            stack.callback(self._gate.close)
            self._gate.allow(_DOMAIN, {task.public: _DOMAIN})
            self.router = self._bound(host, ours, ports or ("*",))
            stack.callback(self.router.close)
            self.connections = stack.enter_context(contextlib.closing(Connections(self.router)))
            self._nudge = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            stack.callback(os.close, self._nudge)
            self._stack = stack.pop_all()
        watched = (self.router.socket, self._gate.socket, self.connections.socket)
        self.descriptors = [*(int(one.fileno()) for one in watched), self._nudge]
        self._refused = 0
        self._unread: set[bytes] = set()
        """Peers that did not read."""

    def _bound(self, host: str, ours: KeyPair, ports: Sequence[int | str]) -> Router:
        faults = []
        for port in ports:
            try:
                return Router(self._context, f"tcp://{host}:{port}", keys=ours, domain=_DOMAIN)
            except OSError as error:
                faults.append(str(error))
        raise ConfigError(f"channel over TCP: host={host!r}: {'; '.join(faults)}; give an address of this machine")

    def answer_handshakes(self) -> int:
        """How many were refused."""
        self._gate.answer()
        before, self._refused = self._refused, self._gate.refused
        return self._refused - before

    def frames(self) -> list[tuple[bytes, bytes]]:
        """What has come, by connection."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._nudge)
        self.connections.are_open()
        found = [(peer, frame) for peer, _, frame in self.router.receive_all(_MOST_FRAMES)]
        self._note_the_rest()
        return found

    def has_frames(self) -> bool:
        """Whether more has come."""
        return self.router.has_frames()

    def send(self, peer: bytes, line: bytes) -> bool:
        """False when the peer is gone, or does not read."""
        deadline = time.monotonic() + (0.0 if peer in self._unread else WRITE_SECONDS)
        while not (sent := self.router.send(peer, line)):
            if not self.connections.are_open() or time.monotonic() >= deadline:
                break
            time.sleep(0.01)
        (self._unread.discard if sent else self._unread.add)(peer)
        self._note_the_rest()
        return sent

    def reaches(self, peer: bytes) -> bool:
        """Whether a peer is there still. A frame without a line says nothing to it."""
        return self.router.send(peer, b"")

    def _note_the_rest(self) -> None:
        # libzmq's descriptors tell each change once, to whichever call comes first.
        if self.has_frames():
            os.eventfd_write(self._nudge, 1)

    def close(self) -> None:
        self._stack.close()
