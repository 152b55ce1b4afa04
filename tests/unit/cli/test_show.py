"""How answers look; the terminal is a captured stream."""

import io

import click
import pytest
from rich.console import Console

from blockyard.cli import show, tasks, views
from blockyard.cli.pool_spec import read_pool
from blockyard.config import Output


def test_a_table_without_terminal_is_plain_text_that_is_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 3000
    show.answer(Output.TABLE, None, show.Table(("NAME", "COUNT>"), [(long, 7), ("b", 12345)]))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["NAME", "COUNT"], [long, "7"], ["b", "12345"]]
    assert lines[1].index("7") == lines[2].index("5")


def on_a_terminal(table: show.Table, width: int) -> list[str]:
    out = io.StringIO()
    show.draw(table, Console(file=out, width=width, force_terminal=True, color_system=None))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_columns_that_do_not_fit_a_terminal_follow_below() -> None:
    columns = ("POOL", "SUBMITTED>", "DONE>", "FAILED>", "RETRIED>")
    assert on_a_terminal(show.Table(columns, [("default", 5, 4, 3, 2), ("gpu", 1, 0, 0, 0)]), 28) == [
        "POOL     SUBMITTED  DONE",
        "default          5     4",
        "gpu              1     0",
        "",
        "POOL     FAILED  RETRIED",
        "default       3        2",
        "gpu           0        0",
    ]


def test_sentences_fold_on_a_terminal_and_words_do_not() -> None:
    table = show.Table(("BLOCK", "WHY", "N>"), [("b1", "killed by SIGKILL: by hand or by the kernel", 7)])
    assert on_a_terminal(table, 40) == [
        "BLOCK  WHY                             N",
        "b1     killed by SIGKILL: by hand or   7",
        "       by the kernel",
    ]
    key = "k" * 60
    assert on_a_terminal(show.Table(("KEY", "FOR", "PUBLIC"), [("anna", "client", key)]), 30) == [
        "KEY   FOR",
        "anna  client",
        "",
        "KEY   PUBLIC",
        f"anna  {key}",
    ]


def test_names_of_tasks_do_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show.answer(Output.TABLE, None, show.Table(("NAME",), [("\x1b[31mred[bold]",)]), "\x07bell")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "�[31mred[bold]" in shown


def test_json_is_one_line_with_stable_names(capsys: pytest.CaptureFixture[str]) -> None:
    show.answer(Output.JSON, views.CountView(count=3), "three")
    assert capsys.readouterr().out == '{"count":3}\n'


def test_the_fields_of_the_views_are_promised() -> None:
    assert views.TaskView.__struct_fields__ == (
        "task", "name", "pool", "run", "state", "status", "block", "submitted_at",
    )  # fmt: skip
    assert views.BlockView.__struct_fields__ == (
        "block", "pool", "state", "reason", "message", "exit_code", "signal", "started_at", "ended_at", "node",
        "managers", "workers", "busy", "draining", "idle_seconds",
    )  # fmt: skip
    assert views.SystemView.__struct_fields__ == ("name", "state", "pid", "since", "folder", "endpoint", "url")
    assert views.StatusView.__struct_fields__ == (
        "profile", "endpoint", "opening", "tasks", "bytes", "sessions", "pools",
    )  # fmt: skip


@pytest.mark.parametrize(
    "seconds, text",
    [(-1, "0.0s"), (4.24, "4.2s"), (187, "3m07s"), (18720, "5h12m"), (183600, "2d03h")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert show.seconds_of(seconds) == text


@pytest.mark.parametrize(
    "size, text", [(0, "0 B"), (1536, "1.5 KiB"), (5 * 2**30, "5.0 GiB"), (2**50, "1048576.0 GiB")]
)
def test_sizes_have_units(size: int, text: str) -> None:
    assert show.bytes_of(size) == text


def test_a_pool_can_be_a_number_of_workers() -> None:
    name, pool = read_pool("cpu=8")
    assert (name, pool.workers_per_node, pool.min_blocks, pool.max_blocks) == ("cpu", 8, 1, 1)


def test_a_pool_can_be_said_field_by_field() -> None:
    assert read_pool("a=preload=json")[1].preload == ("json",)
    assert [read_pool(f"a=accelerators={text}")[1].accelerators for text in ("2", "gpu0", "0+1")] == [
        2,
        ("gpu0",),
        ("0", "1"),
    ]
    name, pool = read_pool("gpu=workers=2,max_blocks=3,memory=1Gi,preload=json+math,durability=fsync,idle_timeout=2.5")
    assert name == "gpu"
    assert (pool.workers_per_node, pool.max_blocks, pool.memory_per_worker) == (2, 3, "1Gi")
    assert (pool.preload, pool.durability, pool.idle_timeout) == (("json", "math"), "fsync", 2.5)


@pytest.mark.parametrize("word, near", [("workrs", "workers"), ("max_block", "max_blocks"), ("memry", "memory")])
def test_a_word_of_a_pool_that_there_is_not_names_the_nearest(word: str, near: str) -> None:
    with pytest.raises(click.BadParameter, match=f"pool 'cpu': '{word}' is unknown; did you mean '{near}'"):
        read_pool(f"cpu={word}=3")


def test_a_pool_with_tasks_and_no_manager_is_pointed_at() -> None:
    counts = dict.fromkeys(views.PoolView.__struct_fields__, 0)
    pools = [
        views.PoolView(**{**counts, "pool": name, "queued": queued, "managers": managers})  # type: ignore[arg-type]
        for name, queued, managers in (("works", 3, 1), ("stuck", 3, 0), ("asleep", 0, 0))
    ]
    view = views.StatusView(profile="lab", endpoint="", opening=1, tasks=6, bytes=0, sessions=1, pools=pools)
    _, _, *said = tasks._status_parts(view, "'blockyard explain TASK'")
    assert said == ["pool 'stuck' has tasks and no manager; 'blockyard explain TASK' says why"]
