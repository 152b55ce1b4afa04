"""Items of a sweep: what is quickly called is called with the same as what takes the long way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blockyard.workflow import steps
from blockyard.workflow.plans import Plan
from blockyard.workflow.steps import run_item

SOURCE = "def main(**arguments):\n    return arguments\n"


def called(arguments: dict[str, Any], item: Any) -> Any:
    plan = Plan(step="s", run="r", source=SOURCE, arguments=arguments)
    return run_item(msgspec.json.encode(plan), item)


@pytest.fixture(params=["quick", "long"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "long":
        slow: Callable[[bytes], None] = lambda _: None  # noqa: E731 - it has a type
        monkeypatch.setattr(steps, "_simple", slow)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    "arguments, item, expected",
    [
        ({"x": "${{ item }}"}, 3, {"x": 3}),
        ({"x": "${{ item }}", "y": 2, "z": [1, "a"]}, None, {"x": None, "y": 2, "z": [1, "a"]}),
        ({"x": "${{ item.a }}", "y": "${{ item.b.c }}"}, {"a": "${{ no }}", "b": {"c": 2}}, {"x": "${{ no }}", "y": 2}),
        ({"x": "${{item.1}}"}, [4, 5], {"x": 5}),
        ({"x": "${{ item.a }}"}, {"a": {"deep": [1]}}, {"x": {"deep": [1]}}),
        ({"x": "n = ${{ item }}", "y": ["${{ item }}"]}, 7, {"x": "n = 7", "y": [7]}),
        ({}, 1, {}),
    ],
)
def test_an_item_becomes_arguments(arguments: dict[str, Any], item: Any, expected: dict[str, Any]) -> None:
    assert called(arguments, item) == expected


@pytest.mark.usefixtures("way")
def test_what_a_call_does_to_a_constant_ends_with_it() -> None:
    source = "def main(x, seen):\n    seen.append(x)\n    return seen\n"
    plan = msgspec.json.encode(Plan(step="s", run="r", source=source, arguments={"x": "${{ item }}", "seen": []}))
    assert [run_item(plan, item) for item in (1, 2)] == [[1], [2]]


@pytest.mark.usefixtures("way")
def test_what_an_item_lacks_is_named() -> None:
    with pytest.raises(LookupError, match=r"^item has no 'b'; it has: a$"):
        called({"x": "${{ item.b }}"}, {"a": 1})


@pytest.mark.usefixtures("way")
def test_a_file_that_an_item_names_is_staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKYARD_FILES_CACHE", str(tmp_path / "cache"))
    (tmp_path / "table").write_text("text")
    source = "from pathlib import Path\ndef main(x):\n    return Path(x).read_text()\n"
    plan = Plan(step="s", run="r", source=source, arguments={"x": "${{ item.table }}"})
    item = {"table": {"file": f"file://{tmp_path}/table"}}
    assert run_item(msgspec.json.encode(plan), item) == "text"
