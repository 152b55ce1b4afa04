"""Layers of an environment, and what of it may be recorded."""

from pathlib import Path

import pytest

from blockyard.errors import ConfigError
from blockyard.managed.environment import Environment, Mode, Resolved, Secret, merged

BASE = {"PATH": "/usr/bin:/bin", "HOME": "/root"}


@pytest.mark.parametrize("mode, value", [
    ("prepend", "/opt/bin:/usr/bin:/bin"), ("append", "/usr/bin:/bin:/opt/bin"), ("overwrite", "/opt/bin"),
])  # fmt: skip
def test_lists_of_paths_are_joined_and_others_replaced(mode: Mode, value: str) -> None:
    environment = Environment()
    environment.update({"PATH": "/opt/bin", "HOME": "/tmp"}, mode)
    assert environment.resolve(BASE).variables == {"PATH": value, "HOME": "/tmp"}
    assert BASE["PATH"] == "/usr/bin:/bin"


def test_layers_add_up_in_their_order() -> None:
    environment = Environment()
    environment.update({"PATH": "/a", "X": "1"})
    environment.update(lambda: {"PATH": "/b", "X": "2", "HOME": None})
    environment.update({"TOOLS": "/t"}, "append", path_variables=["TOOLS"])
    environment.update({"TOOLS": "/u"}, "append", path_variables=["TOOLS"])
    assert environment.resolve(BASE).variables == {"PATH": "/b:/a:/usr/bin:/bin", "X": "2", "TOOLS": "/t:/u"}


def test_a_variable_that_was_not_set_needs_no_other() -> None:
    environment = Environment()
    environment.update({"PATH": "/a"}, "prepend")
    assert environment.resolve({}).variables == {"PATH": "/a"}


def test_a_part_that_is_there_already_is_not_there_twice() -> None:
    assert merged("/a:/b::/c", "/b", "prepend") == "/b:/a:/c"


def test_a_dict_that_changes_later_changes_nothing() -> None:
    environment, values = Environment(), {"X": "1"}
    environment.update(values)
    values["X"] = "2"
    assert environment.resolve({}).variables == {"X": "1"}


@pytest.mark.parametrize("values", [{"A=B": "1"}, {"": "1"}, {"A": "x\0y"}, {"A": 5}])
def test_what_no_environment_can_hold_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="environment"):
        Environment().update(values)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match="prepend, append, overwrite"):
        Environment().update({}, "replace")  # type: ignore[arg-type]


def test_secrets_are_in_the_environment_and_not_in_the_record(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush-hush\n")
    environment = Environment()
    environment.update({"ELOG": Secret(f"file:{tmp_path}/token"), "COPY": "x hush-hush y", "DB": "pg://me:pw@host/db"})
    environment.update({"MY_API_KEY": "abc", "MONKEY": "fine"})
    found = environment.resolve(BASE)
    assert found.variables["ELOG"] == "hush-hush"
    shown = found.for_record()
    assert shown["ELOG"] == shown["MY_API_KEY"] == "<secret>"
    assert (shown["COPY"], shown["DB"], shown["MONKEY"]) == ("x <secret> y", "pg://me:<secret>@host/db", "fine")
    assert "hush" not in str(shown)


@pytest.mark.parametrize("source", ["env:ABSENT", "file:/nonexistent/token", "token"])
def test_a_secret_that_is_not_there_is_an_error(source: str) -> None:
    environment = Environment()
    environment.update({"X": Secret(source)})
    with pytest.raises(ConfigError, match="secret"):
        environment.resolve({})


def test_an_empty_secret_hides_nothing_else() -> None:
    assert Resolved({"TOKEN": "", "X": "abc"}).for_record() == {"TOKEN": "<secret>", "X": "abc"}
