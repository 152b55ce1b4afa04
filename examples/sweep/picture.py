"""The sweep as one picture: what the support vectors' grid looks like, who won, and what each worker did when."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from examples.sweep import science
from examples.sweep.graph import Measured, Outcome

mpl.use("agg")
COLOURS = {
    science.Family.SVM: "#3b6fb6",
    science.Family.NEIGHBOURS: "#e0a030",
    science.Family.LINEAR: "#5fa55a",
    science.Family.KERNEL: "#8b5fbf",
    science.Family.TREES: "#c8553d",
}
WORST_R2 = -0.2  # a regression below it is shown as bad as this, so that the good ones can be told apart


def draw(outcome: Outcome, families: Sequence[science.Family], began: float, path: Path) -> None:
    """Write a PNG. `families` has one for each of `outcome.spans`."""
    figure = Figure(figsize=(14, 10.5), layout="constrained")
    figure.suptitle("Blockyard: cross-validated sweeps over four real data sets", fontsize=15, x=0.01, ha="left")
    grid = figure.add_gridspec(3, 1, height_ratios=[3.2, 3.4, 2.6])
    top, middle, bottom = (figure.add_subfigure(grid[row]) for row in range(3))
    names = list(science.DATA_SETS)
    for axes, name in zip(top.subplots(1, len(names)), names, strict=True):
        heat_map(axes, name, outcome.summaries[name, science.Family.SVM])
    for axes, name in zip(middle.subplots(1, len(names)), names, strict=True):
        ranking(axes, name, [found for found in outcome.confirmed if found.data_set == name])
    timeline(bottom.subplots(1, 1), outcome.spans, families, began)
    figure.savefig(path, dpi=110)


def heat_map(axes: Any, name: str, summaries: Sequence[science.Summary]) -> None:
    """Mean score over the two settings of the grid; the cross is the best."""
    grid = science.GRIDS[science.Family.SVM]
    shape = len(grid["C"]), len(grid["gamma"])
    means = np.array([summary.mean for summary in summaries]).reshape(shape)
    shown = np.maximum(means, WORST_R2) if science.DATA_SETS[name] is science.Kind.QUANTITY else means
    image = axes.imshow(shown, origin="lower", cmap="viridis", aspect="auto")
    row, column = np.unravel_index(int(np.argmax(means)), shape)
    axes.plot(column, row, "x", color="white", markersize=11, markeredgewidth=2.5)
    axes.set_title(f"{name}: support vectors, best {means.max():.3f}", fontsize=10)
    axes.set_xticks(range(shape[1]), [f"{np.log10(float(value)):.1f}" for value in grid["gamma"]], fontsize=8)
    axes.set_yticks(range(shape[0]), [f"{np.log10(float(value)):.1f}" for value in grid["C"]], fontsize=8)
    axes.set_xlabel("log₁₀ gamma", fontsize=8)
    axes.set_ylabel("log₁₀ C", fontsize=8)
    axes.figure.colorbar(image, ax=axes, shrink=0.9)


def ranking(axes: Any, name: str, confirmed: Sequence[science.Confirmed]) -> None:
    """Each family's winner: the folds with their deviation, the held-out rows with their 95 % of resamples."""
    ordered = sorted(confirmed, key=lambda found: found.winner.mean)
    for height, found in enumerate(ordered):
        colour = COLOURS[found.winner.candidate.family]
        folds, spread = found.winner.mean, found.winner.deviation
        axes.errorbar(folds, height + 0.13, xerr=spread, fmt="o", color=colour, capsize=3)
        axes.plot([found.low, found.high], [height - 0.13] * 2, color=colour, alpha=0.5)
        axes.plot(found.score, height - 0.13, "D", color=colour, alpha=0.8)
    axes.set_yticks(range(len(ordered)), [found.winner.candidate.family for found in ordered], fontsize=8)
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.set_title(f"{name}: ● folds, ◆ held out", fontsize=10)
    axes.grid(axis="x", alpha=0.3)


def timeline(axes: Any, spans: Sequence[Measured[Any]], families: Sequence[science.Family], began: float) -> None:
    """One row for each worker process in the order of its first task; a stripe for each task, coloured by family."""
    first: dict[int, float] = {}
    for span in sorted(spans, key=lambda span: span.began):
        first.setdefault(span.worker, span.began)
    rows = {worker: row for row, worker in enumerate(first)}
    for family, colour in COLOURS.items():
        mine = [span for span, its in zip(spans, families, strict=True) if its is family]
        for row in rows.values():
            stripes = [(span.began - began, span.seconds) for span in mine if rows[span.worker] == row]
            axes.broken_barh(stripes, (row - 0.4, 0.8), facecolors=colour)
        axes.plot([], [], color=colour, linewidth=6, label=family)
    axes.set_yticks(range(len(rows)), [f"worker {row + 1}" for row in rows.values()], fontsize=8)
    axes.set_xlim(0, max(span.ended for span in spans) - began)
    axes.set_xlabel("seconds since the client started; white: nothing ran")
    axes.invert_yaxis()
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.18), ncols=len(COLOURS), fontsize=8, frameon=False)
