"""A manager's life: wait, hand events to the core, carry out effects. The clock and all descriptors are here."""

import logging
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from blockyard.errors import BadFrame
from blockyard.transport import AdaptivePoller, Dealer, Poller
from blockyard.wire import codec
from blockyard.wire.manager import Shown, Told
from blockyard.wire.records import Failure, Outcome, Printed
from blockyard_worker import strays
from blockyard_worker.births import Born, Broken, Spawn
from blockyard_worker.core import accelerators
from blockyard_worker.core import effects as do
from blockyard_worker.core.manager import Manager
from blockyard_worker.core.reports import Ended, WorkerConfused
from blockyard_worker.exits import ExitCode
from blockyard_worker.pipe import FrameError
from blockyard_worker.records import Exit, FromWorker, Load, Note, Now, Obeyed, Place, Ready, Results, Run, Unfit
from blockyard_worker.settings import Settings
from blockyard_worker.shell import memory
from blockyard_worker.shell.child import Child
from blockyard_worker.shell.line import RETRY_SECONDS, Line
from blockyard_worker.shell.memory_watch import MemoryWatch
from blockyard_worker.shell.nursery import Nursery, share_of_cores
from blockyard_worker.shell.output import Outputs
from blockyard_worker.shell.server_key import ServerKey
from blockyard_worker.shell.trees import Trees, monotonic_to_boot, reaped
from blockyard_worker.worker import interrupts

if TYPE_CHECKING:
    from blockyard_worker.shell.report import Report

log = logging.getLogger(__name__)

EVIDENCE_BYTES = 4096
"""Of a task's output in a failure."""
MOST_SHOWN_TRIES = 10
"""Of one task, the newest, when somebody asks what it printed."""
MOST_FRAMES = 64
"""Read from the interchange in one round."""


class Seen(Mapping[int, Now | None]):
    """What each worker does, read from its page when asked for."""

    def __init__(self, children: Mapping[int, Child]) -> None:
        self._children = children

    def __getitem__(self, number: int) -> Now | None:
        return self._children[number].now()

    def __iter__(self) -> Iterator[int]:
        return iter(self._children)

    def __len__(self) -> int:
        return len(self._children)


