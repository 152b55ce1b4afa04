"""A report is nothing but its numbers, whatever users have named their functions."""

from blockyard.runs import FailureSummary, FunctionSummary, RunSummary
from blockyard_monitoring.report import line, markdown

EVIL = "a|b\n# <b>`x`</b> [y](z)\u202e"


def a_summary(name: str) -> RunSummary:
    return RunSummary(
        run=name, tasks=4, done=2, failed=1, cancelled=0, unfinished=1, tries=5, retried=1, lost=0, began_at=100.0,
        ended_at=110.0, queued_seconds=5.0, travel_seconds=1.0, running_seconds=10.0, cpu_seconds=2.0, peak_bytes=2048,
        workers=2,
        functions=[
            FunctionSummary(function=name, tries=5, failed=1, total_seconds=10.0, mean_seconds=2.0, max_seconds=4.0)
        ],
        failures=[FailureSummary(state="raised", kind="builtins.OSError", message=name, count=1, task="9-1")],
    )  # fmt: skip


def test_rates_and_parts_are_of_the_whole() -> None:
    found = a_summary("nightly")
    assert (found.seconds, found.tasks_per_second, found.utilisation) == (10.0, 0.3, 0.5)
    text = markdown(found)
    assert "It lasted 10 s, 0.3 tasks a second, on 2 workers, which were busy 50.0 % of the time." in text
    assert "| running | 10 s | 2 s | 62.5 % |" in text
    assert "4 tasks, 2 done, 1 failed" in str(found)


def test_names_are_text_and_stay_in_their_cell() -> None:
    text = markdown(a_summary(EVIL))
    assert EVIL not in text
    assert "\u202e" not in text
    assert "\\<b\\>" in text
    (row,) = [one for one in text.splitlines() if one.startswith("| a") and "5 | 1" in one]
    assert row.replace("\\|", "").count("|") == 7
    assert len([one for one in text.splitlines() if one.startswith("# ")]) == 1


def test_a_run_of_nothing_has_a_report_too() -> None:
    empty = RunSummary(
        run="r", tasks=0, done=0, failed=0, cancelled=0, unfinished=0, tries=0, retried=0, lost=0, began_at=0.0,
        ended_at=0.0, queued_seconds=0.0, travel_seconds=0.0, running_seconds=0.0, cpu_seconds=0.0, peak_bytes=0,
        workers=0, functions=[], failures=[],
    )  # fmt: skip
    assert "0 tasks: 0 done" in markdown(empty)
    assert line([0.0, 1.0], 0) == "0.0,120.0 800.0,0.0"
    assert line([0.0], 0) == "0.0,120.0"
