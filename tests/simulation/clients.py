"""A client's process: the real session core, a link's loop around it, and a user who asks for all sorts of things."""

from dataclasses import dataclass, field

import msgspec

from blockyard.ids import NUMBER_BITS, TaskId, task_name
from blockyard.session.core import Answers, SessionCore, Standing
from blockyard.wire import client as wire
from blockyard.wire import codec
from blockyard.wire.records import PROTOCOL_VERSION, Body, Group, Need, Outcome, Status, TaskSpec
from tests.simulation import plans
from tests.simulation.ledger import Ledger, Wrong
from tests.simulation.network import Link, Network
from tests.simulation.plans import Plan
from tests.simulation.world import Node, World


@dataclass(eq=False)
class Call:
    """A call and its future."""

    task: int
    spec: TaskSpec
    plan: Plan
    needs: list["Call"] = field(default_factory=list)
    key: str = ""
    memo: bytes = b""
    """What its result is cached by."""
    may_be_cancelled: bool = False
    outcome: Outcome | None = None
    """How its future ended, for who submitted it."""
    refused: bool = False
    broken: str = ""

    @property
    def is_done(self) -> bool:
        """The future has ended, in whatever way."""
        return self.outcome is not None or self.refused or bool(self.broken)

    def allowed(self) -> set[Status]:
        """How the task may end."""
        spec, plan = self.spec, self.plan
        found = {Status.DONE}
        if plans.can_fail(plan, spec.retries) or (plan.failures and spec.retry_on):
            found.add(Status.RAISED)
        if plan.joins and any(plans.can_fail(child, spec.retries) for child in plan.children):
            found.add(Status.DEPENDENCY)
        if not spec.idempotent:
            found.add(Status.LOST)
            if plan.joins:
                found.add(Status.DEPENDENCY)
        if self.may_be_cancelled:
            found.add(Status.CANCELLED)
            if plan.failures:
                found.add(Status.RAISED)
        if spec.deadline:
            found.add(Status.DEADLINE)
        if spec.timeout:
            found.add(Status.TIMEOUT)
        if any(need.refused or need.allowed() != plans.GOOD for need in self.needs):
            found.add(Status.DEPENDENCY)
        return found

    def check(self, outcome: Outcome) -> None:
        """Whether it may end so."""
        name = task_name(TaskId(self.task))
        if outcome.status not in self.allowed():
            raise Wrong(f"task {name} ended as {outcome.status.name} ({outcome.failure}), allowed: {self.allowed()}")
        if outcome.status is Status.DONE:
            wanted = plans.expected(self.plan, [self._value(need) for need in self.needs])
            if outcome.body != wanted:
                raise Wrong(f"task {name} has result {outcome.body!r}, expected {wanted!r}")

    @staticmethod
    def _value(need: "Call") -> Body:
        return plans.expected(need.plan, [Call._value(one) for one in need.needs])


