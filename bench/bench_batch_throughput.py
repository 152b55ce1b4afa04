"""How many tasks that do nothing pass through in a second, when they are handed over as one batch?"""

from collections.abc import Callable

from bench import engines, harness

TASKS, SMALL = 100_000, 10_000


def ours(tasks: int) -> harness.Figures:
    with engines.blockyard() as client, harness.clocked() as taken:
        futures = client.submit_many(engines.noop, range(tasks))
        results = [done.result() for done in futures]
    return checked(results, tasks, taken)


def ours_map(tasks: int) -> harness.Figures:
    with engines.blockyard() as client, harness.clocked() as taken:
        results = list(client.map(engines.noop, range(tasks)))
    return checked(results, tasks, taken)


def stdlib(tasks: int) -> harness.Figures:
    with engines.stdlib_pool() as pool, harness.clocked() as taken:
        results = list(pool.map(engines.noop, range(tasks)))
    return checked(results, tasks, taken)


def checked(results: list[object], tasks: int, taken: harness.Clocked) -> harness.Figures:
    if results != list(range(tasks)):
        raise AssertionError(f"{tasks} results were to come back in order; {len(results)} came, not those")
    return taken.per_task(tasks)


def subject(name: str, measure: Callable[[int], harness.Figures], tasks: int) -> harness.Subject:
    return harness.Subject(name, lambda: measure(tasks))


def main() -> None:
    question = __doc__ or ""
    given = harness.arguments(question)
    tasks = SMALL if given.small else TASKS
    subjects = [
        subject(engines.BLOCKYARD, ours, tasks),
        subject("blockyard map", ours_map, tasks),
        subject(engines.STDLIB, stdlib, tasks),
    ]
    goals = [
        harness.Goal("rate_per_s", engines.STDLIB, required=4, aim=7),
        harness.Goal("cpu_us", engines.STDLIB, required=0.35, aim=0.2, at_least=False),
    ]
    harness.run("batch_throughput", question, subjects, goals, given)


if __name__ == "__main__":
    main()
