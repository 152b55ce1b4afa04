"""What `blockyard top` makes of two looks at an interchange."""

from blockyard.cli.top import Look, parts_of, view_of
from blockyard.wire import control


def look(at: float, done: int, failed: int, busy: int = 0) -> Look:
    pool = control.PoolStatus("cpu", 5, 2, 4, 1, 100, done, failed, 0, 0, 1, 0)
    report = control.BlockReport("b1", "RUNNING", started_at=1.0)
    gone = control.BlockReport("b0", "SCALED_IN", started_at=1.0, ended_at=2.0)
    manager = control.ManagerLine("m1", "cpu", "b1", "n1", 4, 6, busy, False, 0.0, 1 << 20)
    return Look(
        at,
        control.StatusIs(1, 7, 0, 1, [pool]),
        control.BlocksAre([control.BlockLine(one, "cpu", 1, 4, busy, False, 0.0) for one in (gone, report)]),
        control.ManagersAre([manager]),
    )


def test_rates_are_of_the_time_between_the_looks() -> None:
    (pool,) = view_of(look(10.0, 100, 0), look(12.0, 150, 3, busy=9)).pools
    assert (pool.done_per_second, pool.failed_per_second) == (25.0, 1.5)
    assert (pool.busy, pool.workers, pool.resident_bytes) == (4, 4, 1 << 20)


def test_an_interchange_that_counts_anew_has_no_negative_rates() -> None:
    (pool,) = view_of(look(10.0, 100, 5), look(12.0, 0, 0)).pools
    assert (pool.done_per_second, pool.failed_per_second) == (0.0, 0.0)
    (same,) = view_of(look(10.0, 1, 0), look(10.0, 2, 0)).pools
    assert same.done_per_second == 0.0


def test_only_living_blocks_are_shown() -> None:
    view = view_of(look(1.0, 0, 0), look(2.0, 0, 0, busy=2))
    assert [block.block for block in view.blocks] == ["b1"]
    sentence, pools, _, blocks = parts_of(view, "lab")
    assert sentence == "lab: 7 tasks kept, 1 clients"
    assert not isinstance(pools, str)
    assert pools.rows[0][4] == "2 ████░░░░"
    assert not isinstance(blocks, str)
