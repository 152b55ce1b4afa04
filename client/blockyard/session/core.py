"""What a client remembers of its talk with the interchange, and what follows from each message. Pure.

The link's promise rests here: a submission is kept until `Accepted`, an order or question until its answer, a cancel
until the task's outcome; after a reconnect all of these are sent again, and the interchange knows repeats by number.
"""

import enum
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from blockyard.wire import client as wire
from blockyard.wire import codec
from blockyard.wire.patience import client_seconds_for
from blockyard.wire.records import Body, Function, Group, Outcome

_CREDIT_FRAMES = 8
_CREDIT_SECONDS = 0.01
_HELLO_SECONDS = 0.25
"""Until hello is said again when nobody answers; doubles, because each answer makes us say again all that is open."""
_MOST_HELLO_SECONDS = 2.0


class Standing(enum.Enum):
    """Of the session with the interchange."""

    GREETING = "greeting"
    """`Hello` is to be said, or was said and is not answered."""
    OPEN = "open"
    REFUSED = "refused"
    """For good; `SessionCore.refusal` says why."""


class Answers(msgspec.Struct):
    """What a batch of messages means for the client's other threads."""

    outcomes: list[Outcome] = []
    started: list[int] = []
    replies: list[wire.Reply] = []
    refused: list[tuple[list[int], wire.Refused]] = []
    """(identifiers of the tasks of a refused submission, the refusal)."""
    refused_questions: list[wire.Refused] = []
    attached: list[wire.Attached] = []
    welcome: wire.Welcome | None = None
    taken_over: str = ""
    credit: wire.Credit | None = None


class Large(NamedTuple):
    """A large frame: its bytes, when it was announced, and whether it comes or goes."""

    size_bytes: int
    since: float
    comes: bool


