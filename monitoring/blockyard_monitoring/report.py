"""A run in numbers as one file, Markdown or HTML: counts, rates, where time went, functions, failures, utilisation.

The HTML holds all that it shows, a drawing included, and runs nothing.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Final

from blockyard.errors import ConfigError
from blockyard.runs import RunSummary
from blockyard_monitoring.history import History, artefacts, runs, timeline
from blockyard_monitoring.history.artefacts import ArtefactLine
from blockyard_monitoring.history.summary import summarise, summary
from blockyard_monitoring.history.timeline import Usage
from blockyard_monitoring.page import templates
from blockyard_monitoring.page.templates import duration, plain, size

_WIDTH: Final = 800
_HEIGHT: Final = 120
_MOST_IMAGE_BYTES: Final = 16 * 1024 * 1024
"""Of artefacts, in a report."""
_MOST_OTHERS: Final = 5
"""Runs that are named where there is none of a name."""
_SPECIAL: Final = "\\`*_{}[]()<>#+!|~"


def report(url: str, run: str, form: str) -> str:
    """`form`: ``markdown`` or ``html``. Raises HistoryAway, ConfigError when nothing is known of the run."""
    with closing(History(url, connections=1)) as history, history.connection() as connection:
        found = summary(connection, run)
        extent = timeline.extent(connection, run)
        usage = timeline.usage(connection, extent, run=run) if extent is not None else None
        left = artefacts.lines(connection, run=run)
        images = artefacts.images(connection, left, _MOST_IMAGE_BYTES) if form == "html" else {}
        others = runs.runs(connection, limit=_MOST_OTHERS).rows if found is None else []
    if found is None:
        latest = f"; of its runs the latest are {', '.join(one.run for one in others)}" if others else ""
        raise ConfigError(f"run {run!r}: the history {history} knows nothing of it{latest}")
    if form == "html":
        return _html(found, usage, left, images)
    return markdown(found, left)


def _html(found: RunSummary, usage: Usage | None, left: list[ArtefactLine], images: dict[str, str]) -> str:
    curve = line(usage.busy, found.workers) if usage is not None else ""
    template = templates.make().get_template("report.html")
    return template.render(
        run=found, curve=curve, width=_WIDTH, height=_HEIGHT, spent=spent(found), artefacts=left, images=images
    )


def line(values: Sequence[float], most: float) -> str:
    """Points of a line over time, of an area `_WIDTH` by `_HEIGHT`, for SVG. Pure."""
    top = max([most, *values]) or 1.0
    step = _WIDTH / max(1, len(values) - 1)
    return " ".join(f"{place * step:.1f},{_HEIGHT * (1 - value / top):.1f}" for place, value in enumerate(values))


def spent(found: RunSummary) -> list[tuple[str, float, float]]:
    """Where time went: what, seconds of all tries together, and which part of all of it."""
    parts = [
        ("queued", found.queued_seconds), ("on their way", found.travel_seconds), ("running", found.running_seconds),
    ]  # fmt: skip
    total = sum(seconds for _, seconds in parts) or 1.0
    return [(name, seconds, seconds / total) for name, seconds in parts]


def markdown(found: RunSummary, left: Sequence[ArtefactLine] = ()) -> str:
    """The report as Markdown."""
    functions = [
        (
            _safe(one.function), f"{one.tries:,}", f"{one.failed:,}", duration(one.total_seconds * 1e6),
            duration(one.mean_seconds * 1e6), duration(one.max_seconds * 1e6),
        )
        for one in found.functions
    ]  # fmt: skip
    parts = [f"# Run {_safe(found.run)}", "", *_sentences(found)]
    parts += _section("Where time went", ("", "time", "of a try", "part"), _times(found))
    parts += _section("Functions", ("function", "tries", "failed", "together", "mean", "longest"), functions)
    if found.failures:
        rows = [
            (one.state, _safe(one.kind), f"{one.count:,}", one.task, _safe(one.message[:200])) for one in found.failures
        ]
        parts += _section("Failures", ("how", "cause", "tries", "for example", "which said"), rows)
    if found.programs:
        programs = [
            (one.status, _safe(one.reason), _safe(one.name), f"{one.count:,}", one.task, _safe(one.message[:200]))
            for one in found.programs
        ]
        columns = ("how", "why", "program", "tasks", "for example", "which said")
        parts += _section("Programs that did not complete, of tasks that are done", columns, programs)
    if left:
        lines = [(_safe(one.name), _safe(one.step), one.task_id, _safe(one.kind), size(one.size_bytes)) for one in left]
        parts += _section("Artefacts", ("name", "step", "task", "kind", "size"), lines)
    return "\n".join(parts).rstrip() + "\n"


def _times(found: RunSummary) -> list[tuple[str, str, str, str]]:
    """What, of all tries together, of one on average, and which part of all of it."""
    tries = max(1, found.tries)
    both = [(name, seconds, f"{100 * part:.1f} %") for name, seconds, part in spent(found)]
    both.append(("CPU", found.cpu_seconds, ""))
    return [(name, duration(seconds * 1e6), duration(seconds * 1e6 / tries), part) for name, seconds, part in both]


def _sentences(found: RunSummary) -> list[str]:
    counts = (
        f"{found.tasks:,} tasks: {found.done:,} done{found.unwell}, {found.failed:,} failed, "
        f"{found.cancelled:,} cancelled, {found.unfinished:,} unfinished. "
        f"{found.tries:,} tries, {found.retried:,} of them tried again, {found.lost:,} lost."
    )
    rate = (
        f"It lasted {duration(found.seconds * 1e6)}, {found.tasks_per_second:,.1f} tasks a second, on "
        f"{found.workers:,} workers, which were busy {100 * found.utilisation:.1f} % of the time."
    )
    largest = f" The largest task used {size(found.peak_bytes)}." if found.peak_bytes else ""
    return [counts, "", f"{rate}{largest}", ""]


def _section(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    head = [f"## {title}", "", f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    return [*head, *(f"| {' | '.join(row)} |" for row in rows), ""]


def _safe(text: str) -> str:
    """A text of others on one line of Markdown, as nothing but text."""
    one_line = " ".join(str(plain(text)).split())
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in one_line)


__all__ = ["line", "markdown", "report", "spent", "summarise"]
