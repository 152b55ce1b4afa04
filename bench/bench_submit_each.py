"""How many tasks that do nothing pass through in a second, when each is submitted by itself and all are collected?"""

from concurrent.futures import Executor

from bench import engines, harness

TASKS, SMALL = 50_000, 5_000


def one_by_one(executor: Executor, tasks: int) -> harness.Figures:
    with harness.clocked() as taken:
        futures = [executor.submit(engines.noop, number) for number in range(tasks)]
        results = [done.result() for done in futures]
    if results != list(range(tasks)):
        raise AssertionError(f"{tasks} results were to come back in order; {len(results)} came, not those")
    return taken.per_task(tasks)


def main() -> None:
    question = __doc__ or ""
    given = harness.arguments(question)
    tasks = SMALL if given.small else TASKS

    def ours() -> harness.Figures:
        with engines.blockyard() as client:
            return one_by_one(client, tasks)

    def stdlib() -> harness.Figures:
        with engines.stdlib_pool() as pool:
            return one_by_one(pool, tasks)

    subjects = [harness.Subject(engines.BLOCKYARD, ours), harness.Subject(engines.STDLIB, stdlib)]
    goals = [harness.Goal("rate_per_s", engines.STDLIB, required=3, aim=6)]
    harness.run("submit_each", question, subjects, goals, given)


if __name__ == "__main__":
    main()
