"""The main job gives the same answer however it is run: in a row, on a pool, on blocks, and on blocks that are killed.

Smaller than `make run`: two of its data sets, coarser grids, one repeat. Out of scope: how fast it is.
"""

import dataclasses
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client, LocalPool
from examples.sweep import chaos, graph, picture, science
from tests.integration.examples.pool_runner import PoolRunner

pytestmark = pytest.mark.timeout(400)

SCALING = LocalPool(workers_per_node=1, min_blocks=0, init_blocks=0, max_blocks=2, preload=(science.__name__,))


@pytest.fixture(scope="module")
def data_sets() -> Iterator[list[science.DataSet]]:
    """Every second point of each grid and one repeat; all of that is decided in this process, not in the workers."""
    grids = {family: {name: values[::2] for name, values in grid.items()} for family, grid in science.GRIDS.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(science, "GRIDS", grids)
        patch.setattr(science, "REPEATS", 1)
        patch.setattr(science, "DATA_SETS", {name: science.DATA_SETS[name] for name in ("wine", "diabetes")})
        yield [science.load(name) for name in science.DATA_SETS]


class InARow:
    """Runs each task at once, in this process."""

    def put(self, value: Any) -> Any:
        return value

    def submit(self, function: Any, /, *args: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(
            function(
                *(
                    [a.result() for a in arg]
                    if isinstance(arg, list)
                    else arg.result()
                    if isinstance(arg, Future)
                    else arg
                    for arg in args
                )
            )
        )
        return done

    def starmap(self, function: Any, calls: Any) -> list[Future[Any]]:
        return [self.submit(function, *args) for args in calls]


def outcome_of(client: graph.Runner, data_sets: list[science.DataSet]) -> graph.Outcome:
    return graph.collect(graph.submit(client, data_sets, lambda _: None))


@pytest.fixture(scope="module")
def in_a_row(data_sets: list[science.DataSet]) -> graph.Outcome:
    return outcome_of(InARow(), data_sets)


@pytest.fixture
def pool() -> Iterator[PoolRunner]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as processes, ThreadPoolExecutor(200) as waiting:
        yield PoolRunner(processes, waiting)


def test_the_answer_is_a_plausible_one(in_a_row: graph.Outcome) -> None:
    best = {
        name: max(found.score for found in in_a_row.confirmed if found.data_set == name)
        for name in ("wine", "diabetes")
    }
    assert best["wine"] > 0.9
    assert 0.35 < best["diabetes"] < 0.6
    assert all(found.low <= found.score <= found.high for found in in_a_row.confirmed)


def test_processes_give_the_answer_of_a_row(
    pool: PoolRunner, data_sets: list[science.DataSet], in_a_row: graph.Outcome
) -> None:
    assert outcome_of(pool, data_sets).digest() == in_a_row.digest()


def test_the_digest_tells_a_single_last_bit(in_a_row: graph.Outcome) -> None:
    summaries = {which: list(found) for which, found in in_a_row.summaries.items()}
    touched = summaries["wine", science.Family.SVM]
    first, *others = touched[0].scores
    touched[0] = dataclasses.replace(touched[0], scores=(first * (1 - 2**-52), *others))
    assert dataclasses.replace(in_a_row, summaries=summaries).digest() != in_a_row.digest()


def test_a_picture_is_drawn(data_sets: list[science.DataSet], in_a_row: graph.Outcome, tmp_path: Path) -> None:
    families = [family for data in data_sets for family in science.FAMILIES[data.kind]]
    per_family = len(in_a_row.spans) // len(families)
    path = tmp_path / "sweep.png"
    spread = [families[min(number // per_family, len(families) - 1)] for number in range(len(in_a_row.spans))]
    picture.draw(in_a_row, spread, min(span.began for span in in_a_row.spans), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_blocks_that_scale_from_none_give_the_answer_of_a_row(
    data_sets: list[science.DataSet], in_a_row: graph.Outcome
) -> None:
    with Client.local(pools={"default": SCALING}) as client:
        assert outcome_of(client, data_sets).digest() == in_a_row.digest()


def test_killed_workers_and_interchanges_change_nothing(
    data_sets: list[science.DataSet], in_a_row: graph.Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chaos, "FIRST_AFTER", 1.0)
    monkeypatch.setattr(chaos, "EVERY", 1.0)
    disturbance = chaos.Chaos(print, most=6)  # as many as may happen before it is over; no more, so that it will be
    with Client.local(pools={"default": SCALING}) as client:
        disturbance.start()
        try:
            digest = outcome_of(client, data_sets).digest()
        finally:
            disturbance.stop()
    assert digest == in_a_row.digest()
    assert sum(disturbance.kills.values()) >= 2, str(disturbance)