class SessionCore:
    """State of one session. Methods return the frames to send now, oldest first."""

    def __init__(self, hello: wire.Hello) -> None:
        self.standing = Standing.GREETING
        self.refusal: wire.Refused | None = None
        self.heartbeat = 1.0
        self._hello = hello
        self._functions: dict[bytes, Function] = {}
        self._registered: set[bytes] = set()
        self._submissions: dict[int, tuple[bytes, range]] = {}
        """Number to (frame, tasks), until accepted."""
        self._number = 0
        self._questions: dict[int, bytes] = {}
        self._watches: dict[int, bytes] = {}
        """Questions that are answered again and again."""
        self._cancelled: set[int] = set()
        self._frames = 0
        """Outcome frames to be credited back."""
        self._collected: list[int] = []
        self._credit_at = 0.0
        self.heard_at = 0.0
        self._patient_until = 0.0
        """Until then a large frame may be on its way, with silence behind it."""
        self._large: Large | None = None
        """One that is on its way: submitted and not accepted, or announced and not here."""
        self._said_at = 0.0
        self._hellos = 0
        """Said since the last welcome."""
        self._confirmed = 0
        """Number of the last submission that was accepted."""
        self._refused: set[int] = set()
        """Numbers of refused submissions; the interchange may refuse them again after a reconnect."""
        self._was_owner = False

    def hello(self, near: bytes, now: float) -> bytes:
        """The frame that opens the session on a new connection."""
        self.standing = Standing.GREETING
        self._said_at = now
        self._hellos += 1
        return codec.encode(msgspec.structs.replace(self._hello, near=near))

    @property
    def session(self) -> int:
        """The upper half of its tasks' identifiers."""
        return self._hello.session

    def on_its_way(self, now: float) -> "Large | None":
        """The large frame that one waits for, if any."""
        large = self._large
        if large is None or now >= self._patient_until or not (large.comes or self._submissions):
            return None
        return large

    @property
    def owes_credit(self) -> bool:
        """Whether `credit` has something to say."""
        return bool(self._frames or self._collected)

    @property
    def unaccepted(self) -> int:
        """Submissions that the interchange has not confirmed."""
        return len(self._submissions)

    def register(self, functions: Iterable[Function]) -> list[bytes]:
        """Make functions known, once."""
        fresh = [function for function in functions if function.id not in self._registered]
        if not fresh:
            return []
        for function in fresh:
            self._functions[function.id] = function
            self._registered.add(function.id)
        return [codec.encode(wire.Register(fresh))]

    def submit(self, groups: list[Group], tasks: range) -> bytes:
        """Number a submission and keep it until it is accepted."""
        self._number += 1
        frame = codec.encode(wire.Submit(self._number, groups))
        self._submissions[self._number] = (frame, tasks)
        return frame

    def put(self, task: int, body: Body) -> bytes:
        """Number a value and keep it until it is accepted, like a submission."""
        self._number += 1
        frame = codec.encode(wire.Put(self._number, task, body))
        self._submissions[self._number] = (frame, range(0))
        return frame

    def ask(self, number: int, question: msgspec.Raw, *, watch: bool) -> bytes:
        """Keep a question until it is answered; a watch for ever."""
        frame = codec.encode(wire.Ask(number, question))
        (self._watches if watch else self._questions)[number] = frame
        return frame

    def forget(self, number: int) -> list[bytes]:
        """Do not ask again after a reconnect."""
        self._questions.pop(number, None)
        self._watches.pop(number, None)
        return []

    def reattach(self, number: int, run: str = "") -> bytes:
        """Ask for the run's tasks, or for those of a hosted run; now and after each reconnect."""
        frame = self._watches[number] = codec.encode(wire.Reattach(number, run))
        return frame

    def cancel(self, tasks: list[int]) -> bytes:
        """Order tasks to end; remembered until their outcomes come."""
        self._cancelled.update(tasks)
        return codec.encode(wire.Cancel(tasks))

    def cancel_waiting(self, tasks: list[int]) -> bytes:
        """Order those tasks to end that no manager was given yet; said once."""
        return codec.encode(wire.Cancel(tasks, waiting_only=True))

    def collect(self, tasks: list[int]) -> list[bytes]:
        """Note results that are no longer needed; they go with the next credit."""
        self._collected += tasks
        return []

    def credit(self, now: float, *, at_once: bool = False) -> list[bytes]:
        """What was received and collected, as one message: when it has become much or old, or `at_once`.

        The interchange does nothing with it that anybody waits for, so it is not worth waking it each time.
        """
        is_owed = bool(self._frames or self._collected)
        if is_owed and not at_once and self._frames < _CREDIT_FRAMES and now < self._credit_at:
            return []
        self._credit_at = now + _CREDIT_SECONDS
        if not is_owed:
            return []
        frame = codec.encode(wire.Collect(self._frames, self._collected))
        self._frames, self._collected = 0, []
        return [frame]

    def receive(self, frames: Iterable[bytes], answers: Answers, now: float) -> list[bytes]:
        """Take in frames; what they mean for others goes to `answers`."""
        send: list[bytes] = []
        for frame in frames:
            self.heard_at = now
            message = codec.to_client.decode(frame)
            if type(message) is not wire.Pong:
                self._large = None
            send += self._on_message(message, answers, now)
        return send

    def _on_message(  # noqa: C901 - one flat case for each kind of message
        self, message: wire.ToClient, answers: Answers, now: float
    ) -> list[bytes]:
        match message:
            case wire.Outcomes():
                self._frames += 1
                answers.outcomes += message.outcomes
                if message.accepted:
                    self._confirm(message.accepted)
                if self._cancelled:
                    self._cancelled.difference_update(outcome.task for outcome in message.outcomes)
            case wire.Accepted():
                self._confirm(message.number)
            case wire.Welcome():
                return self._on_welcome(message, answers)
            case wire.Refused():
                self._on_refused(message, answers)
            case wire.WhoAreYou():
                # Each frame that was on its way when the interchange was restarted brings one; one hello answers all.
                if self.standing is Standing.OPEN:
                    self.standing = Standing.GREETING
                    self._hellos = 0
            case wire.Reply():
                self._questions.pop(message.number, None)
                answers.replies.append(message)
            case wire.Attached():
                answers.attached.append(message)
            case wire.Started():
                answers.started += message.tasks
            case wire.TakenOver():
                answers.taken_over = message.message
            case wire.Credit():
                answers.credit = message
            case wire.Pong(follows):
                self._patient_until = max(self._patient_until, now + client_seconds_for(follows))
                self._large = Large(follows, now, comes=True) if follows else self._large
        return []

    def _on_welcome(self, message: wire.Welcome, answers: Answers) -> list[bytes]:
        """Send again what the interchange has not confirmed, in the order in which it was sent first."""
        if message.accepted < self._confirmed:
            self._give_up(message)
            return []
        self.standing = Standing.OPEN
        self.heartbeat = message.heartbeat
        self._frames = self._hellos = 0
        # A run that was taken over once must not be taken back by a reconnect.
        self._hello = msgspec.structs.replace(self._hello, take_over=False)
        if self._was_owner and not message.owner:
            answers.taken_over = f"run {message.run!r} has another owner since this client was away"
        self._was_owner = message.owner
        answers.welcome = message
        self._confirm(message.accepted)
        send = [codec.encode(wire.Register(list(self._functions.values())))] if self._functions else []
        send += [frame for frame, _ in self._submissions.values()]
        send += [*self._questions.values(), *self._watches.values()]
        if self._cancelled:
            send.append(codec.encode(wire.Cancel(sorted(self._cancelled))))
        return send

    def _confirm(self, accepted: int) -> None:
        """The journal holds all submissions up to this number, but for those that were refused before."""
        self._confirmed = max(self._confirmed, accepted)
        for number in [number for number in self._submissions if number <= accepted]:
            del self._submissions[number]

    def _give_up(self, welcome: wire.Welcome) -> None:
        """The interchange does not know what it once accepted: no future of this session would ever end."""
        sentence = (
            f"the interchange knows submissions up to {welcome.accepted} of this client, {self._confirmed} were "
            "accepted: it gave the client up while it was away, or lost its journal; connect anew"
        )
        self.standing, self.refusal = Standing.REFUSED, wire.Refused(0, "session", sentence)

    def _on_refused(self, message: wire.Refused, answers: Answers) -> None:
        if message.number in self._submissions:
            _, tasks = self._submissions.pop(message.number)
            self._refused.add(message.number)
            self._cancelled.difference_update(tasks)
            answers.refused.append((list(tasks), message))
        elif message.number in self._refused:
            pass  # said again after a reconnect
        elif message.number:
            self._questions.pop(message.number, None)
            answers.refused_questions.append(message)
        else:
            self.standing, self.refusal = Standing.REFUSED, message

    def announce(self, follows: int, now: float) -> bytes:
        """The frame to send before a large one of so many bytes."""
        self._patient_until = max(self._patient_until, now) + client_seconds_for(follows)
        self._large = self._large or Large(follows, now, comes=False)
        return codec.encode(wire.Ping(follows))

    def on_time(self, near: Callable[[], bytes], now: float) -> list[bytes]:
        """Say hello again when nobody answers, or that we are still here.

        `near` reads what proves nearness; it is asked with each greeting, and not otherwise.
        """
        if self.standing is Standing.GREETING:
            patience = min(_MOST_HELLO_SECONDS, _HELLO_SECONDS * 2.0 ** (self._hellos - 1)) if self._hellos else 0.0
            return [self.hello(near(), now)] if now - self._said_at >= patience else []
        if now - self.heard_at > 3 * self.heartbeat and now >= self._patient_until:
            return [self.hello(near(), now)]
        if now - self._said_at >= self.heartbeat:
            self._said_at = now
            return [codec.encode(wire.Ping())]
        return []
