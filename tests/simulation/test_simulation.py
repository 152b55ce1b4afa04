"""Whole systems under virtual time and seeded faults: every promise, on every seed.

What is simulated: clients, interchange and managers with their real cores and the interchange's real shell and log;
links, clocks, processes and the disk are not real. Real processes are the integration tests' business.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.machine import ROOT, Size
from tests.simulation import mutations
from tests.simulation.scenario import play

SHARDS = 2
SEEDS = {Size.SMALL: 2_000, Size.FULL: 20_000}
MUTATION_SEEDS = 1200
SOONER = {"accept_any_epoch": 800}
"""Where to begin with what hardly any seed sees; the seeds before follow."""


def shard(first: int, stop: int, step: int, *mutation: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "tests.simulation.shard", str(first), str(stop), str(step), *mutation]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def report_of(process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    try:
        out, _ = process.communicate(timeout=seconds)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, f"shard {process.args!r} ended with {process.returncode}"
    report: dict[str, Any] = json.loads(out)
    return report


@pytest.mark.soak
@pytest.mark.timeout(7000)
def test_every_promise_holds_on_every_seed(size: Size) -> None:
    seeds = int(os.environ.get("BLOCKYARD_SEEDS", SEEDS[size]))
    shards = [shard(first, seeds, SHARDS) for first in range(SHARDS)]
    reports = [report_of(one, 6900) for one in shards]
    failures = [failure for report in reports for failure in report["failures"]]
    assert not failures, "\n\n".join(failure["words"] for failure in failures)
    assert sum(report["played"] for report in reports) == seeds
    ended = sum(report["ended"] for report in reports)
    assert ended > 10 * seeds, f"{ended} tasks in {seeds} systems: hardly anything was simulated"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutation", sorted(mutations.ALL))
def test_a_broken_promise_is_seen(mutation: str) -> None:
    begin = SOONER.get(mutation, 0)
    report = report_of(shard(begin, MUTATION_SEEDS, 1, mutation, "1"), 590)
    if not report["failures"]:
        report = report_of(shard(0, begin, 1, mutation, "1"), 590)
    assert report["failures"], f"{MUTATION_SEEDS} seeds did not see it: {mutations.ALL[mutation].__doc__}"
    (failure,) = report["failures"]
    assert failure["kind"] in {"Wrong", "Broken"}, failure["words"]


@pytest.mark.parametrize("seed", [int(os.environ.get("BLOCKYARD_SEED", "7"))])
def test_a_seed_plays_the_same_again(seed: int) -> None:
    first, second = play(seed), play(seed)
    assert first.world.trace == second.world.trace
    assert first.world.events == second.world.events
    assert first.ledger.ended == second.ledger.ended