class Client(Node):
    """The process."""

    def __init__(
        self, world: World, network: Network, ledger: Ledger, calls: dict[int, Call], name: str, *,
        run: str = "", keep: bool = False, successor: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(world, name)
        self.ledger = ledger
        self.calls = calls
        self.keep = keep
        self.session = world.random.randint(1, 2**31 - 1)
        self.run = run
        self.futures: dict[int, Call] = {}
        """Not ended."""
        self.mine: list[Call] = []
        self.next = 0
        self.submitting = True
        self.left = False
        self.broken = ""
        self.is_welcome = False
        self._orders: list[list[int]] = []
        self._submissions: list[tuple[list[Group], list[Call]]] = []
        self._reattached = not successor
        token = self.session.to_bytes(16, "big")
        hello = wire.Hello(
            PROTOCOL_VERSION, self.session, token, run, plans.PYTHON, take_over=successor, keep=keep, name=name
        )
        self.core = SessionCore(hello)
        self.link = Link(network, self, "client:me", self._on_frame)
        self.link.send(self.core.hello(b"", world.now))
        self.later(0.05, self._tick)

    # ------------------------------------------------------------------ what the user does

    def submit(self, calls: list[Call], *, first: int, keys: bool = False, needs: bool = False) -> None:
        """Hand over calls of one spec with consecutive numbers."""
        group = Group(
            calls[0].spec, first, [plans.body_of(call.plan) for call in calls],
            [[need.task for need in call.needs] for call in calls] if needs else [],
            [call.key for call in calls] if keys else [],
            memos=[[call.memo, *(need.memo for need in call.needs)] for call in calls] if calls[0].memo else [],
        )  # fmt: skip
        for call in calls:
            self.futures[call.task] = call
            self.calls[call.task] = call
        self.mine += calls
        self._submissions.append(([group], calls))
        self.pump()

    def call(
        self, spec: TaskSpec, made: list[Plan], *, key: str = "", needs: list[Call] | None = None, memo: bytes = b""
    ) -> list[Call]:
        """Submit plans under one spec."""
        first, self.next = self.next, self.next + len(made)
        calls = [
            Call(self.session << NUMBER_BITS | first + place, spec, plan, list(needs or []), key, memo)
            for place, plan in enumerate(made)
        ]
        self.submit(calls, first=first, keys=bool(key), needs=bool(needs))
        return calls

    def cancel(self, call: Call) -> None:
        """`future.cancel()`: the future has ended, the task will."""
        call.may_be_cancelled = True
        self._orders.append([call.task])
        self.pump()

    def die(self) -> None:
        """SIGKILL."""
        if self.alive:
            self.world.note(f"client {self.name} is killed with {len(self.futures)} open futures")
            self.kill()
            self.link.close()

    # ------------------------------------------------------------------ the link's loop

    def pump(self) -> None:
        """One round of the link's thread after its reads."""
        if not self.alive or self.left or self.broken:
            return
        core, now = self.core, self.world.now
        if core.standing is Standing.OPEN:
            self._empty_mailbox()
        for frame in core.on_time(bytes, now):
            self.link.send(frame)
        if core.standing is Standing.OPEN:
            for frame in core.credit(now):
                self.link.send(frame)
        if core.refusal is not None and core.standing is Standing.REFUSED:
            self._break(core.refusal.message)
        elif not self.submitting and not self.futures and not self._submissions and self._reattached:
            self._leave()

    def _empty_mailbox(self) -> None:
        core = self.core
        if not self._reattached:
            self._reattached = True
            self.link.send(core.reattach(1))
        for tasks in self._orders:
            self.link.send(core.cancel(tasks))
        self._orders.clear()
        for groups, calls in self._submissions:
            for group in groups:
                for frame in core.register([plans.function(_number_of(group.spec))]):
                    self.link.send(frame)
            given = {
                need.task: need.outcome.body for call in calls for need in call.needs if _is_good(need) and need.outcome
            }
            complete = [msgspec.structs.replace(one, given=[Need(*pair) for pair in given.items()]) for one in groups]
            self.link.send(core.submit(complete, range(calls[0].task, calls[-1].task + 1)))
        self._submissions.clear()

    def _tick(self) -> None:
        self.pump()
        if not self.left:
            self.later(0.01 if self.core.owes_credit else self.core.heartbeat / 4, self._tick)

    def _on_frame(self, frame: bytes) -> None:
        if self.left or self.broken:
            return
        answers = Answers()
        for answer in self.core.receive([frame], answers, self.world.now):
            self.link.send(answer)
        self.core.collect(self._on_answers(answers))
        self.pump()

    def _on_answers(self, answers: Answers) -> list[int]:
        collected: list[int] = []
        if answers.welcome is not None:
            self.is_welcome = True
        for outcome in answers.outcomes:
            collected += self._on_outcome(outcome)
        for tasks, refused in answers.refused:
            for task in tasks:
                call = self.futures.pop(task)
                if refused.kind != "pool":
                    raise Wrong(f"task {task_name(TaskId(task))} was refused: {refused}")
                call.refused = True
        for attached in answers.attached:
            for task in attached.tasks:
                self.futures.setdefault(task, self.calls[task])
        if answers.taken_over:
            self._break(answers.taken_over)
        return collected

    def _on_outcome(self, outcome: Outcome) -> list[int]:
        known = self.calls.get(outcome.task)
        if known is None:
            raise Wrong(f"an outcome came of task {task_name(TaskId(outcome.task))}, which nobody submitted")
        known.check(outcome)
        call = self.futures.pop(outcome.task, None)
        if call is None:
            mine = outcome.task >> NUMBER_BITS == self.session
            return [outcome.task] if mine else []
        recorded = self.ledger.ended.get(outcome.task)
        if recorded != outcome:
            raise Wrong(f"task {task_name(TaskId(outcome.task))} was told as {outcome}, recorded as {recorded}")
        call.outcome = outcome
        if not self.keep:
            return [outcome.task]
        self.later(self.world.between(0.0, 0.3), lambda: self._collect(outcome.task))
        return []

    def _collect(self, task: int) -> None:
        self.core.collect([task])
        self.pump()

    def _break(self, why: str) -> None:
        self.world.note(f"client {self.name} is broken: {why}")
        self.broken = why
        for call in self.futures.values():
            if call in self.mine:
                call.broken = why
        self.futures.clear()
        self.later(0.01, self._close)

    def _leave(self) -> None:
        if self.core.standing is not Standing.OPEN or self.core.owes_credit or self.core.unaccepted:
            return
        self.left = True
        self.world.note(f"client {self.name} leaves")
        self.link.send(codec.encode(wire.Bye(cancel=False)))
        self.later(1.0, self._close)

    def _close(self) -> None:
        self.kill()
        self.link.close()


def _number_of(spec: TaskSpec) -> int:
    return next(number for number in range(10) if plans.function(number).id == spec.function)


def _is_good(call: Call) -> bool:
    return call.outcome is not None and call.outcome.status is Status.DONE