class Loop:
    """The shell around one `Manager`."""

    def __init__(
        self,
        core: Manager,
        settings: Settings,
        dealer: Dealer,
        nursery: Nursery,
        trees: Trees,
        server_key: ServerKey,
    ) -> None:
        self._core = core
        self._settings = settings
        self._dealer = dealer
        self._line = Line(dealer, server_key, self._announce)
        self._nursery = nursery
        self._trees = trees
        self._outputs = Outputs(settings.output_bytes, settings.output_tasks)
        self._children: dict[int, Child] = {}
        self._pids: dict[int, int] = {}
        self._seen = Seen(self._children)
        self._statuses: dict[int, tuple[int, int]] = {}
        """And peaks, of children that ended before it was known what they were; only while workers are being born."""
        self._place = Place("", 1 << 62)
        self._supervisor = -1
        self._exit: do.Exit | None = None
        self._memory = MemoryWatch(settings, core)
        self._events = select.epoll()
        self._by_descriptor: dict[int, tuple[Child, bool]] = {}
        self._poller = Poller()
        self._adaptive = AdaptivePoller(self._poller)
        self._report: Report | None = None

    def report_by(self, report: "Report") -> None:
        """Tell by it what tries use; call it before `run`."""
        self._report = report
        self._core.state.uses_told = report.uses_told
        self._outputs.on_first = report.on_printed
        report.watch(self._children)

    def run(self, wakeup: int, supervisor: int | None = None) -> do.Exit:
        """Live until the core says `Exit`, or until `supervisor`, a pidfd, shows that this one is gone.

        `wakeup`: readable when a signal came, see `signal.set_wakeup_fd`.
        """
        if supervisor is not None:
            self._events.register(supervisor, select.EPOLLIN)
            self._supervisor = supervisor
        self._poller.register(self._dealer)
        self._poller.register(self._events.fileno())
        self._events.register(wakeup, select.EPOLLIN)
        self._events.register(self._nursery.descriptor, select.EPOLLIN)
        while self._exit is None:
            self._core.tick(time.monotonic(), self._seen, self._memory.too_big)
            self._carry_out()
            if self._exit is None:
                ready = self._adaptive.poll(self._patience(), self._is_alone)
                if self._events.fileno() in ready:
                    self._hear_workers(wakeup)
                if self._dealer in ready:
                    self._hear_interchange()
                self._watch_memory()
                self._tell_printed()
        return self._exit

    def _is_alone(self) -> bool:
        return len(self._core.state.held) <= 1

    # --- events

    def _patience(self) -> float:
        now = time.monotonic()
        due = min(self._core.next_tick(now, self._seen), self._memory.due, self._line.due(now))
        for child in self._children.values():
            if child.backlog and not child.send_more():
                due = min(due, now + RETRY_SECONDS)
        if self._report is not None:
            due = min(due, self._report.due)
        return max(0.0, due - now)

    def _hear_interchange(self) -> None:
        for frame in self._dealer.receive_all(MOST_FRAMES):
            try:
                message = codec.to_manager.decode(frame)
            except BadFrame as error:
                log.error("ignored a frame of the interchange: %s", error, extra={"action": "bad_frame"})
                continue
            self._core.on_message(message, time.monotonic(), self._seen)

    def _hear_workers(self, wakeup: int) -> None:
        for descriptor, _ in self._events.poll(0):
            if descriptor == self._supervisor:
                self._exit = do.Exit(ExitCode.ORPHAN, "the supervisor is gone")
            elif descriptor == wakeup:
                self._on_signals(os.read(wakeup, 4096))
            elif descriptor == self._nursery.descriptor:
                self._hear_nursery()
            elif (found := self._by_descriptor.get(descriptor)) is not None:
                child, is_output = found
                if is_output:
                    child.output.read(child.now)
                else:
                    self._hear(child)

    def _hear(self, child: Child, *, to_end: bool = False) -> None:
        try:
            self._hear_all(child, child.receive(to_end=to_end))
        except (WorkerConfused, msgspec.MsgspecError, FrameError) as error:
            log.error("worker %d is ended: %s", child.number, error, extra={"action": "worker_confused"})
            if child.pid in self._pids:
                strays.kill(child.pid)

    def _hear_all(self, child: Child, everything: list[FromWorker]) -> None:
        for said in everything:
            match said:
                case Results(outcomes, idle, uses):
                    if uses and self._report is not None:
                        self._report.on_uses(child, uses)
                    for index, outcome in enumerate(outcomes):
                        if outcome.failure is not None:
                            outcomes[index] = self._with_output(child, outcome, outcome.failure)
                    self._core.on_results(child.number, outcomes, idle, time.monotonic())
                case Note(records, way):
                    if self._report is not None:
                        self._core.state.told += self._report.on_note(records, way)
                case Obeyed(number, count):
                    self._core.on_obeyed(number, count)
                case Ready(pid):
                    self._nursery.forget(child.number)
                    self._on_born(child, pid)  # in case that who should have said so was killed
                    self._core.on_ready(child.number)
                case Unfit(message):
                    log.error("worker %d: %s", child.number, message, extra={"action": "worker_unfit"})
                    self._core.on_unfit(message, time.monotonic())

    def _with_output(self, child: Child, outcome: Outcome, failure: Failure) -> Outcome:
        """Put the end of what the try printed into its failure, as evidence."""
        child.output.read(child.now)
        tail = self._outputs.tail(outcome.task, outcome.epoch, EVIDENCE_BYTES)
        return replace(outcome, failure=replace(failure, evidence=tail)) if tail else outcome

    def _hear_nursery(self) -> None:
        before = self._nursery.pid
        for said in self._nursery.receive():
            match said:
                case Born(number, pid):
                    if (child := self._children.get(number)) is not None:  # else it said so itself, and has died
                        self._on_born(child, pid)
                case Broken(message):
                    self._on_broken(message)
        if not self._nursery.is_waiting():
            self._statuses.clear()
        if self._nursery.pid != before:
            self._events.register(self._nursery.descriptor, select.EPOLLIN)

    def _on_born(self, child: Child, pid: int) -> None:
        if child.pid is not None:
            return
        child.pid = pid
        self._pids[pid] = child.number
        if pid in self._statuses:
            del self._pids[pid]
            self._on_ended(child, *self._statuses.pop(pid))

    def _on_broken(self, message: str) -> None:
        log.error("no workers can be started: %s", message, extra={"action": "template_broken"})
        self._core.on_broken(message, time.monotonic())

    def _on_signals(self, numbers: bytes) -> None:
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._core.on_terminate(time.monotonic())
        if signal.SIGCHLD in numbers:
            self._reap()

    def _reap(self) -> None:
        for pid, status, peak_bytes in reaped():
            number = self._pids.pop(pid, None)
            if number is not None:
                self._on_ended(self._children[number], status, peak_bytes)
            elif self._nursery.owns(pid):
                if message := self._nursery.on_exit(pid, status):
                    self._on_broken(message)
            elif self._nursery.is_waiting():
                self._statuses[pid] = status, peak_bytes

    def _on_ended(self, child: Child, status: int, peak_bytes: int) -> None:
        self._hear(child, to_end=True)
        last = child.now()
        child.output.finish(last)
        self._trees.end(child, self._known(), signal.SIGKILL)
        code = os.waitstatus_to_exitcode(status)
        how = f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        log.info("worker %d (pid %s) ended: %s", child.number, child.pid, how, extra={"action": "worker_ended"})
        peak_bytes = max(peak_bytes, child.peak_bytes)  # that of the tree, when it was looked at, may be more
        evidence = [f"memory of its worker, in all its life: at most {peak_bytes >> 20}Mi"]
        if last is not None and (tail := self._outputs.tail(last.task, last.epoch, EVIDENCE_BYTES)):
            evidence.append(f"output:\n{tail}")
        killed = self._memory.was_oom_killed(code)
        limit = memory.cgroup_limit() if killed else 0
        ended = Ended(how, "\n".join(evidence), killed, peak_bytes, limit)
        self._drop(child)
        self._core.on_ended(child.number, ended, last, time.monotonic())

    def _drop(self, child: Child) -> None:
        for descriptor in (child.link.fileno(), child.output.descriptor):
            self._events.unregister(descriptor)
            del self._by_descriptor[descriptor]
        del self._children[child.number]
        child.close()

    def _known(self) -> list[int]:
        """This manager's own children, which are nobody's strays."""
        return [self._nursery.pid, *self._pids]

    def _tell_printed(self) -> None:
        """Of tries that go on; those that end have outcomes that take it along."""
        if self._report is not None and time.monotonic() >= self._report.due:
            self._core.state.told += self._report.uses_told()

    def _watch_memory(self) -> None:
        now = time.monotonic()
        if now >= self._memory.at:
            self._core.state.output_dropped_bytes = self._outputs.dropped_bytes
            self._memory.look(self._children, self._seen, now)

    # --- effects

    def _carry_out(self) -> None:
        while todo := self._core.take_effects():
            stolen = False
            for effect in todo:
                self._perform(effect)
                stolen |= type(effect) is do.Steal
            if stolen and self._exit is None:
                self._core.tick(time.monotonic(), self._seen, self._memory.too_big)
        self._send()

    def _perform(self, effect: do.Effect) -> None:
        match effect:
            case do.Tell(message):
                self._line.say(message)
            case do.StartWorker(number, place):
                self._start(number, place)
            case do.SetPlace(blobs, blob_threshold):
                self._place = Place(blobs, blob_threshold)
                for child in self._children.values():
                    child.send(self._place)
            case do.ShowOutput(number, task):
                self._show(number, task)
            case do.ResetLink():
                self._line.forget()
            case do.Exit():
                self._exit = effect
            case _:
                self._perform_on(self._children[effect.worker], effect)

    def _perform_on(self, child: Child, effect: do.OnWorker) -> None:
        match effect:
            case do.Feed():
                self._feed(child, effect)
            case do.Steal(number, most):
                self._core.on_stolen(number, child.tokens.take(most))
            case do.Flush():
                self._signal(child, interrupts.FLUSH)
            case do.Interrupt(_, task, epoch):
                child.page.aim(task, epoch)
                self._signal(child, interrupts.CANCEL)
            case do.HoldPrograms(_, order):
                child.page.write_order(order.number, order.task, order.epoch, held=order.held)
                self._signal(child, interrupts.HOLD)
            case do.EndTree(_, kill):
                self._trees.end(child, self._known(), signal.SIGKILL if kill else signal.SIGTERM)
            case do.EndChildren(_, since):
                self._trees.end_younger(child, self._known(), since + monotonic_to_boot())
            case do.RetireWorker():
                child.send(Exit())

    def _feed(self, child: Child, feed: do.Feed) -> None:
        child.tokens.add(sum(len(group.tries) for group in feed.groups))
        if feed.functions or feed.dropped:
            child.send(Load(feed.functions, feed.dropped))
        child.send(Run(feed.number, feed.groups, feed.environment))

    def _start(self, number: int, place: int) -> None:
        child = Child(number, self._outputs)
        for descriptor, is_output in ((child.link.fileno(), False), (child.output.descriptor, True)):
            self._by_descriptor[descriptor] = (child, is_output)
            self._events.register(descriptor, select.EPOLLIN)
        child.send(self._place)
        policy = self._core.state.policy
        cores = share_of_cores(place, policy.capacity.workers) if self._settings.pin_cores else []
        own = accelerators.own(policy, place)
        child.accelerators = ",".join(map(str, own))
        self._children[number] = child
        environment = accelerators.environment(policy, own)
        self._nursery.ask(Spawn(number, child.nonce, cores, environment), child.descriptors)

    def _show(self, number: int, task: int) -> None:
        for child in self._children.values():
            child.output.read(child.now)
        tries = [Printed(epoch, text) for epoch, text in sorted(self._outputs.of_task(task).items())]
        self._line.say(Shown(number, tries[-MOST_SHOWN_TRIES:]))

    def _signal(self, child: Child, number: int) -> None:
        if child.pid is not None:
            strays.kill(child.pid, number)

    def _send(self) -> None:
        if self._report is not None and self._core.state.is_joined and (packets := self._report.passing()):
            self._line.say(Told(packets))
        self._line.send()

    def _announce(self, follows: int) -> bytes:
        return codec.encode(self._core.announce(follows, time.monotonic(), self._seen))

    def say_goodbye(self, patience: float) -> None:
        """Send what is left, for at most `patience` seconds."""
        deadline = time.monotonic() + patience
        while self._line.has_unsent and time.monotonic() < deadline:
            self._send()
            time.sleep(RETRY_SECONDS)
