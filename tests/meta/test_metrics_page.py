"""The page about metrics lists exactly what is exported, with its type, its labels and their values."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector

from blockyard_interchange.commits import CommitFigures
from blockyard_interchange.core.figures import figures
from blockyard_interchange.core.settings import PoolSettings, Settings
from blockyard_interchange.core.stages import Histogram
from blockyard_interchange.core.state import State
from blockyard_interchange.metrics import Snapshot

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text().partition("\n## The history\n")[0]
"""What is about the interchange; the hub's metrics are looked at in `tests/contract/monitoring`."""
ROW = re.compile(r"^\| `((?:blockyard|process)_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)

Listed = dict[str, tuple[str, dict[str, set[str]]]]


def exported() -> Listed:
    """By name: its type, and its labels with their values (`pool` has no fixed ones)."""
    registry = CollectorRegistry(auto_describe=False)
    state = State(Settings(pools={"left": PoolSettings(), "right": PoolSettings()}), 1, seal=bytes(32))
    registry.register(Snapshot(figures(state, 1.0), CommitFigures(Histogram(), 0, is_failing=False)))
    registry.register(ProcessCollector(registry=None))
    found: Listed = {}
    for metric in registry.collect():
        labels: dict[str, set[str]] = {}
        for sample in metric.samples:
            for label, value in sample.labels.items():
                if label != "le":
                    labels.setdefault(label, set()).add(value)
        if "pool" in labels:
            assert labels["pool"] == {"left", "right"}, metric.name
            labels["pool"] = set()
        suffix = "_total" if metric.type == "counter" else ""
        found[f"{metric.name}{suffix}"] = (metric.type, labels)
    return found


def listed() -> Listed:
    """The same, as the page has it."""
    found: Listed = {}
    for name, kind, cell in ROW.findall(PAGE):
        labels: dict[str, set[str]] = {}
        for part in re.findall(r"`(\w+)`(: `\w+`(?:, `\w+`)*(?!:))?", cell):
            labels[part[0]] = set(re.findall(r"`(\w+)`", part[1]))
        assert name not in found, f"{name} is listed twice"
        found[name] = (kind, labels)
    return found


def test_the_page_lists_what_is_exported() -> None:
    page, real = listed(), exported()
    assert page.keys() == real.keys()
    for name, one in real.items():
        assert page[name] == one, name


def test_what_the_questions_ask_for_exists() -> None:
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\b(blockyard_\w+)", PAGE)}
    assert names <= exported().keys()
