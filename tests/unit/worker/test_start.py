"""Which interpreters the start file of foreign images takes, and what it says to the others."""

import ast
import inspect
import tomllib
from pathlib import Path

import pytest

from blockyard_worker import launch, start
from blockyard_worker.exits import ExitCode
from tests.machine import ROOT

HAVE = ["3.11", "3.12", "any"]
FINE = ("3.12", "cpython", "", (2, 36), HAVE)


def test_a_supported_python_is_taken() -> None:
    assert start.unfit(*FINE) == ""


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({0: "3.10"}, "it is Python 3.10; the worker is built for 3.11, 3.12"),
        ({0: "3.15"}, "it is Python 3.15; the worker is built for 3.11, 3.12"),
        ({1: "pypy"}, "it is pypy; CPython 3.11, 3.12 can run a worker"),
        ({2: "t"}, "free-threaded"),
        ({3: None}, "not glibc"),
        ({3: (2, 27)}, "its glibc is 2.27; the worker needs 2.28 or newer"),
    ],
)
def test_another_is_told_why_not(change: dict[int, object], sentence: str) -> None:
    facts = [change.get(place, fact) for place, fact in enumerate(FINE)]
    assert sentence in start.unfit(*facts)  # type: ignore[arg-type]


def test_a_packages_own_copy_must_be_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zmq.py").write_text("")
    metadata = tmp_path / "pyzmq-22.3.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: pyzmq\nVersion: 22.3.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "zmq", raising=False)
    said = start.outdated("zmq", "pyzmq", (26,), "/blockyard/lib")
    assert said == "it has pyzmq 22.3.0, and the worker needs 26 or newer; upgrade or remove it"
    assert start.outdated("zmq", "pyzmq", (22,), "/blockyard/lib") == ""
    assert start.outdated("zmq", "pyzmq", (26,), str(tmp_path)) == "", "what Blockyard brought is not looked at"


def test_what_it_repeats_is_what_others_say() -> None:
    assert start.NOT_FOR_THIS_PYTHON == ExitCode.NOT_FOR_THIS_PYTHON
    assert start.START_SETTING == launch.START_SETTING
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for distribution, oldest in start.OLDEST.values():
        assert f"{distribution}>={'.'.join(map(str, oldest))}" in dependencies


def test_old_pythons_can_read_it() -> None:
    ast.parse(inspect.getsource(start), feature_version=(3, 6))
