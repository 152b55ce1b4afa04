"""How a managed task and its executor talk: `PipeCommunicator` and `SocketCommunicator`, one port. For tasks on other
machines there is `curve.CurveCommunicator`.

A communicator is made with no I/O. `stage_communicator` (or ``with``) opens it, `clear_communicator` closes it, and it
may be staged again; one object serves one task at a time. The executor waits on `readers` and calls `read` when one of
them is readable. The same classes serve a task's side with ``Party.TASK``; tasks elsewhere use the shim.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import struct
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from enum import Enum
from pathlib import Path
from typing import Final, Self, TypeAlias

import msgspec

from blockyard.errors import BlockyardError, ConfigError
from blockyard.managed.frames import Lines, Message, encode
from blockyard.managed.shim.blockyard_shim import CHANNEL_VARIABLE
from blockyard.managed.signals import Signal

READ_BYTES: Final = 1 << 18
WRITE_SECONDS: Final = 2.0
"""How long somebody who does not read may hold up the other side: once, until he reads again."""
_CREDENTIALS: Final = struct.Struct("3i")
_numbers: Final = itertools.count(1)
"""Of requests, whatever channel of this process they come by."""

MakeCommunicator: TypeAlias = "Communicator | Callable[[], Communicator]"
"""One, or what makes it."""


class ChannelClosed(BlockyardError):
    """The other side of the channel is gone."""


class Party(Enum):
    """Whose side this is."""

    TASK = "task"
    EXECUTOR = "executor"


class Communicator(ABC):
    """One channel. Descriptors are non-blocking on the executor's side."""

    def __init__(self, party: Party = Party.EXECUTOR) -> None:
        self.party = party
        self.dropped = 0
        """Lines that were no messages, and peers that were refused."""
        self.last_fault = ""
        self._asked: dict[int, tuple[Hashable, int]] = {}
        """By the number that a request has here: the connection that it came by, and its own number there."""
        self._unread: dict[int, bytes] = {}
        """Descriptors whose other end did not read, and the rest of a line that it has the beginning of."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What it is, for the record."""

    @property
    @abstractmethod
    def address(self) -> str:
        """What the task finds in ``BLOCKYARD_CHANNEL``. Only while it is staged."""

    @property
    def variables(self) -> dict[str, str]:
        """Of the task's environment. Only while it is staged."""
        return {CHANNEL_VARIABLE: self.address}

    @property
    def inherited(self) -> tuple[int, ...]:
        """Descriptors that the task inherits."""
        return ()

    @abstractmethod
    def readers(self) -> list[int]:
        """Descriptors to wait on; none when nothing can come any more."""

    @abstractmethod
    def read(self, reader: int) -> list[Message]:
        """What has come on this one of `readers`; never waits."""

    @abstractmethod
    def is_finished(self) -> bool:
        """Whether all that was said has been read, now that all processes of the task are gone."""

    @abstractmethod
    def write(self, message: Message) -> None:
        """Say something to the other side. Raises ChannelClosed when nobody is there."""

    @abstractmethod
    def stage_communicator(self) -> None:
        """Open it."""

    @abstractmethod
    def clear_communicator(self) -> None:
        """Close it; it may be closed already."""

    def release(self) -> None:
        """The task runs and has inherited what it needs."""
        return

    def has_asked(self, number: int) -> bool:
        """Whether a request came by this channel that is called so here, and has no answer yet."""
        return number in self._asked

    @property
    def has_messages(self) -> bool:
        """Whether something can be read at once."""
        return bool(select.select(self.readers(), [], [], 0.0)[0])

    def __enter__(self) -> Self:
        self.stage_communicator()
        return self

    def __exit__(self, *_: object) -> None:
        self.clear_communicator()

    def __str__(self) -> str:
        return f"{type(self).__name__}: {self.description}"

    def _heard_from(self, peer: Hashable, messages: list[Message]) -> list[Message]:
        """Their requests under numbers that no others have: those of two ranks may be the same."""
        return [self._noted(peer, one) if one.signal is Signal.TASK_REQUEST and one.id else one for one in messages]

    def _noted(self, peer: Hashable, request: Message) -> Message:
        number = next(_numbers)
        self._asked[number] = (peer, request.id)
        return msgspec.structs.replace(request, id=number)

    def _asker(self, message: Message) -> tuple[Hashable, Message]:
        """Who gets this message, None for all, and what he gets. Raises ChannelClosed for an answer to nobody."""
        if message.signal is not Signal.TASK_RESPONSE or not message.id:
            return None, message
        if (found := self._asked.pop(message.id, None)) is None:
            raise ChannelClosed("nobody waits for this answer: who asked is gone, or has it")
        peer, number = found
        return peer, msgspec.structs.replace(message, id=number)

    def _forget(self, peer: Hashable) -> None:
        self._asked = {number: one for number, one in self._asked.items() if one[0] != peer}

    def _write_line(self, descriptor: int, line: bytes) -> None:
        """Write a line whole. Raises ChannelClosed when nobody is there, or does not read."""
        begun = self._unread.get(descriptor)
        deadline = time.monotonic() + (WRITE_SECONDS if begun is None else 0.0)
        for part in (begun or b"", line):
            left = part
            while left:
                try:
                    left = left[os.write(descriptor, left) :]
                except BlockingIOError as error:
                    patience = deadline - time.monotonic()
                    if patience <= 0.0:
                        self._unread[descriptor] = left if part is begun or len(left) < len(part) else b""
                        raise ChannelClosed("the other side does not read what it is told") from error
                    select.select([], [descriptor], [], patience)
                except OSError as error:
                    raise ChannelClosed(f"the other side is gone: {error.strerror}") from error
        self._unread.pop(descriptor, None)

    def _take(self, lines: Lines, data: bytes) -> list[Message]:
        before = lines.dropped
        found = lines.feed(data) if data else lines.finish()
        if lines.dropped != before:
            self.dropped += lines.dropped - before
            self.last_fault = lines.last_fault
        return found


