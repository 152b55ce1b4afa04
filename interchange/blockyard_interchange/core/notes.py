"""What the interchange tells the hub: how tasks and their tries fare, who comes and goes; kept until the hub stored it.

There is a `Notes` only while monitoring is on, so that it costs one comparison a task when it is off. The facts of a
turn become one packet, which is journaled with the entries that it tells of: whatever ended for a client ends in the
history, too, whoever is killed in between. Packets travel to the hub in order, as far as its credit goes, and when it
comes back again from the first that it has not confirmed.

All times of a try are told together when it ends. A try that goes on for longer than a heartbeat is told as running.
"""

import math
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from blockyard import pace
from blockyard.ids import NUMBER_BITS, TaskId
from blockyard.wire import codec, hub
from blockyard.wire import monitoring as said
from blockyard.wire.control import BlockReport, Say
from blockyard.wire.monitoring import MAX_NAME, TryState, clipped, micros
from blockyard.wire.records import Failure, Group, Outcome, Status
from blockyard_interchange.core.entries import Noted, NotesConfirmed

if TYPE_CHECKING:
    from blockyard_interchange.core.effects import Effects
    from blockyard_interchange.core.pools import Manager
    from blockyard_interchange.core.state import Order, Session, State, Task

_PACE: Final = pace.Limits(least=0.005, most=1.0, crowd=6)
"""Of frames to the hub, counted in packets and tries, of which a task that ends alone makes no crowd. Each frame wakes
the hub, all of its sinks and those who follow, whose code is gone from the caches by then."""
_OVER_SECONDS: Final = 0.1
"""A crowd of which nothing came for so long is over, and the last of it goes."""
_FRAME_BYTES: Final = 256 * 1024
_WINDOW_BYTES: Final = 8 * 1024 * 1024
"""Sent and not confirmed; the rest waits here."""
_MOST_PASSING_BYTES: Final = 2 * 1024 * 1024
"""Of packets that nobody keeps, while there is no hub, or it is slow; the oldest go then."""
_MOST_TRIES: Final = 4096
"""In one record."""
_MOST_EDGES: Final = 4096
_MOST_NEEDS: Final = 1 << 16
"""That are told of one task."""
_OVERHEAD_BYTES: Final = 32
"""What a packet costs in the journal besides its own bytes, roughly."""

_STATES: Final = tuple(TryState(int(status)) for status in Status)
"""By status: their values are 0, 1, 2, …, and a place in a tuple is found sooner than an enum's member in a mapping."""


