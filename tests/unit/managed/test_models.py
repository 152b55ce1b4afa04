"""Parameters as models: what is refused, and the command line and files that they make."""

from pathlib import Path
from typing import Annotated

import pytest

from blockyard.errors import ConfigError
from blockyard.managed import BinaryExecutor, models, registry
from blockyard.managed.argv import Argument
from blockyard.managed.models import BinaryParameters
from blockyard.managed.templates import Template, render


class Index(BinaryParameters):
    executable: str = "index amajig"
    input: Annotated[Path, Argument(name="i")]
    threads: Annotated[int, Argument(name="j")] = 4
    check: bool = False
    out: Annotated[str, Argument(kind="joined", is_result=True)] = "out.stream"
    templates = (Template(path="{{ out }}.cfg", text="run = {{ run }}\n{% for g in geoms %}g {{ g }}\n{% endfor %}"),)


def test_a_model_makes_words_and_files(tmp_path: Path) -> None:
    found = models.validated(Index, {"input": "a b.cxi", "check": True, "run": 7, "geoms": ["x", "y"]}, "index")
    words = models.command(found, found.values(), (), str(tmp_path))
    assert words == ["index amajig", "-i", "a b.cxi", "-j", "4", "--check", "--out=out.stream"]
    assert (tmp_path / "out.stream.cfg").read_text() == "run = 7\ng x\ng y\n"
    assert found.result_path() == "out.stream"


class Strict(models.TaskParameters):
    threshold: float
    name: str = "x"


def test_every_fault_is_named_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as raised:
        models.validated(Strict, {"treshold": 1, "name": 3}, "peaks")
    words = str(raised.value)
    assert "parameters of 'peaks'" in words
    assert "threshold: it is not given" in words
    assert "treshold: there is no such parameter; did you mean 'threshold'?" in words
    assert "name=3" in words


def test_parameters_never_change() -> None:
    found = Strict(threshold=1.0)
    with pytest.raises(ValueError, match="frozen"):
        found.threshold = 2.0


@pytest.mark.parametrize("text, words", [
    ("{{ rum }}", "did you mean 'run'"),
    ("{% if %}", "line 1"),
    ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ("{{ run.append(1) }}", "template"),
])  # fmt: skip
def test_a_template_with_a_fault_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        render(text, {"run": [1]}, "t.cfg")


class Odd(models.TaskParameters):
    place: Template


def test_a_schema_is_for_the_record_and_what_has_none_is_no_fault() -> None:
    assert set(models.schema(Strict)["properties"]) == {"threshold", "name"}
    assert models.schema(Odd) == {}
    declared = registry.ManagedTask(name="strict", kind=BinaryExecutor, parameters=Strict, settings={"command": ["x"]})
    assert declared.executor({"threshold": 1}).parameters_schema == models.schema(Strict)
