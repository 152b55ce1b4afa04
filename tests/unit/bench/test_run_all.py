"""Which questions `make bench` and `make scale` ask."""

from bench import run_all


def test_every_question_is_asked_by_one_of_the_two() -> None:
    names = [{path.stem for path in run_all.chosen(is_scale=is_scale)} for is_scale in (False, True)]
    assert names[1] == {f"bench_{name}" for name in run_all.SCALE}
    assert names[0] | names[1] == {path.stem for path in run_all.HERE.glob("bench_*.py")}
    assert not names[0] & names[1]


def test_every_question_is_in_the_page_on_benchmarks() -> None:
    page = (run_all.HERE.parent / "docs" / "benchmarks.md").read_text()
    assert [path.stem for path in run_all.HERE.glob("bench_*.py") if f"`{path.stem}`" not in page] == []