class PipeCommunicator(Communicator):
    """Two pipes that the task inherits: its own descriptors, so stdout and stderr stay the program's."""

    def __init__(self, party: Party = Party.EXECUTOR, channel: str = "") -> None:
        """`channel`: for the task's side, ``pipe:WRITE,READ``."""
        super().__init__(party)
        self._channel = channel
        self._read = self._write = -1
        self._theirs: tuple[int, ...] = ()
        self._is_at_end = True
        self._lines = Lines()

    @property
    def description(self) -> str:
        return "two inherited pipes, JSON lines"

    @property
    def address(self) -> str:
        return "pipe:{},{}".format(*self._theirs)

    @property
    def inherited(self) -> tuple[int, ...]:
        return self._theirs

    def stage_communicator(self) -> None:
        self._lines = Lines()
        self._is_at_end = False
        if self.party is Party.TASK:
            kind, _, numbers = self._channel.partition(":")
            if kind != "pipe":
                raise ConfigError(f"channel {self._channel!r}: pipe:WRITE,READ is expected")
            self._write, self._read = (int(number) for number in numbers.split(","))
        else:
            self._read, theirs_write = os.pipe2(os.O_CLOEXEC)
            theirs_read, self._write = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._write, False)
            self._theirs = (theirs_write, theirs_read)
        os.set_blocking(self._read, False)

    def release(self) -> None:
        for descriptor in self._theirs:
            os.close(descriptor)
        self._theirs = ()

    def readers(self) -> list[int]:
        return [] if self._is_at_end else [self._read]

    def read(self, reader: int) -> list[Message]:
        try:
            data = os.read(reader, READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            # Closed later: a keeper that was forked has a copy, so to close it would not end an epoll's interest in it.
            self._is_at_end = True
        found = self._take(self._lines, data)
        return found if self.party is Party.TASK else self._heard_from(0, found)

    def is_finished(self) -> bool:
        return self._is_at_end

    def write(self, message: Message) -> None:
        self._write_line(self._write, encode(self._asker(message)[1]))

    def clear_communicator(self) -> None:
        self._asked, self._unread = {}, {}
        self.release()
        for descriptor in (self._read, self._write):
            if descriptor >= 0:
                os.close(descriptor)
        self._read = self._write = -1
        self._is_at_end = True


class SocketCommunicator(Communicator):
    """A Unix socket in a folder of its own (0700): many processes of a task at once, each in step by itself.

    Only processes of the same user get in, which the kernel tells (SO_PEERCRED, unix(7)).
    """

    def __init__(self, party: Party = Party.EXECUTOR, channel: str = "") -> None:
        """`channel`: for the task's side, ``unix:PATH``."""
        super().__init__(party)
        self._path = channel.removeprefix("unix:")
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._listener: socket.socket | None = None
        self._peers: dict[int, tuple[socket.socket, Lines]] = {}

    @property
    def description(self) -> str:
        return "Unix socket with the peer's credentials, JSON lines"

    @property
    def address(self) -> str:
        return f"unix:{self._path}"

    def stage_communicator(self) -> None:
        if self.party is Party.TASK:
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            peer.connect(self._path)
            self._admit(peer)
            return
        self._folder = tempfile.TemporaryDirectory(prefix="blockyard-")
        self._path = str(Path(self._folder.name) / "channel")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self._path)
        os.chmod(self._path, 0o600)
        self._listener.listen(128)
        self._listener.setblocking(False)  # noqa: FBT003 - that is its signature

    def readers(self) -> list[int]:
        listening = [self._listener.fileno()] if self._listener is not None else []
        return [*listening, *self._peers]

    def read(self, reader: int) -> list[Message]:
        if self._listener is not None and reader == self._listener.fileno():
            self._accept()
            return []
        if reader not in self._peers:
            return []
        peer, lines = self._peers[reader]
        try:
            data = peer.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except ConnectionError:
            data = b""
        found = self._take(lines, data)
        if self.party is Party.EXECUTOR:
            found = self._heard_from(reader, found)
        if not data:
            self._forget(reader)
            self._unread.pop(reader, None)
            del self._peers[reader]
            peer.close()
        return found

    def is_finished(self) -> bool:
        self._accept()
        return not self._peers

    def write(self, message: Message) -> None:
        """To who asked, if it is an answer; to all otherwise."""
        asker, message = self._asker(message)
        if not self._peers:
            raise ChannelClosed("no process of the task is connected")
        line = encode(message)
        for peer in [one for one in self._peers if asker in (None, one)]:
            self._write_line(peer, line)

    def clear_communicator(self) -> None:
        for peer, _ in self._peers.values():
            peer.close()
        self._peers = {}
        self._asked, self._unread = {}, {}
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _accept(self) -> None:
        if self._listener is None:
            return
        with contextlib.suppress(BlockingIOError):
            while True:
                peer, _ = self._listener.accept()
                raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                _, user, _ = _CREDENTIALS.unpack(raw)
                if user != os.geteuid():
                    peer.close()
                    self.dropped += 1
                    self.last_fault = f"a process of user {user} was refused"
                    continue
                self._admit(peer)

    def _admit(self, peer: socket.socket) -> None:
        peer.setblocking(False)  # noqa: FBT003
        self._peers[peer.fileno()] = (peer, Lines())
