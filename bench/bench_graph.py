"""What share of the engine's rate do workflows reach: 10^5 steps of an explicit graph, and one sweep of 10^5?

Each step of the graph needs the one a thousand before it; the sweep is the product of three short lists. Beside each:
as many tasks by `submit_many`, in the same system. From handing the workflow over until its run has succeeded, so what
checks and compiles it in this process is in it.
"""

from bench import engines, harness
from blockyard import Client
from blockyard.workflow.building import Workflow, item, product

STEPS, SMALL_STEPS = 100_000, 2_000
WIDTH = 1_000


def negative(value: int) -> int:
    """A step that costs nothing."""
    return -value


def plain(client: Client, tasks: int) -> float:
    """Tasks a second by `submit_many`."""
    with harness.clocked() as taken:
        for done in client.submit_many(negative, range(tasks)):
            done.result()
    return tasks / taken.wall


def graph(steps: int) -> Workflow:
    """So many steps, a thousand of which can run at a time."""
    flow, width = Workflow("graph"), min(WIDTH, steps // 2)
    for number in range(steps):
        needs = {"needs": [f"s{number - width}"]} if number >= width else {}
        flow.step(negative, step=f"s{number}", options=needs, value=number)
    return flow


def sweep(parts: int) -> Workflow:
    """One step that many times."""
    flow = Workflow("sweep")
    points = product(a=list(range(parts // 1000)), b=list(range(50)), c=list(range(20)))
    flow.step(negative, value=item("a"), options={"sweep": points})
    return flow


def rate(client: Client, flow: Workflow, steps: int) -> float:
    """Steps a second."""
    with harness.clocked() as taken:
        client.run(flow).succeed()
    return steps / taken.wall


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    steps = SMALL_STEPS if given.small else STEPS

    def ours() -> harness.Figures:
        with engines.blockyard() as client:
            engine = plain(client, steps)
            by_graph, by_sweep = rate(client, graph(steps), steps), rate(client, sweep(steps), steps)
        return {
            "tasks_per_s": engine,
            "graph_per_s": by_graph,
            "sweep_per_s": by_sweep,
            "graph ÷ tasks": by_graph / engine,
            "sweep ÷ tasks": by_sweep / engine,
        }

    goals = [harness.Goal(name, None, required=0.5, aim=1.0) for name in ("graph ÷ tasks", "sweep ÷ tasks")]
    harness.run("graph", question, [harness.Subject(engines.BLOCKYARD, ours)], goals, given)


if __name__ == "__main__":
    main()
