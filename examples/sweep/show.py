"""The findings as a table, and one closing line that says where the time went."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from examples.sweep import science
from examples.sweep.graph import Measured, Outcome

WHAT = {science.Kind.CLASSES: "accuracy", science.Kind.QUANTITY: "R²"}


def table(outcome: Outcome) -> Table:
    """A row for each family on each data set, with how many candidates it had; the best by its folds stands out."""
    view = Table(
        title="Each family's best candidate",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    view.add_column("family (candidates)", no_wrap=True)
    view.add_column("best settings", overflow="fold")
    view.add_column("by its folds", justify="right", no_wrap=True)
    view.add_column("held out (95 %)", justify="right", no_wrap=True)
    for data_set, group in groupby(outcome.confirmed, key=lambda found: found.data_set):
        rows = list(group)
        best = max(rows, key=lambda found: found.winner.mean)
        view.add_row(f"{data_set} ({WHAT[science.DATA_SETS[data_set]]})", style="italic")
        for found in rows:
            winner = found.winner
            family = winner.candidate.family
            view.add_row(
                f" {family} ({len(outcome.summaries[data_set, family])})",
                str(winner.candidate),
                f"{winner.mean:.3f} ± {winner.deviation:.3f}",
                f"{found.score:.3f} ({found.low:.3f}-{found.high:.3f})",
                style="bold" if found is best else None,
                end_section=found is rows[-1],
            )
    return view


@dataclass(frozen=True, slots=True)
class Time:
    """Where the time of the workers went, in seconds; the first is wall clock, the others add up over workers."""

    wall: float
    starting: float
    computing: float
    between: float
    workers: int
    processes: int

    def __str__(self) -> str:
        whole = self.wall * self.workers
        return (
            f"{self.wall:.1f} s on {self.workers} workers: {self.computing / whole:.0%} computing, "
            f"{self.starting / whole:.0%} until the first task ran (blocks started from none), "
            f"{self.between / whole:.0%} between tasks; {self.processes} worker processes took part"
        )


def where_time_went(spans: Sequence[Measured[Any]], began: float, ended: float, workers: int) -> Time:
    """Split `workers` times the wall clock into what ran before, in and between the tasks.

    A try that was lost with its worker left no span: its time counts as time between tasks.
    """
    first = min(span.began for span in spans)
    starting = max(0.0, first - began) * workers
    computing = sum(span.seconds for span in spans)
    between = max(0.0, (ended - began) * workers - starting - computing)
    return Time(ended - began, starting, computing, between, workers, len({span.worker for span in spans}))


def findings(outcome: Outcome, console: Console) -> None:
    console.print(table(outcome))
    console.print(
        f"{len(outcome.spans):,} tasks, {sum(map(len, outcome.summaries.values())):,} candidates; "
        f"digest of all results: [bold]{outcome.digest()[:16]}[/bold]",
        highlight=False,
    )
