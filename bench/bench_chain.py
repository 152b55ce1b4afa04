"""How fast does a graph go on: a chain where each task waits for one, and a tree where each waits for ten?

The standard library's pool knows no dependencies, so its caller waits between the steps (chain) and between the levels
(tree); Parsl's figures, which the goal is about, come from `make bench-peers`.
"""

from collections.abc import Sequence
from concurrent.futures import Executor, Future

from bench import engines, harness
from blockyard import Client

LINKS, SMALL_LINKS = 10_000, 1_000
LEAVES, SMALL_LEAVES = 100_000, 1_000
FAN_IN = 10


def following(number: int) -> int:
    return number + 1


def total(numbers: Sequence[int]) -> int:
    return sum(numbers)


def chain(client: Client, links: int) -> float:
    """Tasks a second along one chain, from the first submit to the last result."""
    with harness.clocked() as taken:
        last = client.submit(following, 0)
        for _ in range(links - 1):
            last = client.submit(following, last)
        reached = last.result()
    expect(reached, links)
    return links / taken.wall


def tree(client: Client, leaves: int) -> float:
    """Tasks a second of a reduction, leaves included, from the first submit to the last result."""
    tasks = 0
    with harness.clocked() as taken:
        level = list(client.submit_many(following, range(leaves)))
        tasks += len(level)
        while len(level) > 1:
            level = list(client.submit_many(total, groups(level)))
            tasks += len(level)
        reached = level[0].result()
    expect(reached, leaves * (leaves + 1) // 2)
    return tasks / taken.wall


def chain_by_hand(pool: Executor, links: int) -> float:
    with harness.clocked() as taken:
        reached = 0
        for _ in range(links):
            reached = pool.submit(following, reached).result()
    expect(reached, links)
    return links / taken.wall


def tree_by_hand(pool: Executor, leaves: int) -> float:
    tasks = 0
    with harness.clocked() as taken:
        level = list(pool.map(following, range(leaves)))
        tasks += len(level)
        while len(level) > 1:
            level = list(pool.map(total, [level[at : at + FAN_IN] for at in range(0, len(level), FAN_IN)]))
            tasks += len(level)
    expect(level[0], leaves * (leaves + 1) // 2)
    return tasks / taken.wall


def groups(futures: Sequence[Future[int]]) -> list[Sequence[Future[int]]]:
    return [futures[at : at + FAN_IN] for at in range(0, len(futures), FAN_IN)]


def expect(reached: int, wanted: int) -> None:
    if reached != wanted:
        raise AssertionError(f"the graph came to {reached}, not {wanted}")


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    links = SMALL_LINKS if given.small else LINKS
    leaves = SMALL_LEAVES if given.small else LEAVES

    def ours() -> harness.Figures:
        with engines.blockyard() as client:
            return {"chain_per_s": chain(client, links), "tree_per_s": tree(client, leaves)}

    def stdlib() -> harness.Figures:
        with engines.stdlib_pool() as pool:
            return {"chain_per_s": chain_by_hand(pool, links), "tree_per_s": tree_by_hand(pool, leaves)}

    subjects = [harness.Subject(engines.BLOCKYARD, ours), harness.Subject(engines.STDLIB, stdlib)]
    parsl = harness.peer_figures("parsl")
    goals = [
        harness.Goal(figure, None, required=8 * parsl[figure], aim=15_000)
        for figure in ("chain_per_s", "tree_per_s")
        if figure in parsl
    ]
    harness.run("chain", question, subjects, goals, given)


if __name__ == "__main__":
    main()
