"""MPI over the managers of a wide task: the first part runs mpirun, each of the others one of mpirun's daemons.

Every part of a wide task runs the same function, so each comes to the same `MPIExecutor` and asks `parts.place` which
one it is. The interchange gave each the address of the first part and a secret of this try; keys and ports follow from
that (`parts.Meeting`). The others connect to the first, say how many ranks they take, and wait. mpirun calls `agent`
for each node in the place of ssh; what it asks for goes to the part that it is for, which runs it as a managed task of
its own. So whatever a rank starts is below a keeper on its own node, and ends with its part: no sshd, nothing left.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from blockyard.errors import BlockyardError
from blockyard.managed import agent
from blockyard.managed.agent import AGENT_VARIABLE, SCRATCH_VARIABLE
from blockyard.managed.communicators import ChannelClosed, Communicator, PipeCommunicator
from blockyard.managed.course import Exit, Policy
from blockyard.managed.curve import Listening
from blockyard.managed.executor import BaseExecutor, Command
from blockyard.managed.frames import Message
from blockyard.managed.parts import Asked, Meeting, ToLeader, ToMember
from blockyard.managed.records import AnalysisConfig
from blockyard.managed.shim.blockyard_shim import Link
from blockyard.managed.states import TaskStatus
from blockyard.wire.records import Part

GATHER_SECONDS: Final = 120.0
"""How long the parts wait for one another: each starts as its manager comes to it."""
GONE: Final = 127
"""In the place of an exit code."""
_AGAIN_SECONDS: Final = 0.2
_WELCOME_SECONDS: Final = 5.0
"""That who listens on a port has at first to show that it is the first part; each time twice as long."""
_FAREWELL_SECONDS: Final = 5.0
_BYTES: Final = 1 << 20


class NobodyCame(BlockyardError):
    """The parts of a wide task have not found one another in time."""


class NotNeeded(BlockyardError):
    """The first part has ended before it needed this one."""


def _wait(descriptors: Iterable[int], seconds: float) -> list[int]:
    """Which of them can be read within so long."""
    poll = select.poll()
    for one in descriptors:
        poll.register(one, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(int(1000 * seconds) + 1)]


class _Agent:
    """One that mpirun has started."""

    def __init__(self, socket_: socket.socket) -> None:
        self.socket = socket_
        self.said = b""
        self.part = -1

    def answer(self, code: int) -> None:
        """How its daemon has ended. It ends then, too, and closes its side."""
        with contextlib.suppress(OSError):  # mpirun has ended it already
            self.socket.sendall(f"{code}\n".encode())


class Leading(Communicator):
    """The first part's side. It carries no messages of the task: the executor's loop only drives it."""

    def __init__(self, where: Part, host: str) -> None:
        """`host`: the IPv4 address at which the others reach this one."""
        super().__init__()
        self._place, self._host = where, host
        self._meeting = Meeting.of(where.secret)
        self.directory = ""
        """Where the ranks are to work."""
        self.hosts = where.hosts
        self._stack = contextlib.ExitStack()
        self._listening: Listening | None = None
        self._path = self._scratch = ""
        self._agents: dict[int, _Agent] = {}
        """By descriptor; each waits for the end of a daemon."""
        self._peers: dict[int, bytes] = {}
        """Parts whose daemon has not ended, and their connections."""
        self.ranks = {0: where.ranks}
        """By part, as far as they have come."""

    @property
    def description(self) -> str:
        return "TCP with CURVE, between the parts of a wide task"

    @property
    def address(self) -> str:
        """Of the socket for agents."""
        return self._path

    @property
    def variables(self) -> dict[str, str]:
        return {AGENT_VARIABLE: self._path, SCRATCH_VARIABLE: self._scratch}

    def stage_communicator(self) -> None:
        with contextlib.ExitStack() as stack:
            known = self._meeting
            listening = Listening(self._host, ours=known.leader, task=known.member, ports=known.ports)
            self._listening = stack.enter_context(contextlib.closing(listening))
            self._scratch = stack.enter_context(_scratch())
            self._path = os.path.join(stack.enter_context(tempfile.TemporaryDirectory(prefix="blockyard-")), "agents")
            self._socket = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            self._socket.bind(self._path)
            self._socket.listen(128)
            self._stack = stack.pop_all()

    def gather(self, seconds: float = GATHER_SECONDS) -> None:
        """Wait until all parts are there. Raises NobodyCame."""
        deadline = time.monotonic() + seconds
        while len(self.ranks) < self._place.count:
            left = deadline - time.monotonic()
            if left <= 0:
                missing = sorted({*range(self._place.count)} - self.ranks.keys())
                raise NobodyCame(
                    f"MPI over {self._place.count} managers: within {seconds:g} s no word of parts {missing}; do all "
                    f"reach {self._host} at ports {self._meeting.ports}?"
                )
            for reader in _wait(self.readers(), left):
                self.read(reader)

    def lost(self) -> list[int]:
        """Parts that are gone without a word of how their daemon ended: not it failed, but what it ran on.

        Has the others end theirs, and waits for their word.
        """
        for part in self._peers:
            self._tell(part, ToMember("end"))
        deadline = time.monotonic() + _FAREWELL_SECONDS
        gone: set[int] = set()
        while (waiting := self._peers.keys() - gone) and (left := deadline - time.monotonic()) > 0:
            for reader in _wait(self.readers(), min(left, _AGAIN_SECONDS)):
                self.read(reader)
            gone |= {part for part in waiting & self._peers.keys() if not self._reaches(part)}
        return sorted(gone & self._peers.keys())

    def _reaches(self, part: int) -> bool:
        return self._listening is not None and self._listening.reaches(self._peers[part])

    def readers(self) -> list[int]:
        if self._listening is None:
            return []
        return [*self._listening.descriptors, self._socket.fileno(), *self._agents]

    def read(self, reader: int) -> list[Message]:
        if self._listening is None:
            return []
        if reader == self._socket.fileno():
            new = _Agent(self._socket.accept()[0])
            self._agents[new.socket.fileno()] = new
        elif reader in self._agents:
            self._from_agent(reader)
        else:
            self._listening.answer_handshakes()
            for peer, frame in self._listening.frames():
                self._from_member(peer, msgspec.json.decode(frame, type=ToLeader))
        return []

    def _from_agent(self, reader: int) -> None:
        one = self._agents[reader]
        try:
            data = one.socket.recv(_BYTES)
        except ConnectionResetError:  # it was ended before it read what it was answered
            data = b""
        one.said += data
        if not data:  # mpirun has ended it
            self._agents.pop(reader).socket.close()
            self._tell(one.part, ToMember("end"))
        elif one.said.endswith(b"\n"):
            asked = msgspec.json.decode(one.said, type=Asked)
            one.part = asked.part
            if asked.part in self._peers:
                self._tell(asked.part, ToMember("start", asked.words, self.directory))
            else:
                one.answer(GONE)

    def _from_member(self, peer: bytes, said: ToLeader) -> None:
        if said.code is None:
            self._peers[said.part] = peer
            self.ranks[said.part] = said.ranks
            self._tell(said.part, ToMember("welcome"))
            return
        self._peers.pop(said.part, None)
        for one in self._agents.values():
            if one.part == said.part:
                one.answer(said.code)

    def _tell(self, part: int, what: ToMember) -> None:
        if self._listening is not None and part in self._peers:
            self._listening.send(self._peers[part], msgspec.json.encode(what) + b"\n")

    def is_finished(self) -> bool:
        return True

    def write(self, message: Message) -> None:
        raise ChannelClosed("what a task is told goes over its own channel")

    def clear_communicator(self) -> None:
        if self._listening is None:
            return
        for part in self._peers:
            self._tell(part, ToMember("end"))
        deadline = time.monotonic() + _FAREWELL_SECONDS
        while self._peers and self._listening.connections.are_open() and (left := deadline - time.monotonic()) > 0:
            _wait([self._listening.connections.socket.fileno()], min(left, _AGAIN_SECONDS))
        for one in self._agents.values():
            one.socket.close()
        self._stack.close()
        self._listening = None
        self._agents, self._peers, self.ranks = {}, {}, {0: self._place.ranks}


class _Following(Communicator):
    """Another part's side, driven by the loop of its `Daemon`."""

    def __init__(self, where: Part, host: str) -> None:
        super().__init__()
        self._place, self._host = where, host
        self._meeting = Meeting.of(where.secret)
        self._link: Link | None = None
        self.on_end: Callable[[], None] = lambda: None
        """The first part wants its daemon ended."""

    @property
    def description(self) -> str:
        return "TCP with CURVE, between the parts of a wide task"

    @property
    def address(self) -> str:
        return self._host

    def stage_communicator(self) -> None:
        return  # what is to be opened is only known once the first part is there

    def order(self, seconds: float = GATHER_SECONDS) -> ToMember:
        """Find the first part and wait for what shall be started. Raises NobodyCame, and NotNeeded."""
        deadline = time.monotonic() + seconds
        ports = itertools.cycle(self._meeting.ports)
        is_welcome, next_at, patience = False, 0.0, _WELCOME_SECONDS
        while is_welcome or time.monotonic() < deadline:
            if not is_welcome and time.monotonic() >= next_at:
                self._knock(ports)
                if self._link is None:
                    time.sleep(_AGAIN_SECONDS)
                    continue
                next_at = time.monotonic() + patience
                patience *= 2  # where all is slow, it needs only wait
            assert self._link is not None
            _wait([self._link.fileno()], _AGAIN_SECONDS)
            for order in _orders(self._link.poll()):
                match order.what:
                    case "welcome":
                        is_welcome = True
                    case "start":
                        return order
                    case _:
                        raise NotNeeded("the first part has ended")
        raise NobodyCame(
            f"MPI, part {self._place.index}: within {seconds:g} s no word of the first part by {self._host}, ports "
            f"{self._meeting.ports}"
        )

    def _knock(self, ports: Iterator[int]) -> None:
        """Connect to the next port on which somebody listens, if there is any: who it is, its key will show."""
        self.clear_communicator()
        for port in itertools.islice(ports, len(self._meeting.ports)):
            with contextlib.suppress(OSError):  # nobody yet
                socket.create_connection((self._host, port), _AGAIN_SECONDS).close()
                self._link = Link(f"tcp://{self._host}:{port}", self._meeting.key)
                self._link.send(msgspec.json.encode(ToLeader(self._place.index, self._place.ranks)))
                return

    def tell_end(self, code: int) -> None:
        """The daemon has ended."""
        link, self._link = self._link, None
        if link is not None:
            link.send(msgspec.json.encode(ToLeader(self._place.index, code=code)))
            link.end()

    def readers(self) -> list[int]:
        return [self._link.fileno()] if self._link is not None else []

    def read(self, reader: int) -> list[Message]:
        if self._link is not None and any(order.what == "end" for order in _orders(self._link.poll())):
            self.on_end()
        return []

    def is_finished(self) -> bool:
        return True

    def write(self, message: Message) -> None:
        raise ChannelClosed("what a task is told goes over its own channel")

    def clear_communicator(self) -> None:
        if self._link is not None:
            self._link.end(0.0)
            self._link = None


