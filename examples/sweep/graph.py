"""The sweep as tasks: folds, their summaries, a choice for each family, and its confirmation, each after the last.

The client is asked for three things, `put`, `submit` and `starmap`, where a future in the arguments (in a list, too)
is waited for by the engine. So the whole graph is handed over at once, and goes on by itself.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from examples.sweep import science

T = TypeVar("T")


class Runner(Protocol):
    """What the graph needs of a client."""

    def put(self, value: Any) -> Any: ...

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any: ...

    def starmap(self, function: Callable[..., Any], calls: Iterable[Iterable[Any]]) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class Measured(Generic[T]):
    """A value, and which process worked it out from when to when (seconds since the epoch)."""

    value: T
    worker: int
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


Task = Future[Measured[T]]


def measured(function: Callable[..., T], *args: Any) -> Measured[T]:
    """Call the function on the values of what it waited for."""
    began = time.time()
    value = function(*(bare(arg) for arg in args))
    return Measured(value, os.getpid(), began, time.time())


def bare(argument: Any) -> Any:
    if isinstance(argument, Measured):
        return argument.value
    return [bare(item) for item in argument] if isinstance(argument, list) else argument


@dataclass(slots=True)
class Branch:
    """The tasks of one family on one data set. `scores` has a list for each candidate, with a task for each fold."""

    data: science.DataSet
    sent: Any
    family: science.Family
    candidates: list[science.Candidate]
    scores: list[list[Task[float]]]
    summaries: list[Task[science.Summary]] = field(default_factory=list)
    choice: Task[science.Summary] | None = None
    confirmation: Task[science.Confirmed] | None = None

    @classmethod
    def of(cls, data: science.DataSet, sent: Any, family: science.Family) -> "Branch":
        """`sent` is the data set's place at the workers, and what the tasks are given."""
        candidates = list(science.candidates(family))
        return cls(data, sent, family, candidates, [[] for _ in candidates])

    def tasks(self) -> Iterator[Task[Any]]:
        for scores in self.scores:
            yield from scores
        yield from self.summaries
        yield from (task for task in (self.choice, self.confirmation) if task is not None)


def submit(
    client: Runner, data_sets: list[science.DataSet], submitted: Callable[[list[Task[Any]]], None]
) -> list[Branch]:
    """Hand everything to the client; `submitted` hears of the tasks as soon as they are known.

    One fold of everything after the other, so that short and long tasks mix and what is left can be foretold.
    """
    sent = [(data, client.put(data)) for data in data_sets]
    branches = [Branch.of(data, place, family) for data, place in sent for family in science.FAMILIES[data.kind]]
    for number in range(science.FOLDS * science.REPEATS):
        for branch in branches:
            calls = [(science.score_fold, branch.sent, candidate, number) for candidate in branch.candidates]
            tasks = client.starmap(measured, calls)
            for scores, task in zip(branch.scores, tasks, strict=True):
                scores.append(task)
            submitted(tasks)
    for branch in branches:
        conclude(client, branch)
        submitted(list(branch.tasks())[len(branch.candidates) * len(branch.scores[0]) :])
    return branches


def conclude(client: Runner, branch: Branch) -> None:
    """Submit what waits for the folds: summaries, the choice among them, and its confirmation."""
    pairs = zip(branch.candidates, branch.scores, strict=True)
    branch.summaries = client.starmap(measured, [(science.summarise, candidate, scores) for candidate, scores in pairs])
    branch.choice = client.submit(measured, science.choose, branch.summaries)
    branch.confirmation = client.submit(measured, science.confirm, branch.sent, branch.choice)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the sweep found, in the order of submission; times are left to `spans`."""

    summaries: dict[tuple[str, science.Family], list[science.Summary]]
    confirmed: list[science.Confirmed]
    spans: list[Measured[Any]]

    def digest(self) -> str:
        """SHA-256 over every score to its last bit; the same whichever process worked out what."""
        folds = [
            [data_set, family, summary.candidate.settings, [score.hex() for score in summary.scores]]
            for (data_set, family), summaries in self.summaries.items()
            for summary in summaries
        ]
        winners = [
            [found.data_set, found.winner.candidate.settings, found.score.hex(), found.low.hex(), found.high.hex()]
            for found in self.confirmed
        ]
        return hashlib.sha256(json.dumps([folds, winners]).encode()).hexdigest()


def collect(branches: list[Branch]) -> Outcome:
    """Wait for every result. Raises what the first failed task raised."""
    summaries = {
        (branch.data.name, branch.family): [task.result().value for task in branch.summaries] for branch in branches
    }
    confirmed = [branch.confirmation.result().value for branch in branches if branch.confirmation is not None]
    return Outcome(summaries, confirmed, [task.result() for branch in branches for task in branch.tasks()])
