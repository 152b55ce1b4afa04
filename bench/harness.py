"""What every benchmark shares: rounds that alternate between the compared, figures with their spread, a table, JSON.

One file of `bench/` answers one question: it describes its subjects and calls `run`. In each round every subject is
started anew, warmed, measured and ended, one after the other, so that only one is alive at a time, and so that a
machine that grows slower grows slower for all. A ratio is taken inside a round, never between rounds.
Leaves to the subjects what a task is; leaves to `docs/benchmarks.md` what the figures mean.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import process_tree

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "bench"
PACKAGES = ("blockyard", "pyzmq", "msgspec", "cloudpickle", "numpy", "psycopg", "parsl", "distributed", "ray")

Figures = Mapping[str, float]
"""Figures of one round by name; the name ends in its unit: `rate_per_s`, `cpu_us`, `p50_ms`."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One of the compared: `measure` starts it, warms it, measures once, ends it, and returns its figures."""

    name: str
    measure: Callable[[], Figures]


@dataclass(frozen=True, slots=True)
class Goal:
    """What the first subject should reach. `figure` is divided by the baseline's, or taken as it is without one.

    `at_least` says which side is good; `required` and `aim` are bounds on the ratio (or on the figure itself).
    """

    figure: str
    baseline: str | None
    required: float
    aim: float
    at_least: bool = True

    @property
    def name(self) -> str:
        return f"{self.figure} ÷ {self.baseline}'s" if self.baseline else self.figure

    def verdict(self, value: float) -> str:
        def reached(bound: float) -> bool:
            return value >= bound if self.at_least else value <= bound

        return "aim reached" if reached(self.aim) else "as required" if reached(self.required) else "MISSED"


@dataclass(frozen=True, slots=True)
class Spread:
    """The smallest, the middle and the largest of several rounds."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(min(values), statistics.median(values), max(values))


@dataclass(frozen=True, slots=True)
class Report:
    """Everything one benchmark found; written as JSON, one file a question."""

    question: str
    durability: str
    rounds: list[dict[str, Figures]]
    goals: dict[str, dict[str, object]] = field(default_factory=dict)
    machine: dict[str, object] = field(default_factory=dict)


# ------------------------------------------------------------------------------------------------------------ measuring


@dataclass(slots=True)
class Clocked:
    """Seconds of wall clock and of CPU (all processes of the tree) that a block took; set when it ends."""

    wall: float = 0.0
    cpu: float = 0.0

    def per_task(self, tasks: int) -> dict[str, float]:
        """`rate_per_s` and `cpu_us` of `tasks` tasks."""
        return {"rate_per_s": tasks / self.wall, "cpu_us": self.cpu / tasks * 1e6}


@contextmanager
def clocked() -> Iterator[Clocked]:
    """Measure a block; what it started may still run when it ends."""
    taken = Clocked()
    cpu, wall = process_tree.cpu_seconds(os.getpid()), time.perf_counter()
    yield taken
    taken.wall = time.perf_counter() - wall
    taken.cpu = process_tree.cpu_seconds(os.getpid()) - cpu


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# -------------------------------------------------------------------------------------------------------------- running


def arguments(question: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--small", action="store_true", help="a few seconds: shows that it runs, not how fast")
    parser.add_argument("--rounds", type=int, default=0, help="rounds (default 5, with --small 1)")
    parser.add_argument("--quiet", action="store_true", help="no table; the JSON file only")
    given = parser.parse_args(argv)
    given.rounds = given.rounds or (1 if given.small else 5)
    return given


def run(
    name: str,
    question: str,
    subjects: Sequence[Subject],
    goals: Sequence[Goal],
    given: argparse.Namespace,
    durability: str = "journal (SQLite), CURVE on",
) -> Report:
    """Measure all subjects in alternating rounds; write `results/bench/NAME.json`; print a table.

    The order inside a round turns with each round, so that no subject always follows the same one.
    """
    process_tree.adopt_orphans()
    rounds: list[dict[str, Figures]] = []
    for number in range(given.rounds):
        turn = number % len(subjects)
        rounds.append({subject.name: subject.measure() for subject in [*subjects[turn:], *subjects[:turn]]})
    report = Report(question, durability, rounds, judge(subjects[0].name, rounds, goals), machine(given))
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}{'.small' if given.small else ''}.json"
    path.write_text(json.dumps(asdict(report), indent=2) + "\n")
    if not given.quiet:
        show(report, subjects)
        print(f"written to {path.relative_to(ROOT)}")
    return report


def judge(first: str, rounds: Sequence[Mapping[str, Figures]], goals: Sequence[Goal]) -> dict[str, dict[str, object]]:
    """Each goal with the spread of its value over the rounds, and whether the median reaches it."""
    verdicts: dict[str, dict[str, object]] = {}
    for goal in goals:
        own = [figures[first][goal.figure] for figures in rounds]
        base = [figures[goal.baseline][goal.figure] if goal.baseline else 1.0 for figures in rounds]
        spread = Spread.of([mine / other for mine, other in zip(own, base, strict=True)])
        verdicts[goal.name] = {**asdict(goal), **asdict(spread), "verdict": goal.verdict(spread.median)}
    return verdicts


def machine(given: argparse.Namespace) -> dict[str, object]:
    """Where and when, and with which versions; nothing that names the machine or its user."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        "small": given.small,
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": cpu_model(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "load_average_before": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": dict(installed()),
    }


def installed() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


def peer_figures(name: str) -> Figures:
    """Medians of a peer from the last `make bench-peers` on this machine; empty when it has not run."""
    path = RESULTS / "peers" / f"{name}.json"
    if not path.exists():
        return {}
    figures: dict[str, float] = json.loads(path.read_text())["figures"]
    return figures


def revision() -> str:
    """The commit that is checked out, with `+` when files differ from it; `unknown` outside a repository."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


# -------------------------------------------------------------------------------------------------------------- showing


def show(report: Report, subjects: Sequence[Subject]) -> None:
    """Print the median (and the spread) of every figure of every subject, then the goals."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"[bold]{report.question.strip()}[/bold] [dim]({report.durability})[/dim]", highlight=False)
    table = Table()
    table.add_column("figure")
    for subject in subjects:
        table.add_column(subject.name, justify="right")
    for figure in dict.fromkeys(name for subject in subjects for name in report.rounds[0][subject.name]):
        cells = [cell([figures[subject.name].get(figure) for figures in report.rounds]) for subject in subjects]
        table.add_row(figure, *cells)
    console.print(table)
    for name, goal in report.goals.items():
        sign = "≥" if goal["at_least"] else "≤"
        console.print(
            f"{name}: [bold]{goal['median']:.3g}[/bold] ({goal['minimum']:.3g} to {goal['maximum']:.3g}); "
            f"required {sign} {goal['required']:g}, aim {goal['aim']:g}: [bold]{goal['verdict']}[/bold]",
            highlight=False,
        )


def cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    spread = Spread.of(known)
    text = plain(spread.median)
    return text if len(known) == 1 else f"{text} ({plain(spread.minimum)} to {plain(spread.maximum)})"


def plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