class Daemon(BaseExecutor):
    """Runs what the first part wants on this one, and leaves it to the first to say how that went."""

    def __init__(self, task: str, where: Part, host: str, *, grace: float, directory: str) -> None:
        """`host`: the first part's. `directory`: of this part's own; '' when it was told none."""
        self._following = _Following(where, host)
        self._following.on_end = lambda: self.cancel("the first part has ended it")
        self._words: list[str] = []
        super().__init__(task, [PipeCommunicator, self._following], policy=Policy(grace=grace), directory=directory)

    def _prepare_places(self, stack: contextlib.ExitStack) -> None:
        super()._prepare_places(stack)
        self.update_environment(agent.apart(stack.enter_context(_scratch())))
        self._stack = stack

    def pre_task(self) -> None:
        order = self._following.order()
        self._words = order.words
        if self._directory:
            self._stack.enter_context(standing_in(self.directory, order.directory))
        super().pre_task()

    def submit_cmd(self) -> Command:
        return Command(tuple(self._words))

    def finalize_task(self) -> None:
        if self.course.reason == NobodyCame.__name__:
            return
        ended = self.course.exit or Exit(code=GONE)
        self._following.tell_end(128 + ended.signal if ended.signal is not None else ended.code or 0)
        self.course = msgspec.structs.replace(
            self.course, status=TaskStatus.COMPLETED, verdict=TaskStatus.COMPLETED, reason="", message=""
        )

    def _store(self, record: AnalysisConfig) -> None:
        return  # the first part's is that of the task


@contextlib.contextmanager
def standing_in(own: str, theirs: str) -> Iterator[None]:
    """Have the ranks of this part find its own directory where the first part's is, when that is not here.

    A step of a workflow works in a folder that was made for it, on each node another. Raises OSError.
    """
    if os.path.lexists(theirs):
        yield
        return
    os.symlink(own, theirs)
    try:
        yield
    finally:
        os.unlink(theirs)


def _scratch() -> tempfile.TemporaryDirectory[str]:
    shared = "/dev/shm"
    return tempfile.TemporaryDirectory(
        prefix="blockyard-mpi-", dir=shared if os.access(shared, os.W_OK) else None, ignore_cleanup_errors=True
    )


def _orders(data: bytes) -> list[ToMember]:
    return [msgspec.json.decode(line, type=ToMember) for line in data.splitlines()]
