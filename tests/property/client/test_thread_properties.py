"""Any graph of tasks on threads ends as if its functions had been called one after the other."""

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from blockyard.errors import DependencyError
from blockyard.threads import ThreadEngine
from blockyard.threads.queue import Stage, TaskQueue, ThreadTask, slots_of
from blockyard.wire.records import TaskSpec


@dataclass(frozen=True)
class Node:
    """A task that adds one to the sum of earlier tasks, or raises."""

    needs: tuple[int, ...]
    priority: int
    cores: int
    raises: bool


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    count = draw(st.integers(1, 25))
    return [
        Node(
            tuple(draw(st.lists(st.integers(0, index - 1), max_size=3))) if index else (),
            draw(st.integers(-1, 1)),
            draw(st.integers(0, 3)),
            draw(st.integers(0, 9)) == 0,
        )
        for index in range(count)
    ]


def run_node(node: Node, inputs: list[int]) -> int:
    if node.raises:
        raise ValueError(node)
    return 1 + sum(inputs)


def directly(graph: list[Node]) -> list[int | None]:
    """What each task returns, `None` for those that fail."""
    values: list[int | None] = []
    for node in graph:
        inputs = [values[index] for index in node.needs]
        failed = node.raises or None in inputs
        values.append(None if failed else 1 + sum(value for value in inputs if value is not None))
    return values


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(3, 4))
def test_a_graph_of_tasks_has_the_results_of_calling_them_in_order(graph: list[Node], threads: int) -> None:
    engine = ThreadEngine(threads)
    futures: list[Any] = []
    for node in graph:
        spec = TaskSpec(function=b"", priority=node.priority, cores=node.cores)
        futures += engine.submit(spec, run_node, [((node, [futures[index] for index in node.needs]), {})])
    engine.shutdown(wait=True)
    values = directly(graph)
    for node, future, expected in zip(graph, futures, values, strict=True):
        if expected is not None:
            assert future.result(0) == expected
        else:
            needs_a_failed_one = any(values[index] is None for index in node.needs)
            assert type(future.exception(0)) is (DependencyError if needs_a_failed_one else ValueError)


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "start", "return", "retry", "cancel", "expire"]), st.integers(0, 30)), max_size=60
)


def a_task(number: int, choice: int, threads: int, now: float) -> ThreadTask:
    spec = TaskSpec(
        function=b"", priority=choice % 3, cores=choice % (threads + 1), backoff=choice % 2, timeout=choice % 4
    )
    return ThreadTask(number, spec, None, now, slots_of(spec))


def act(queue: TaskQueue, tasks: list[ThreadTask], action: str, choice: int, now: float) -> None:
    """One step of an engine, whatever is possible of it."""
    running = [task for task in tasks if task.occupied]
    if action == "add":
        tasks.append(a_task(len(tasks) + 1, choice, queue.threads, now))
        queue.add(tasks[-1])
    elif action == "start":
        queue.start_next(now)
    elif action == "return" and running:
        queue.release(running[choice % len(running)])
        queue.end(running[choice % len(running)])
    elif action == "retry" and running and running[choice % len(running)].stage is Stage.RUNNING:
        queue.release(running[choice % len(running)])
        queue.retry(running[choice % len(running)], now)
    elif action == "cancel" and tasks:
        queue.end(tasks[choice % len(tasks)])
    elif action == "expire":
        for task, _ in queue.expire(now):
            queue.end(task)


@given(STEPS, st.integers(1, 4))
def test_threads_are_never_promised_twice_nor_tasks_lost(steps: list[tuple[str, int]], threads: int) -> None:
    queue = TaskQueue(threads)
    tasks: list[ThreadTask] = []
    now = 0.0
    for action, choice in steps:
        now += 0.5
        act(queue, tasks, action, choice, now)
        assert queue.free == threads - sum(task.slots for task in tasks if task.occupied)
        assert queue.free >= 0
        assert set(queue.unfinished) == {task.number for task in tasks if task.stage is not Stage.ENDED}
    for _ in range(10 * len(tasks)):
        now += 100.0
        for action in ("expire", "return", "start"):
            act(queue, tasks, action, 0, now)
    assert not queue.unfinished
