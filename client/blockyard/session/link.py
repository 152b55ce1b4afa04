"""The thread that owns a client's socket.

Other threads put things into its mailbox and wake it at most once until it has looked (one wake-up in flight); it
takes all of them together, so that a loop of single submissions travels in batches. Results are handed over a batch
at a time too.
"""

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from blockyard import nearness
from blockyard.errors import BadFrame
from blockyard.ids import NUMBER_BITS
from blockyard.session.core import Answers, SessionCore, Standing
from blockyard.session.renewal import Renewal
from blockyard.session.silence import SILENT_SECONDS, Silence
from blockyard.transport import Context, Dealer, KeyPair, Poller
from blockyard.wire.records import Body, Function, Group, Need, TaskSpec

_log = logging.getLogger(__name__)

_FRAMES_A_TURN = 64
_MAX_GROUP_TASKS = 4096
_MAX_SUBMIT_BYTES = 4 * 1024 * 1024


class LinkSettings(NamedTuple):
    """Where the interchange is and how to prove who we are."""

    endpoint: str
    server_key: bytes
    keys: KeyPair
    nonce: Path | None = None
    """File in the blob folder that proves nearness."""
    renew: "Callable[[], LinkSettings] | None" = None
    """Asks again with what keys, as they may have been replaced. May take its time, and raise what it wants."""


class Submission(NamedTuple):
    """Tasks handed over for submission: of one spec, with consecutive numbers from `first`."""

    first: int
    spec: TaskSpec
    function: Function
    bodies: list[Body]
    needs: dict[int, list[int]] = {}
    """Place of a body to the tasks that it needs."""
    keys: list[str] = []
    given: Callable[[], list[Need]] | None = None
    """Results of needed tasks that were collected meanwhile; asked for at the moment of sending."""
    memos: list[list[bytes]] = []
    """Empty, or for each body what its result is cached by, see `Group`."""


class PutValue(NamedTuple):
    """A value handed over; it has its place between the submissions, because later ones may need it."""

    first: int
    body: Body


