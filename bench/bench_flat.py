"""Does a task cost the same, whether it is one of a thousand or of a million?

Small batches are repeated until as many tasks have run as in one of 10^5, so that they are as well measured.
"""

from bench import engines, harness

SIZES = (1_000, 10_000, 100_000, 1_000_000)
SMALL_SIZES = (1_000, 10_000)
AT_LEAST = 100_000
SMALL_AT_LEAST = 10_000


def cost(tasks: int, at_least: int) -> harness.Figures:
    """CPU and wall clock of one task in batches of `tasks`, in microseconds."""
    repeats = max(1, at_least // tasks)
    with engines.blockyard() as client, harness.clocked() as taken:
        for _ in range(repeats):
            for done in client.submit_many(engines.noop, range(tasks)):
                done.result()
    return {"cpu_us": taken.cpu / tasks / repeats * 1e6, "wall_us": taken.wall / tasks / repeats * 1e6}


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    sizes = SMALL_SIZES if given.small else SIZES
    at_least = SMALL_AT_LEAST if given.small else AT_LEAST

    def measured() -> harness.Figures:
        figures: dict[str, float] = {}
        for tasks in sizes:
            for name, value in cost(tasks, at_least).items():
                figures[f"{name} at {tasks:,}"] = value
        for name in ("cpu_us", "wall_us"):
            costs = [figures[f"{name} at {tasks:,}"] for tasks in sizes]
            figures[f"largest ÷ smallest {name}"] = max(costs) / min(costs)
        return figures

    goals = [harness.Goal("largest ÷ smallest wall_us", None, required=1.15, aim=1.0, at_least=False)]
    harness.run("flat", question, [harness.Subject(engines.BLOCKYARD, measured)], goals, given)


if __name__ == "__main__":
    main()
