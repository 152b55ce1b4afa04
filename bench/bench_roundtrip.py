"""How long does one task take, there and back, when nothing else is going on?"""

import time
from concurrent.futures import Executor

from bench import engines, harness

TRIPS, SMALL = 5_000, 500


def trips(executor: Executor, count: int) -> harness.Figures:
    taken = []
    for number in range(count):
        start = time.perf_counter()
        executor.submit(engines.noop, number).result()
        taken.append(time.perf_counter() - start)
    return {"p50_ms": harness.quantile(taken, 0.5) * 1e3, "p99_ms": harness.quantile(taken, 0.99) * 1e3}


def main() -> None:
    question = __doc__ or ""
    given = harness.arguments(question)
    count = SMALL if given.small else TRIPS

    def ours() -> harness.Figures:
        with engines.blockyard() as client:
            return trips(client, count)

    def stdlib() -> harness.Figures:
        with engines.stdlib_pool() as pool:
            return trips(pool, count)

    subjects = [harness.Subject(engines.BLOCKYARD, ours), harness.Subject(engines.STDLIB, stdlib)]
    goals = [
        harness.Goal("p50_ms", engines.STDLIB, required=3, aim=2, at_least=False),
        harness.Goal("p99_ms", engines.STDLIB, required=4, aim=2.5, at_least=False),
    ]
    harness.run("roundtrip", question, subjects, goals, given)


if __name__ == "__main__":
    main()
