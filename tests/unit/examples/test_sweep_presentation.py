"""What the main job shows and remembers.

Out of scope: the computation itself (`tests/integration/examples`).
"""

import io
from concurrent.futures import Future
from pathlib import Path

import pytest
from rich.console import Console

from examples.sweep import record, science, show, watch
from examples.sweep.graph import Measured, Outcome


def span(worker: int, began: float, ended: float) -> Measured[None]:
    return Measured(None, worker, began, ended)


def test_the_table_is_whole_on_a_terminal_of_80_columns() -> None:
    family = science.Family.NEIGHBOURS
    best = science.Summary(science.Candidate(family, (("max_features", 0.6), ("min_samples_leaf", 2))), (0.97, 0.98))
    out = io.StringIO()
    found = Outcome(
        {("breast_cancer", family): [best] * 14},
        [science.Confirmed("breast_cancer", best, 0.9371, 0.8951, 0.9721)],
        [],
    )
    Console(file=out, width=80, force_terminal=True, color_system=None).print(show.table(found))
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert "breast_cancer (accuracy)" in lines
    assert "nearest neighbours (14) max_features=0.6, 0.975 ± 0.005 0.937 (0.895-0.972)" in lines
    assert "min_samples_leaf=2" in lines
    assert max(map(len, out.getvalue().splitlines())) <= 80


def test_time_is_split_into_starting_computing_and_between() -> None:
    spans = [span(1, 101, 105), span(2, 102, 106)]
    time = show.where_time_went(spans, began=100, ended=106, workers=2)
    assert (time.wall, time.starting, time.computing, time.between) == (6, 2, 8, 2)


def test_a_worker_that_was_started_again_counts_as_another_process() -> None:
    spans = [span(1, 101, 102), span(2, 102, 103), span(3, 104, 105)]
    assert show.where_time_went(spans, began=100, ended=106, workers=2).processes == 3


def test_counting_is_over_when_everything_is_submitted_and_done() -> None:
    count = watch.Count()
    tasks: list[Future[Measured[None]]] = [Future(), Future()]
    count.add(tasks)
    tasks[0].set_result(span(1, 0, 1))
    count.close()
    assert not count.all_done.is_set()
    tasks[1].set_exception(ValueError("no"))
    assert count.all_done.is_set()


def test_counting_is_over_when_everything_was_done_before_the_last_was_announced() -> None:
    count = watch.Count()
    task: Future[Measured[None]] = Future()
    count.add([task])
    task.set_result(span(1, 0, 1))
    assert not count.all_done.is_set()
    count.close()
    assert count.all_done.is_set()


def test_the_rate_is_that_of_the_last_seconds() -> None:
    rate = watch.Rate(0.0)
    finished, slow, fast, now = 0, 10, 200, 0.0
    for second in range(1, 101):
        finished += slow if second <= 80 else fast
        now = rate.after(float(second), finished)
    assert now == pytest.approx(fast)


def test_blocks_are_told_by_state() -> None:
    assert watch.spoken({"RUNNING": 2, "SCALED_IN": 1}) == "2 running, 1 scaled in"
    assert watch.spoken({}) == "none yet"


def test_a_disturbed_run_is_held_against_an_undisturbed_one(tmp_path: Path) -> None:
    kept = record.Record(tmp_path / "digests.json")
    assert kept.compare("abc", disturbed=False).is_right
    assert "identical to the undisturbed run" in kept.compare("abc", disturbed=True).sentence
    assert not kept.compare("abd", disturbed=True).is_right


def test_a_disturbed_run_is_never_what_others_are_held_against(tmp_path: Path) -> None:
    kept = record.Record(tmp_path / "digests.json")
    assert "no undisturbed run" in kept.compare("wrong", disturbed=True).sentence
    assert kept.compare("right", disturbed=False).sentence == ""