class Notes:
    """What was not told yet, and what was not confirmed yet."""

    __slots__ = (
        "_assigned", "_assigned_us", "_block_us", "_manager", "_order", "_pace", "_submitted_us", "_tries", "_untold",
        "confirmed", "dropped", "due_at", "is_lasting", "kept", "kept_at", "kept_bytes", "most_bytes", "number",
        "offset", "others", "own", "passing", "passing_bytes", "peer", "queued", "records", "said", "sent", "sent_at",
        "sent_bytes", "source",
    )  # fmt: skip

    def __init__(self, opening: int, offset: float, most_bytes: int) -> None:
        self.source = f"interchange:{opening}"
        self.offset = offset
        """UTC less the monotonic clock."""
        self.most_bytes = most_bytes
        self.number = self.own = 0
        """Of the last packet, which goes on across openings of the journal; and of the last that we made ourselves in
        this opening, by which gaps are seen."""
        self.records: list[said.AnyRecord] = []
        """Of this turn."""
        self.others: list[hub.Told] = []
        """Packets of managers that came in this turn and are to be kept in the same way."""
        self.passing: deque[hub.Told] = deque()
        """The same, but nobody keeps them; they wait for a hub as long as they are not too many."""
        self.passing_bytes = self.said = 0
        """Of them; and how many packets there were of what clients say."""
        self.dropped = 0
        """Packets that were too many, or too large."""
        self.is_lasting = False
        """Something of this turn belongs into the journal."""
        self.kept: deque[tuple[int, hub.Told]] = deque()
        """Unconfirmed packets with their numbers, oldest first."""
        self.kept_bytes = self.confirmed = 0
        self.peer = b""
        """The hub; b'' while there is none."""
        self.sent = 0
        """Number of the last packet that this hub was sent."""
        self.sent_bytes = 0
        """Sent and not confirmed."""
        self.sent_at = self.kept_at = -math.inf
        """When something was sent last, and when there was something to tell last."""
        self.due_at = math.inf
        """When what is unsent shall go, if it is not much before."""
        self.queued: dict[TaskId, float] = {}
        """Since when tasks that were assigned have been queued, where that was not at their submission."""
        self._pace = pace.Pace(_PACE)
        self._order: Order | None = None
        self._manager: Manager | None = None
        self._tries: list[said.Try] = []
        self._submitted_us = self._untold = self._block_us = 0
        """Of the tries' submission; how many there were since the last frame; instant of a block's last state."""
        self._assigned, self._assigned_us = -1.0, 0

    @property
    def is_full(self) -> bool:
        """So much is unconfirmed that nothing more should be let in."""
        return self.kept_bytes > self.most_bytes

    def us(self, now: float) -> int:
        """An instant of the monotonic clock as microseconds UTC."""
        return micros(now + self.offset)

    def _append(self, record: said.AnyRecord) -> None:
        self.records.append(record)
        self.is_lasting = True

    # --- tasks and tries

    def on_submitted(self, session: "Session", group: Group, order: "Order", parent: int) -> None:
        """Tasks were taken in, as one group; those with a name of their own are told one by one."""
        spec, function = group.spec, order.entry.function
        first = session.id << NUMBER_BITS | group.first
        texts = [clipped(text, MAX_NAME) for text in (session.run.name, spec.pool, function.name)]
        tags = [clipped(tag, MAX_NAME) for tag in spec.tags[:64]]
        tasks = range(first, first + len(group.bodies))
        stretches = [(task, 1) for task in tasks] if first in session.names else [(first, len(tasks))]
        self.records += [
            said.Tasks(
                task, count, session.id, texts[0], texts[1], texts[2], function.id[:64], micros(order.at),
                clipped(spec.name or session.names.get(task, ""), MAX_NAME), tags, spec.priority, spec.retries,
                micros(spec.timeout), parent,
            )
            for task, count in stretches
        ]  # fmt: skip
        self.is_lasting |= not order.volatile
        if group.needs:
            self.records += _edges(first, group.needs)

    def on_assigned_late(self, task: "Task") -> None:
        """A task is assigned that waited in the queue since another moment than its submission."""
        self.queued[task.id] = task.since

    def on_end(self, task: "Task", outcome: Outcome, now: float, *, is_try: bool) -> None:
        """A task ended; `is_try`: by a try that ended, and not while it waited."""
        failure = outcome.failure
        kind = ""
        if failure is not None:
            kind = failure.types[0] if failure.types else outcome.status.name.lower()
        self._note(task, (_STATES[outcome.status], True, is_try), outcome.seconds, now, kind, failure)

    def on_try(
        self, task: "Task", state: TryState, seconds: float, now: float, failure: Failure | None = None, kind: str = ""
    ) -> None:
        """A try ended, or goes on, and its task has not ended. `kind`: why, if its failure does not say it."""
        if not kind and failure is not None and failure.types:
            kind = failure.types[0]
        self._note(task, (state, False, True), seconds, now, kind, failure)

    def _note(
        self, task: "Task", what: tuple[TryState, bool, bool], seconds: float, now: float, kind: str,
        failure: Failure | None,
    ) -> None:  # fmt: skip
        """`what`: the state, whether it is the task's last, whether it is a try at all."""
        state, is_last, is_try = what
        order, manager = task.order, task.manager
        is_full = len(self._tries) >= _MOST_TRIES
        if order is not self._order or manager is not self._manager or is_full or order.session.names:
            self._open(task, now)
        queued = self.queued.pop(task.id, 0.0) if self.queued else 0.0
        since = task.since if is_try else 0.0
        if since != self._assigned:
            self._assigned, self._assigned_us = since, self.us(since) if since else 0
        queued_us = self.us(queued) if queued else self._submitted_us
        epoch = task.epoch if is_try else 0
        if failure is None:
            one = said.Try(task.id, epoch, state, is_last, queued_us, self._assigned_us, micros(seconds), kind)
        else:
            one = said.Try(
                task.id, epoch, state, is_last, queued_us, self._assigned_us, micros(seconds), clipped(kind, MAX_NAME),
                clipped(failure.message), clipped(failure.evidence),
            )  # fmt: skip
        self._tries.append(one)
        self._untold += 1

    def _open(self, task: "Task", now: float) -> None:
        """Begin a record for tries of one submission that one manager ran: those of this task."""
        order, manager = task.order, task.manager
        self._order, self._manager, self._tries = order, manager, []
        self._submitted_us = micros(order.at)
        session, pool = order.session, order.pool
        at = (pool.name, manager.id, manager.block, manager.node) if manager is not None else (pool.name, "", "", "")
        names = [clipped(name, MAX_NAME) for name in at]
        first = task.id if session.names else session.id << NUMBER_BITS | order.first
        self.records.append(said.Tries(first, names[0], names[1], names[2], names[3], self.us(now), self._tries))
        self.is_lasting |= not order.volatile

    def on_packets(self, manager: "Manager", packets: list[bytes]) -> None:
        """Packets that came with outcomes: to be kept like our own."""
        for packet in packets:
            if len(packet) <= said.MAX_PACKET_BYTES:
                self.others.append(hub.Told(packet, manager.pool.name))
            else:
                self.dropped += 1
        self.is_lasting |= manager.pool.settings.durability != "memory"

    def on_passing(self, manager: "Manager", packets: list[bytes]) -> None:
        """Packets that nobody keeps."""
        for packet in packets:
            if len(packet) <= said.MAX_PACKET_BYTES:
                self._pass(hub.Told(packet, manager.pool.name))
            else:
                self.dropped += 1

    def _pass(self, told: hub.Told) -> None:
        self.passing.append(told)
        self.passing_bytes += _size(told)
        while self.passing_bytes > _MOST_PASSING_BYTES:
            self.passing_bytes -= _size(self.passing.popleft())
            self.dropped += 1

    def on_said(self, session: "Session", say: Say, now: float) -> None:
        """The program of a client says something, which may be missed."""
        self.said += 1
        event = said.Event(say.at_us, say.name, clipped(session.run.name, MAX_NAME), say.text)
        packet = said.Packet(said.VERSION, f"clients of {self.source}", self.said, self.us(now), [event])
        self._pass(hub.Told(codec.encode(packet)))

    # --- who comes and goes

    def on_session(self, session: "Session", began: float = 0.0, ended: float = 0.0) -> None:
        """A client's session opened, or ended."""
        texts = [clipped(text, MAX_NAME) for text in (session.run.name, session.user, session.name, session.python)]
        self._append(
            said.Run(
                session.id, texts[0], texts[1], texts[2], texts[3],
                self.us(began) if began else 0, self.us(ended) if ended else 0,
            )
        )  # fmt: skip

    def on_manager(self, manager: "Manager", state: str, reason: str, now: float) -> None:
        """A manager joined or is gone."""
        at = (manager.id, manager.pool.name, manager.block, manager.node)
        names = [clipped(name, MAX_NAME) for name in at]
        self._append(
            said.Node(
                names[0], names[1], names[2], names[3], self.us(now), state, clipped(reason),
                clipped(manager.python, MAX_NAME), manager.workers, manager.cores, max(0, manager.memory_bytes),
                max(0, manager.accelerators), max(0, manager.pid),
            )
        )  # fmt: skip

    def on_blocks(self, pool: str, reports: Iterable[BlockReport], now: float) -> None:
        """The keeper of a pool's blocks reported these."""
        for one in reports:
            # States of a block may come in one turn, and are rows by their instants: so each has one of its own.
            self._block_us = max(self._block_us + 1, self.us(now))
            self._append(
                said.Block(
                    clipped(pool, MAX_NAME), clipped(one.block, MAX_NAME), self._block_us, clipped(one.state, MAX_NAME),
                    clipped(one.reason, MAX_NAME), clipped(one.message), one.exit_code, one.signal,
                    micros(one.started_at), micros(one.ended_at), clipped(one.node, MAX_NAME),
                )
            )  # fmt: skip

    # --- the way to the hub

    def restore(self, number: int, told: hub.Told) -> None:
        """From the journal, in whatever order."""
        self.number = max(self.number, number)
        if number > self.confirmed:
            self.kept.append((number, told))

    def restore_confirmed(self, number: int) -> None:
        """From the journal."""
        self.number = max(self.number, number)
        self.confirmed = max(self.confirmed, number)

    def settle(self) -> None:
        """All was restored: put it into order, once each, without what was confirmed."""
        kept = {number: told for number, told in self.kept if number > self.confirmed}
        self.kept = deque(sorted(kept.items(), key=lambda one: one[0]))
        self.kept_bytes = sum(map(_size, kept.values()))

    def gather(self, effects: "Effects", now: float) -> None:
        """Make what this turn was told into packets, and give the hub what is due."""
        if self.records:
            self.own += 1
            packet = said.Packet(said.VERSION, self.source, self.own, self.us(now), self.records)
            self._keep(effects, hub.Told(codec.encode(packet)), now)
            self.records, self._order, self._manager = [], None, None
        for other in self.others:
            self._keep(effects, other, now)
        self.others.clear()
        self.is_lasting = False
        if self.passing:
            self._pass_on(effects)
        if self.peer and (now >= self.due_at or self.kept_bytes - self.sent_bytes > _FRAME_BYTES):
            self._pace.went(self.number - self.sent + self._untold)
            self._untold = 0
            self.sent_at = now
            self._send(effects)

    def _keep(self, effects: "Effects", told: hub.Told, now: float) -> None:
        self.number += 1
        self.kept.append((self.number, told))
        self.kept_bytes += _size(told)
        if self.is_lasting:
            effects.entries.append(Noted(self.number, told))
        if now - self.kept_at > _OVER_SECONDS:
            self._pace.went(0)
        self.kept_at = now
        if self.due_at > now:
            self.due_at = max(now, min(self.sent_at + self._pace.seconds, now + _OVER_SECONDS))

    def _send(self, effects: "Effects") -> None:
        last, size = self.sent, 0
        packets: list[hub.Told] = []
        for number, told in self._unsent():
            if self.sent_bytes >= _WINDOW_BYTES:
                break
            if packets and (size + len(told.packet) > _FRAME_BYTES or number != last + 1):
                effects.after_hub.append((self.peer, hub.Notes(last, packets)))
                size, packets = 0, []
            packets.append(told)
            size += len(told.packet)
            self.sent_bytes += _size(told)
            last = number
        if packets:
            effects.after_hub.append((self.peer, hub.Notes(last, packets)))
        self.sent = last
        self.due_at = math.inf

    def _pass_on(self, effects: "Effects") -> None:
        if self.peer and self.sent_bytes < _WINDOW_BYTES:
            effects.after_hub.append((self.peer, hub.Relayed(list(self.passing))))
            self.passing.clear()
            self.passing_bytes = 0

    def _unsent(self) -> "Iterable[tuple[int, hub.Told]]":
        start = len(self.kept)
        while start and self.kept[start - 1][0] > self.sent:
            start -= 1
        return (self.kept[place] for place in range(start, len(self.kept)))