class Link:
    """One connection. `on_answers` runs in the link's thread, with all that one turn brought."""

    def __init__(
        self,
        settings: LinkSettings,
        core: SessionCore,
        on_answers: Callable[[Answers], list[int]],
        on_broken: Callable[[Exception], None],
    ) -> None:
        self._settings = settings
        self._core = core
        self._base = core.session << NUMBER_BITS
        self._on_answers = on_answers
        self._on_broken = on_broken
        self._submissions: deque[Submission | PutValue] = deque()
        self._orders: deque[Callable[[SessionCore], list[bytes]]] = deque()
        self._unsent: deque[bytes] = deque()
        """Frames that the socket did not take yet."""
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Closed when nobody can wake the thread any more, not when it ends: the number might be another file's by then.
        # At the interpreter's exit the thread is still at work.
        weakref.finalize(self, os.close, self._wake_fd).atexit = False
        self._awake = False
        self._stopping = False
        self._linger = 0.0
        self._context = Context(max_sockets=16)
        self._thread = threading.Thread(target=self._run, name="blockyard-link", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_own_thread(self) -> bool:
        """Whether the caller is the link's thread, which must never wait for itself."""
        return threading.current_thread() is self._thread

    def is_heard(self, patience: float) -> bool:
        """Whether the thread runs and the interchange has said something within so many seconds."""
        return self._thread.is_alive() and time.monotonic() - self._core.heard_at < patience

    def submit(self, submission: Submission | PutValue) -> None:
        """Hand over tasks; calls must come in the order of their numbers."""
        self._submissions.append(submission)
        if not self._awake:
            self.wake()

    def order(self, order: Callable[[SessionCore], list[bytes]]) -> None:
        """Have something done with the core in the link's thread; it returns frames to send."""
        self._orders.append(order)
        self.wake()

    def wake(self) -> None:
        """Make the thread look into its mailbox."""
        if not self._awake:
            self._awake = True
            os.eventfd_write(self._wake_fd, 1)

    def stop(self, *, linger: float) -> None:
        """Let the thread end after what was handed over has been sent, or after `linger` seconds."""
        self._linger = linger
        self._stopping = True
        self._awake = False
        self.wake()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end."""
        if not self.is_own_thread:
            self._thread.join(timeout)

    def _near(self) -> bytes:
        return nearness.read(self._settings.nonce)

    def _run(self) -> None:
        settings = self._settings
        try:
            dealer = Dealer(self._context, settings.endpoint, server_key=settings.server_key, keys=settings.keys)
            try:
                self._serve(dealer)
            finally:
                dealer.close(self._linger)
        except Exception as error:  # noqa: BLE001 - the rim of this thread: nobody above it, and every future hangs on it
            _log.exception("the link to the interchange failed")
            self._on_broken(error)
        finally:
            self._context.close()

    def _serve(self, dealer: Dealer) -> None:
        core, poller = self._core, Poller()
        poller.register(dealer)
        poller.register(self._wake_fd)
        self._unsent.append(core.hello(self._near(), time.monotonic()))
        deadline = None
        renewal, silence = Renewal(self._settings, time.monotonic()), Silence()
        while True:
            soon = self._unsent or core.owes_credit
            ready = poller.poll(0.01 if soon else core.heartbeat / 4)
            now = time.monotonic()
            if self._wake_fd in ready:
                os.eventfd_read(self._wake_fd)
            self._awake = False
            answers = self._read(dealer, now) if dealer in ready else None
            if (renewed := renewal.look(core.heard_at, now)) is not None:
                dealer.redial(renewed.server_key, renewed.keys)
            if (large := core.on_its_way(now)) is not None and (large.comes or now - core.heard_at < SILENT_SECONDS):
                words = silence.look_behind(large, now)
            else:
                words = silence.look(core.heard_at, now) if core.heard_at else ""
            if words:
                _log.warning("%s", words)
            self._empty_mailbox()
            for frame in core.on_time(self._near, now):
                self._unsent.append(frame)
            if core.standing is Standing.OPEN:
                self._unsent.extend(core.credit(now))
            self._write(dealer)
            if answers is not None:
                # Last, right before waiting: who is woken by this wants the interpreter, and gets it at once then.
                core.collect(self._on_answers(answers))
            if core.refusal is not None and core.standing is Standing.REFUSED:
                self._on_broken(ConnectionRefusedError(core.refusal.message))
                return
            if self._stopping:
                deadline = deadline or now + self._linger
                if now >= deadline or not (self._unsent or self._submissions or self._orders or core.unaccepted):
                    return

    def _read(self, dealer: Dealer, now: float) -> Answers:
        frames = dealer.receive_all(_FRAMES_A_TURN)
        answers = Answers()
        try:
            send = self._core.receive(frames, answers, now)
        except BadFrame as error:
            raise BadFrame(f"{error}; client and interchange differ in version") from error
        self._unsent.extend(send)
        return answers

    def _empty_mailbox(self) -> None:
        """Turn what other threads handed over into frames, if the session is open; else it stays where it is."""
        core = self._core
        if core.standing is not Standing.OPEN:
            return
        pending = self._submissions
        while pending:
            head = pending[0]
            if isinstance(head, PutValue):
                self._unsent.append(core.put(head.first, head.body))
                pending.popleft()
                continue
            groups: list[Group] = []
            size = 0
            first = head.first
            last: Submission | None = None
            while pending and size < _MAX_SUBMIT_BYTES:
                one = pending[0]
                if isinstance(one, PutValue):
                    break
                pending.popleft()
                if last is None or one.function is not last.function:
                    self._unsent.extend(core.register([one.function]))
                size += _add(groups, one, last)
                last = one
            end = groups[-1].first + len(groups[-1].bodies)
            self._unsent.append(core.submit(groups, range(self._base | first, self._base | end)))
        # After the submissions, because an order may be about one of them.
        while self._orders:
            self._unsent.extend(self._orders.popleft()(core))

    def _write(self, dealer: Dealer) -> None:
        unsent = self._unsent
        while unsent and dealer.send(unsent[0], self._announce):
            unsent.popleft()

    def _announce(self, follows: int) -> bytes:
        return self._core.announce(follows, time.monotonic())


def _add(groups: list[Group], one: Submission, last: Submission | None) -> int:
    """Add a submission to the last group if it continues it, else as a group of its own; returns its bytes."""
    bodies = one.bodies
    plain = not one.needs and not one.keys
    if plain and last is not None and last.spec is one.spec and not last.needs and not last.keys:
        group = groups[-1]
        follows = group.first + len(group.bodies) == one.first and bool(one.memos) == bool(last.memos)
        if len(group.bodies) < _MAX_GROUP_TASKS and follows:
            group.bodies.extend(bodies)
            group.memos.extend(one.memos)
            return sum(map(_body_size, bodies))
    needs = [one.needs.get(place, []) for place in range(len(bodies))] if one.needs else []
    given = one.given() if one.given is not None else []
    groups.append(Group(one.spec, one.first, list(bodies), needs, one.keys, given, list(one.memos)))
    return sum(map(_body_size, bodies))


def _body_size(body: Body) -> int:
    return len(body) if type(body) is bytes else 100


__all__ = ["Link", "LinkSettings", "Submission"]
