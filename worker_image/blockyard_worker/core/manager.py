"""The door to the core: every event comes in here, and what is to be done about it goes out as a list of effects.

After each event the same three things are looked at: are there workers to start or to replace, is there work to give
out, and is somebody idle while others have too much. So no event needs to know what follows from it elsewhere.
"""

from blockyard.wire.manager import Heartbeat, ToManager
from blockyard.wire.records import Outcome, Status
from blockyard_worker.core import balance, ending, holding, link, outcomes, reports
from blockyard_worker.core.effects import Effect
from blockyard_worker.core.ending import Seen
from blockyard_worker.core.feeding import feed, written
from blockyard_worker.core.reports import Ended
from blockyard_worker.core.state import Policy, State, new_state
from blockyard_worker.core.tries import Try
from blockyard_worker.core.workers import Order, Worker
from blockyard_worker.records import Now


class Manager:
    """What one manager decides. `now` is monotonic seconds throughout."""

    def __init__(self, policy: Policy) -> None:
        self.state: State = new_state(policy)

    def on_message(self, message: ToManager, now: float, seen: Seen) -> None:
        """The interchange said something."""
        link.on_message(self.state, message, now, seen)

    def on_ready(self, number: int) -> None:
        """A worker is warm."""
        reports.on_ready(self.state, self.state.workers[number])

    def on_unfit(self, message: str, now: float) -> None:
        """A worker could not be set up and will end."""
        reports.on_unfit(self.state, message, now)

    def on_broken(self, message: str, now: float) -> None:
        """No worker can be started at all."""
        link.leave_unfit(self.state, message, now)

    def on_results(self, number: int, reported: list[Outcome], idle: int, now: float) -> None:
        """A worker reports, in order; `idle`: the last frame it saw, when it dropped what was taken back from it."""
        reports.on_results(self.state, self.state.workers[number], reported, idle, now)

    def on_stolen(self, number: int, count: int) -> None:
        """So many tokens could be taken from a worker, see `Steal`."""
        balance.on_stolen(self.state, self.state.workers[number], count)

    def on_obeyed(self, number: int, count: int) -> None:
        """A worker carried out the order of this number, see `HoldPrograms`, on so many managed tasks."""
        holding.on_obeyed(self.state, number, count)

    def on_ended(self, number: int, ended: Ended, last: Now | None, now: float) -> None:
        """A worker process is gone."""
        reports.on_ended(self.state, self.state.workers[number], ended, last, now)

    def on_out_of_memory(self, number: int, peak_bytes: int, limit_bytes: int, now: float, seen: Seen) -> None:
        """A worker and its children use more memory than the try that runs there may."""
        attempt = self._running(number, seen)
        if attempt is not None:
            message = (
                f"used {written(peak_bytes + 2**20 - 1)} of memory, {written(limit_bytes)} are allowed; "
                "ask for more with options(memory=…) or, of a workflow's step, with resources; or use less"
            )
            order = Order(Status.OUT_OF_MEMORY, message, 0.0, peak_bytes, limit_bytes)
            ending.stop(self.state, attempt, order, now, seen)

    def on_terminate(self, now: float) -> None:
        """SIGTERM: drain within the time that the settings give."""
        link.drain(self.state, self.state.policy.drain_grace, "terminated", now)

    def memory_limit(self, number: int, seen: Seen) -> int:
        """Bytes that the try running on a worker asked for; 0 when it asked for none, or none runs."""
        attempt = self._running(number, seen)
        return attempt.kind.memory_bytes if attempt is not None else 0

    def tick(self, now: float, seen: Seen, too_big: frozenset[int] = frozenset()) -> None:
        """After each round of events, and when `next_tick` has come."""
        state = self.state
        for worker in state.workers.values():
            if worker.endings or worker.shortest_timeout:
                look = seen.get(worker.number)
                ending.look_for_timeouts(state, worker, look, now, seen)
                ending.advance(state, worker, look, now)
            if worker.watch_at is not None and worker.watch_at <= now:
                balance.on_watch(state, worker, seen.get(worker.number), now)
        if state.holds:
            holding.tick(state, now, seen)
        link.tick(state, now, seen)
        reports.retire_worn_out(state, too_big, now)
        reports.keep_staffed(state, now)
        if state.ready:
            feed(state, now)
        if not state.ready:
            balance.balance(state)
        outcomes.flush(state, now)

    def announce(self, follows: int, now: float, seen: Seen) -> Heartbeat:
        """What is to be sent before a large frame of so many bytes."""
        return link.announce(self.state, follows, now, seen)

    def next_tick(self, now: float, seen: Seen) -> float:
        """When `tick` is needed at the latest, if nothing happens before."""
        state = self.state
        due = link.next_tick(state, now)
        if state.is_joined:
            due = min(due, outcomes.wake_at(state))
        if state.holds:
            due = min(due, state.hold_at)
        if state.start_at > now:
            due = min(due, state.start_at)
        for worker in state.workers.values():
            if worker.watch_at is not None:
                due = min(due, worker.watch_at)
            if worker.retire_by is not None:
                due = min(due, worker.retire_by)
            if worker.endings or worker.shortest_timeout:
                look = ending.next_timeout(state, worker, seen.get(worker.number), now)
                due = due if look is None else min(due, look)
        return due

    def take_effects(self) -> list[Effect]:
        """What is to be done, in order; empty afterwards."""
        taken, self.state.effects = self.state.effects, []
        return taken

    def _running(self, number: int, seen: Seen) -> Try | None:
        worker: Worker | None = self.state.workers.get(number)
        look = seen.get(number)
        if worker is None or look is None or not look.running:
            return None
        attempt = self.state.held.get(look.task)
        return attempt if attempt is not None and attempt.worker == number else None