def from_hub(state: "State", notes: Notes, peer: bytes, message: hub.Follow | hub.Confirm, now: float) -> None:
    """One message of the hub."""
    match message:
        case hub.Follow(version) if version != said.VERSION:
            sentence = f"the hub speaks version {version} of monitoring, the interchange {said.VERSION}"
            state.effects.after_hub.append((peer, hub.Refused(sentence)))
        case hub.Follow():
            notes.peer, notes.sent, notes.sent_bytes, notes.due_at = peer, notes.confirmed, 0, now
        case hub.Confirm() if peer != notes.peer:
            state.effects.after_hub.append((peer, hub.WhoAreYou()))
        case hub.Confirm(number):
            _confirm(state, notes, number, now)


def _confirm(state: "State", notes: Notes, number: int, now: float) -> None:
    number = min(number, notes.sent)  # it can't have what it was not sent
    if number <= notes.confirmed:
        return
    notes.confirmed = number
    while notes.kept and notes.kept[0][0] <= number:
        size = _size(notes.kept.popleft()[1])
        notes.kept_bytes -= size
        notes.sent_bytes -= size
    state.effects.entries.append(NotesConfirmed(number))
    if notes.due_at == math.inf and notes.kept and notes.kept[-1][0] > notes.sent:
        notes.due_at = now  # there was no room for it


def _size(told: hub.Told) -> int:
    return len(told.packet) + _OVERHEAD_BYTES


def _edges(first: int, needs: list[list[int]]) -> list[said.AnyRecord]:
    """What tasks of one group wait for, in records of bounded size."""
    found: list[said.AnyRecord] = []
    start, edges = 0, 0
    for place, one in enumerate(needs):
        edges += len(one)
        if edges >= _MOST_EDGES or place - start + 1 >= _MOST_EDGES or place == len(needs) - 1:
            part = [sorted(set(own))[:_MOST_NEEDS] for own in needs[start : place + 1]]
            found.append(said.Needs(first + start, part))
            start, edges = place + 1, 0
    return found
